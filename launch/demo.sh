#!/usr/bin/env bash
# The main job end to end on a fresh Debian 12 machine: installs what is missing, builds, makes the
# pictures testbed, pre-trains a small CLIP under mpirun, evaluates it on a held-out set and five
# shifts at checkpoints, writes a report. A second run skips what is done; an interrupted one goes
# on, training from its last checkpoint.
#   launch/demo.sh
# Cost: 2 cores, 45 minutes, 6 GB of disk, 3.5 GB of downloads (once).
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }
plumbline=build/release/plumbline
config=configs/run/pictures.yaml
run=runs/pictures

launch/setup.sh

say "the pictures testbed, from Debian packages"
.venv/bin/python launch/testbed/pictures.py --out data/pictures --plumbline "$plumbline"

gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true)
ranks=2
[ "$gpus" = 1 ] && ranks=1
if [ "$gpus" -gt 0 ]; then say "training on $ranks GPU(s)"; else say "training on $ranks CPU ranks (no GPU here)"; fi
launch/run.sh -n "$ranks" "$config"

say "writing the report"
"$plumbline" report "$run" --out "$run/report"
say "report: $run/report/index.html"
