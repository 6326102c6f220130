#!/usr/bin/env bash
# Under ThreadSanitizer: the tests of the loader, its queues and the shard tools, then the loader
# under faults for several minutes: commands that die, broken samples, stops and resumes; the rows
# must be those of an undisturbed run. Left out are fuzzing (one thread), the measured memory and
# the shares of time, which the sanitizer changes.
#   tests/soak.sh [SECONDS]      default 300; tests/run.sh does one second without the sanitizer
set -euo pipefail
cd "$(dirname "$0")/.."

cmake --preset tsan --log-level=WARNING
ninja -C build/tsan data_test
build/tsan/tests/data/data_test --gtest_brief=1 \
  --gtest_filter='-Soak.*:Fuzz.*:Memory.*:Verdict.ALoaderMeasuresItsStages'
PLUMBLINE_SOAK_SECONDS="${1:-300}" build/tsan/tests/data/data_test --gtest_filter='Soak.*'
