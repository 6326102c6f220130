#!/usr/bin/env bash
# The fuzz tests for long, under AddressSanitizer and UndefinedBehaviorSanitizer: damaged tars,
# images, JSON, tables and UTF-8.
#   tests/fuzz.sh [VARIANTS]     default 200000 of each kind, some minutes; tests/run.sh does 4000
set -euo pipefail
cd "$(dirname "$0")/.."

cmake --preset asan --log-level=WARNING
ninja -C build/asan data_test
PLUMBLINE_FUZZ_VARIANTS="${1:-200000}" build/asan/tests/data/data_test --gtest_filter='Fuzz.*'
