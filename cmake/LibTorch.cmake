# One imported target, `libtorch`, from the PyPI wheel torch==X of requirements.txt.
# find_package(Torch) is not used: with CMake 3.25 it breaks C++20 for CUDA. The CUDA libraries are
# linked so that the same binary runs on a GPU, but none of them needs a driver to be loaded.
set(PLUMBLINE_TORCH_DIR "" CACHE PATH "folder of the torch wheel (contains lib/ and include/)")
if(NOT PLUMBLINE_TORCH_DIR)
  file(GLOB _found ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
  if(_found)
    list(GET _found 0 PLUMBLINE_TORCH_DIR)
  endif()
endif()
if(NOT EXISTS "${PLUMBLINE_TORCH_DIR}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "no LibTorch at '${PLUMBLINE_TORCH_DIR}': run launch/setup.sh, or pass "
                      "-DPLUMBLINE_TORCH_DIR=.../site-packages/torch")
endif()

file(STRINGS ${CMAKE_SOURCE_DIR}/requirements.txt _pin REGEX "^torch==")
string(REPLACE "torch==" "" PLUMBLINE_TORCH_PIN "${_pin}")
file(STRINGS "${PLUMBLINE_TORCH_DIR}/version.py" _version REGEX "^__version__")
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" PLUMBLINE_TORCH_VERSION "${_version}")
if(NOT PLUMBLINE_TORCH_VERSION STREQUAL PLUMBLINE_TORCH_PIN)
  message(FATAL_ERROR "torch ${PLUMBLINE_TORCH_VERSION} at ${PLUMBLINE_TORCH_DIR}, but "
                      "requirements.txt pins ${PLUMBLINE_TORCH_PIN}: run launch/setup.sh")
endif()

get_filename_component(_site "${PLUMBLINE_TORCH_DIR}" DIRECTORY)
set(PLUMBLINE_NVIDIA_DIR "${_site}/nvidia")
file(GLOB PLUMBLINE_NCCL_LIBRARY "${PLUMBLINE_NVIDIA_DIR}/nccl/lib/libnccl.so.2")
file(GLOB PLUMBLINE_CUDART_LIBRARY "${PLUMBLINE_NVIDIA_DIR}/cu13/lib/libcudart.so.13")

add_library(libtorch INTERFACE IMPORTED)
target_include_directories(libtorch SYSTEM INTERFACE
  ${PLUMBLINE_TORCH_DIR}/include ${PLUMBLINE_TORCH_DIR}/include/torch/csrc/api/include)
target_link_directories(libtorch INTERFACE ${PLUMBLINE_TORCH_DIR}/lib)
# libstdc++ comes first: libtorch.so exports a half-linked std::filesystem of its own (remove_all
# jumps to address 0), which would otherwise take precedence over the real one.
if(EXISTS "${PLUMBLINE_TORCH_DIR}/lib/libtorch_cuda.so")
  set(PLUMBLINE_TORCH_HAS_CUDA ON)
  # libtorch_cuda registers its kernels when loaded; nothing references it by symbol.
  target_link_libraries(libtorch INTERFACE -Wl,--no-as-needed stdc++ torch torch_cpu torch_cuda c10 c10_cuda
                        ${PLUMBLINE_NCCL_LIBRARY} ${PLUMBLINE_CUDART_LIBRARY} -Wl,--as-needed)
else()
  set(PLUMBLINE_TORCH_HAS_CUDA OFF)
  target_link_libraries(libtorch INTERFACE -Wl,--no-as-needed stdc++ torch torch_cpu c10 -Wl,--as-needed)
endif()
