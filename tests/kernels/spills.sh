#!/bin/sh
# spills.sh NVCC ROOT FILE.cu: assembles FILE for each architecture of the build and fails when
# ptxas reports spilled registers or finds no kernel. Exit 77 (skipped) without nvcc.
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
  echo "$arch: $kernels kernels, $spilled with spills"
  if [ "$kernels" -eq 0 ] || [ "$spilled" -ne 0 ]; then
    cat "$out/log"
    exit 1
  fi
done
