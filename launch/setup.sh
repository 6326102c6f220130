#!/usr/bin/env bash
# Installs what is missing and builds: Debian packages, the pinned Python packages (which carry
# LibTorch), the assets, then the binary build/release/plumbline. A second call takes seconds.
#   launch/setup.sh [--no-build] [--preset release|ci]   (default: $PLUMBLINE_PRESET, else release)
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${PLUMBLINE_PRESET:-release}
build=yes
while [ $# -gt 0 ]; do
  case "$1" in
    --no-build) build=no ;;
    --preset) preset=$2; shift ;;
    -h|--help) sed -n '2,4p' "$0" | cut -c3-; exit 0 ;;
    *) echo "error: launch/setup.sh: unknown option '$1'" >&2; exit 2 ;;
  esac
  shift
done

say() { printf '== %s\n' "$*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

install_packages() {
  local missing=()
  while read -r package; do
    dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
      missing+=("$package")
  done < <(grep -v '^#' launch/debian-packages.txt)
  [ ${#missing[@]} -eq 0 ] && return
  say "installing Debian packages: ${missing[*]}"
  as_root apt-get -qq update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
    "${missing[@]}" >/dev/null
}

# The environment lives in the cache folder, keyed by what is in it, because it is 5 GB that a
# second clone must not cost again; .venv is a link to it.
make_venv() {
  local cache=${XDG_CACHE_HOME:-$HOME/.cache}/plumbline key venv
  key=$( (cat requirements.txt; python3 -V) | sha256sum | cut -c1-12)
  venv=$cache/venv-$key
  mkdir -p "$cache"
  exec 9>"$cache/venv-$key.lock"
  flock 9
  if [ ! -e "$venv/complete" ]; then
    say "making the Python environment $venv (5 GB, once)"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements.txt
    touch "$venv/complete"
  fi
  flock -u 9
  [ "$(readlink .venv 2>/dev/null || true)" = "$venv" ] || ln -sfn "$venv" .venv
}

make_assets() {
  [ -e assets/complete ] && [ ! launch/make_assets.py -nt assets/complete ] &&
    [ ! requirements.txt -nt assets/complete ] && return
  say "collecting assets (vocabulary, class names, templates, plot script)"
  .venv/bin/python launch/make_assets.py assets
  touch assets/complete
}

install_packages
make_venv
make_assets
if [ "$build" = yes ]; then
  export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
  export CCACHE_DIR=${CCACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/plumbline/ccache}
  say "building (preset $preset)"
  cmake --preset "$preset" --log-level=WARNING
  cmake --build build/release
fi
