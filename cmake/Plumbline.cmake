# The three ways to add code: a library (one a folder of src/), a test executable (one a folder of
# tests/), an MPI test. Sources are listed by hand.

add_library(plumbline_warnings INTERFACE)
target_compile_options(plumbline_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wconversion -Wshadow>)
if(PLUMBLINE_WERROR)
  # g++ 12 warns about std::string's own operator+ (GCC bug 105651): those two are not errors.
  target_compile_options(plumbline_warnings INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Werror -Wno-restrict -Wno-stringop-overflow>)
endif()

# plumbline_library(NAME SOURCES a.cpp ... LINKS target ... [TORCH])
# TORCH: the folder may include torch headers; it shares the one precompiled header.
function(plumbline_library name)
  cmake_parse_arguments(arg "TORCH" "" "SOURCES;LINKS" ${ARGN})
  if(arg_TORCH AND NOT PLUMBLINE_TORCH)
    return()
  endif()
  add_library(plumbline_${name} STATIC ${arg_SOURCES})
  target_include_directories(plumbline_${name} PUBLIC
    ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR})
  target_link_libraries(plumbline_${name} PUBLIC ${arg_LINKS} PRIVATE plumbline_warnings)
  if(arg_TORCH)
    plumbline_use_torch(plumbline_${name})
  endif()
endfunction()

# Gives a target LibTorch and the precompiled <torch/torch.h>: 39 s once instead of 26 s a file.
# Not under sanitizers, whose flags would need a second one.
function(plumbline_use_torch target)
  target_link_libraries(${target} PUBLIC libtorch)
  if(PLUMBLINE_SANITIZE)
    return()
  endif()
  if(NOT TARGET plumbline_pch)
    file(WRITE ${CMAKE_BINARY_DIR}/pch.cpp "// carries the precompiled torch header\n")
    add_library(plumbline_pch STATIC ${CMAKE_BINARY_DIR}/pch.cpp)
    target_link_libraries(plumbline_pch PUBLIC libtorch PRIVATE plumbline_warnings)
    target_precompile_headers(plumbline_pch PRIVATE <torch/torch.h>)
  endif()
  target_precompile_headers(${target} REUSE_FROM plumbline_pch)
  # An executable would compile with -fPIE, and the header precompiled with -fPIC be refused.
  target_compile_options(${target} PRIVATE -fPIC)
endfunction()

# plumbline_test(FOLDER SOURCES a_test.cpp ... LINKS target ... [TORCH] [LABELS unit])
# One executable, FOLDER_test; CTest sees each TEST() of it.
function(plumbline_test folder)
  cmake_parse_arguments(arg "TORCH" "" "SOURCES;LINKS;LABELS" ${ARGN})
  if(arg_TORCH AND NOT PLUMBLINE_TORCH)
    return()
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  add_executable(${folder}_test ${arg_SOURCES})
  target_link_libraries(${folder}_test PRIVATE ${arg_LINKS} plumbline_warnings GTest::gtest_main)
  target_include_directories(${folder}_test PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR})
  target_compile_definitions(${folder}_test PRIVATE PLUMBLINE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  if(arg_TORCH)
    plumbline_use_torch(${folder}_test)
  endif()
  gtest_discover_tests(${folder}_test DISCOVERY_MODE PRE_TEST WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
    PROPERTIES LABELS "${arg_LABELS}" TIMEOUT 600)
endfunction()

# plumbline_mpi_test(NAME SOURCES ... LINKS ... RANKS 2 4 [TORCH])
# Runs the executable under mpirun with each number of ranks; the test reads PLUMBLINE_EXPECT_WORLD
# and must assert that it is its world size.
function(plumbline_mpi_test name)
  cmake_parse_arguments(arg "TORCH" "" "SOURCES;LINKS;RANKS" ${ARGN})
  if(arg_TORCH AND NOT PLUMBLINE_TORCH)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LINKS} plumbline_warnings GTest::gtest)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR})
  if(arg_TORCH)
    plumbline_use_torch(${name})
  endif()
  foreach(ranks IN LISTS arg_RANKS)
    add_test(NAME ${name}.ranks${ranks}
      COMMAND ${MPIEXEC_EXECUTABLE} --allow-run-as-root --oversubscribe --bind-to none
              --mca btl_vader_single_copy_mechanism none -n ${ranks}
              -x PLUMBLINE_EXPECT_WORLD=${ranks} -x OMP_NUM_THREADS=1 $<TARGET_FILE:${name}>
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${name}.ranks${ranks} PROPERTIES LABELS mpi TIMEOUT 300 PROCESSORS 2)
  endforeach()
endfunction()
