#!/usr/bin/env bash
# Installs what is missing, builds, runs every test that this machine can run, and ends with one
# line `N passed, M failed, K skipped`.
#   tests/run.sh [--gpu] [CTest arguments, such as -R name or -L unit]
# --gpu adds the GPU suite and fails where there is no GPU.
set -euo pipefail
cd "$(dirname "$0")/.."

gpu=no
if [ "${1:-}" = --gpu ]; then
  gpu=yes
  shift
  nvidia-smi -L >/dev/null 2>&1 || { echo "error: tests/run.sh --gpu: no GPU here" >&2; exit 1; }
fi

launch/setup.sh

log=build/release/ctest.log
status=0
filter=(-LE gpu)
[ "$gpu" = yes ] && filter=()
OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 PYTHONDONTWRITEBYTECODE=1 \
  ctest --test-dir build/release --output-on-failure --no-tests=error -j "$(nproc)" \
  "${filter[@]}" "$@" 2>&1 | tee "$log" || status=$?

passed=$(grep -cE '^ *[0-9]+/[0-9]+ Test +#[0-9]+: .* Passed ' "$log" || true)
skipped=$(grep -cE '^ *[0-9]+/[0-9]+ Test +#[0-9]+: .*\*\*\*Skipped ' "$log" || true)
total=$(grep -cE '^ *[0-9]+/[0-9]+ Test +#[0-9]+: ' "$log" || true)
failed=$((total - passed - skipped))
[ "$status" != 0 ] && [ "$failed" = 0 ] && failed=1  # CTest itself failed
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
