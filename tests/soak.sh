#!/usr/bin/env bash
# The loader under faults for several minutes, under ThreadSanitizer: commands that die, broken
# samples, stops and resumes; the rows must be those of an undisturbed run.
#   tests/soak.sh [SECONDS]      default 300; tests/run.sh does one second without the sanitizer
set -euo pipefail
cd "$(dirname "$0")/.."

cmake --preset tsan --log-level=WARNING
ninja -C build/tsan data_test
PLUMBLINE_SOAK_SECONDS="${1:-300}" build/tsan/tests/data/data_test --gtest_filter='Soak.*'
