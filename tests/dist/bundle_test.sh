#!/usr/bin/env bash
# launch/bundle.sh on a build that holds one executable, under the names of the program and a test.
#   bundle_test.sh EXECUTABLE [FOLDER OF THE TORCH WHEEL]
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
executable=$1 torch=${2:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/build/tests/dist"
cp "$executable" "$work/build/plumbline"
cp "$executable" "$work/build/tests/dist/dist_test"

failed=0
check() {  # what, condition...
  local what=$1
  shift
  if "$@" > "$work/log" 2>&1; then echo "ok: $what"; else echo "FAILED: $what"; cat "$work/log"; failed=1; fi
}
# shellcheck disable=SC2317  # called by check
refused() { "$@"; [ $? -eq 2 ]; }

check "makes a bundle" launch/bundle.sh "$work/first" --build "$work/build"
check "replaces a bundle" launch/bundle.sh "$work/first" --build "$work/build"
mkdir "$work/other" && touch "$work/other/thesis.txt"
check "refuses a folder that is no bundle" \
  refused launch/bundle.sh "$work/other" --build "$work/build"
check "and leaves it alone" test -e "$work/other/thesis.txt"
check "refuses without a build" refused launch/bundle.sh "$work/second" --build "$work/absent"

mv "$work/first" "$work/moved"
for binary in "$work"/moved/bin/*; do
  check "no run path in $(basename "$binary")" sh -c "! readelf -d '$binary' | grep -E 'R(UN)?PATH'"
done
for file in assets configs launch/run.sh requirements-torch.txt run_gpu_tests.sh; do
  check "holds $file" test -e "$work/moved/$file"
done
PLUMBLINE_TORCH=/nowhere "$work/moved/plumbline" --help 2> "$work/refusal"
check "a missing LibTorch is exit code 2" test $? -eq 2
check "and a hint" grep -q 'set PLUMBLINE_TORCH' "$work/refusal"
if [ -n "$torch" ]; then
  cd / || exit 1
  check "the moved program finds its libraries" \
    env PLUMBLINE_TORCH="$torch" "$work/moved/plumbline" --gtest_filter='Single.*'
  check "also through a link" ln -s "$work/moved/plumbline" "$work/link"
  check "and runs there" env PLUMBLINE_TORCH="$torch" "$work/link" --gtest_filter='Single.*'
fi
exit "$failed"
