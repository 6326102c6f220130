#!/bin/sh
# spills.sh NVCC ROOT FILE.cu: assembles FILE for each architecture of the build and fails when
# ptxas reports spilled registers, more than 128 registers a thread (two blocks of 256 threads fit a
# multiprocessor), more than 48 KB of static shared memory, or no kernel. Exit 77 (skipped) without
# nvcc.
set -eu
nvcc=$1
root=$2
file=$3
if [ -z "$nvcc" ] || [ ! -x "$nvcc" ]; then
  echo "skipped: no nvcc"
  exit 77
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for arch in sm_80 sm_90a; do
  "$nvcc" -std=c++20 -O3 -cubin -arch="$arch" -Xptxas -v -I"$root" -I"$root/include" -I"$root/src" \
    -o "$out/kernel.cubin" "$root/$file" >"$out/log" 2>&1 || { cat "$out/log"; exit 1; }
  kernels=$(grep -c 'spill stores' "$out/log" || true)
  spilled=$(grep 'spill stores' "$out/log" | grep -vc ' 0 bytes spill stores, 0 bytes spill loads' || true)
  grep 'Used' "$out/log"
  heavy=$(sed -n 's/.*Used \([0-9]*\) registers.*/\1/p' "$out/log" | awk '$1 > 128' | wc -l)
  shared=$(sed -n 's/.* \([0-9]*\) bytes smem.*/\1/p' "$out/log" | awk '$1 > 49152' | wc -l)
  echo "$arch: $kernels kernels, $spilled with spills, $heavy with over 128 registers," \
    "$shared with over 48 KB of shared memory"
  if [ "$kernels" -eq 0 ] || [ "$((spilled + heavy + shared))" -ne 0 ]; then
    cat "$out/log"
    exit 1
  fi
done
