#!/usr/bin/env bash
# Makes a folder that runs on clusters which have only a GPU driver and the torch wheel.
#
#   launch/bundle.sh OUT [--build FOLDER]      (default build: build/release)
#
#   OUT/plumbline          finds LibTorch by $PLUMBLINE_TORCH (the wheel's folder), else python3
#   OUT/run_gpu_tests.sh   runs the tests, with --bench the kernel benchmarks too
#   OUT/bin OUT/lib        stripped executables; all their libraries but LibTorch's and CUDA's (from
#                          the wheel) and glibc's (this machine's version or a newer one is needed).
#                          OUT/lib/mpi serves where no launcher has started the program; under
#                          mpirun the site's libmpi.so.40 (Open MPI 4) is used.
#   OUT/assets OUT/configs OUT/launch
#
# OUT is replaced when it is a bundle, and must stay below 64 MiB.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
limit_mib=64
# The folders of tests/ in which something runs on a GPU.
tests=(kernels dist ops)

fail() { echo "error: launch/bundle.sh: $*" >&2; exit "${code:-1}"; }

out='' build=$here/build/release
while [ $# -gt 0 ]; do
  case "$1" in
    -h|--help) sed -n '2,/^set /{/^set /!p}' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//'; exit 0 ;;
    --build) [ $# -ge 2 ] || code=2 fail "--build needs a folder"; build=$2; shift ;;
    -*) code=2 fail "unknown option '$1'" ;;
    *) [ -z "$out" ] || code=2 fail "more than one OUT: '$1'"; out=$1 ;;
  esac
  shift
done
[ -n "$out" ] || code=2 fail "no OUT (see --help)"
[ -d "$build" ] || code=2 fail "no build at $build: run launch/setup.sh"
if [ -e "$out" ] && [ ! -e "$out/libraries.sh" ] && [ -n "$(ls -A "$out")" ]; then
  code=2 fail "$out exists and is no bundle"
fi

binaries=()
[ ! -x "$build/plumbline" ] || binaries+=("$build/plumbline")
for name in "${tests[@]}"; do
  [ ! -x "$build/tests/$name/${name}_test" ] || binaries+=("$build/tests/$name/${name}_test")
done
while read -r bench; do binaries+=("$bench"); done \
  < <(find "$build" -type f -name '*_bench' -perm -u+x | sort)
[ ${#binaries[@]} -gt 0 ] || fail "nothing is built in $build: run launch/setup.sh"
[ -x "$build/plumbline" ] || echo "launch/bundle.sh: no $build/plumbline: tests and benchmarks only" >&2

work=$(mktemp -d "$(dirname "$out")/.bundle.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{bin,lib/mpi,lib/gcc,launch}

# The rpath names the folders of this machine; libraries.sh says where to look instead.
for binary in "${binaries[@]}"; do
  copy=$work/bin/$(basename "$binary")
  install -m 755 "$binary" "$copy"
  printf 'file(RPATH_REMOVE FILE "%s")\n' "$copy" > "$work/rpath.cmake"
  cmake -P "$work/rpath.cmake"
  strip "$copy"
done
rm "$work/rpath.cmake"

libraries=$(for binary in "${binaries[@]}"; do ldd "$binary" 2>/dev/null || true; done | sort -u)
if missing=$(grep 'not found' <<< "$libraries"); then fail "libraries of the build: $missing"; fi
while read -r library; do
  case "$(readlink -f "$library")" in */site-packages/*) continue ;; esac
  case "$(basename "$library")" in
    ld-linux*|libc.so.*|libm.so.*|libpthread.so.*|libdl.so.*|librt.so.*|libresolv.so.*|libutil.so.*) ;;
    libcuda.so.*|libnvidia-*) ;;
    libmpi*|libopen-*|libhwloc*|libevent*|libpmix*|libudev*|libcap.so.*) cp -L "$library" "$work/lib/mpi/" ;;
    libstdc++*|libgcc_s*) cp -L "$library" "$work/lib/gcc/" ;;
    *) cp -L "$library" "$work/lib/" ;;
  esac
done < <(awk '$2 == "=>" && $3 ~ /^\// { print $3 }' <<< "$libraries" | sort -u)
find "$work/lib" -type f -exec strip --strip-unneeded {} +

# The newest symbol version of libstdc++ that the executables ask for.
glibcxx=$(objdump -T "$work"/bin/* | grep -oE 'GLIBCXX_[0-9.]+' | sort -uV | tail -1)
printf 'glibcxx=%s\n' "$glibcxx" > "$work/libraries.sh"
cat >> "$work/libraries.sh" <<'SCRIPT'
# Sourced by the programs beside it, with `here` set: puts the libraries where the loader looks.
torch=${PLUMBLINE_TORCH:-}
if [ -z "$torch" ]; then
  torch=$("${PYTHON:-python3}" -c '
import importlib.util
spec = importlib.util.find_spec("torch")
print(list(spec.submodule_search_locations)[0] if spec else "")' 2>/dev/null)
fi
folders=$here/lib
if [ -e "$torch/lib/libtorch_cpu.so" ]; then
  nvidia=$(dirname "$torch")/nvidia
  folders=$folders:$torch/lib:$nvidia/nccl/lib:$nvidia/cu13/lib
else
  torch=
fi
# A newer libstdc++ of the system may be needed by other libraries of it; ours is for older systems.
system=$(/sbin/ldconfig -p 2>/dev/null | awk '/libstdc\+\+\.so\.6 .*x86-64/ { print $NF; exit }')
grep -qF "$glibcxx" "${system:-/dev/null}" || folders=$folders:$here/lib/gcc
LD_LIBRARY_PATH=$folders${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
if [ -z "${OMPI_COMM_WORLD_SIZE:-}${PMI_SIZE:-}${PMIX_RANK:-}" ]; then
  LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$here/lib/mpi
fi
PLUMBLINE_ASSETS=${PLUMBLINE_ASSETS:-$here/assets}
export LD_LIBRARY_PATH PLUMBLINE_ASSETS
SCRIPT

cat > "$work/plumbline" <<'SCRIPT'
#!/bin/sh
# Starts bin/plumbline with its libraries.
here=$(dirname "$(readlink -f "$0")")
. "$here/libraries.sh"
if [ ! -x "$here/bin/plumbline" ]; then
  echo "error: plumbline: this bundle holds tests and benchmarks only" >&2
  exit 2
fi
if [ -z "$torch" ]; then
  echo "error: plumbline: no LibTorch: set PLUMBLINE_TORCH to the folder of the torch wheel" \
    "(it holds lib/libtorch_cpu.so), or PYTHON to a python that has it" >&2
  exit 2
fi
exec "$here/bin/plumbline" "$@"
SCRIPT

cat > "$work/run_gpu_tests.sh" <<'SCRIPT'
#!/bin/sh
# Runs every test of the bundle; with --bench the benchmarks of the kernels too. Fails without a GPU.
here=$(dirname "$(readlink -f "$0")")
. "$here/libraries.sh"
cd "$here" || exit 1
if ! ls /dev/nvidia[0-9]* >/dev/null 2>&1; then
  echo "error: run_gpu_tests.sh: no GPU (/dev/nvidia0)" >&2
  exit 1
fi
passed=0 failed=0 skipped=0
# A program whose libraries are not all here needs the torch wheel.
runs_here() { ! ldd "$1" | grep -q 'not found'; }
run() {
  echo "== $(basename "$1")"
  if ! runs_here "$1"; then
    echo "skipped: needs $(ldd "$1" | awk '/not found/ { print $1; exit }'); set PLUMBLINE_TORCH"
    skipped=$((skipped + 1))
  elif "$@"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
  fi
}
for program in bin/*_test; do [ ! -e "$program" ] || run "$program" --gtest_brief=1; done
if [ "${1:-}" = --bench ]; then
  for program in bin/*_bench; do [ ! -e "$program" ] || run "$program"; done
fi
echo "$passed passed, $failed failed, $skipped skipped (programs)"
[ "$failed" -eq 0 ]
SCRIPT
chmod 755 "$work/plumbline" "$work/run_gpu_tests.sh"

install -m 755 "$here/launch/run.sh" "$work/launch/"
cp "$here"/launch/{hostfile.example,slurm.sbatch,kubernetes-mpijob.yaml} "$work/launch/"
grep '^torch==' "$here/requirements.txt" > "$work/requirements-torch.txt"
for folder in assets configs; do [ ! -d "$here/$folder" ] || cp -rL "$here/$folder" "$work/"; done
rm -f "$work/assets/plotly.min.js"  # 5 MB that only the report needs

size_mib=$(du -sm "$work" | cut -f1)
[ "$size_mib" -lt "$limit_mib" ] || {
  du -am "$work" | sort -rn | head -15 >&2
  fail "the bundle has $size_mib MiB, the limit is $limit_mib"
}
chmod 755 "$work"
rm -rf "$out"
mv "$work" "$out"
echo "$out: $size_mib MiB, ${#binaries[@]} executables"
