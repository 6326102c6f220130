#!/usr/bin/env bash
# Trains on N ranks under mpirun and keeps the job going until it is done.
#
#   launch/run.sh -n N [--per-node K] [--hostfile FILE] CONFIG [--set KEY=VALUE]... [--resume MODE]
#
#   -n N             ranks over all nodes, one a GPU (default: SLURM_NTASKS)
#   --per-node K     ranks a node; without it mpirun fills the slots of each node in turn
#   --hostfile FILE  nodes, as launch/hostfile.example (default: $HOSTFILE); their ssh is waited for
#   CONFIG ...       goes to `plumbline train`
#
# SIGTERM, SIGINT and SIGUSR1 become SIGUSR1 for the ranks, which finish their step, write a
# checkpoint and exit 75. mpirun itself must not receive SIGTERM: it would kill them one second
# later and return 1. A second SIGINT ends the job without a checkpoint.
#
#   exit code       meaning                                      what this script does
#   0               run complete                                 stops
#   75              stopped early, resumable                     starts the same command again, but
#                                                                not after a signal
#   2, 65, 70       bad configuration; bad data; given up        stops
#   any other       a rank was killed, a node lost, mpirun broke starts again
#
# It gives up after 3 starts in a row that brought no new checkpoint, and returns the last code.
#
# Environment: PLUMBLINE (the binary), MPIRUN, MPIRUN_ARGS (more arguments, for example
# "--mca btl_tcp_if_include eth0"), RUN_DIR (the run folder, where this script cannot read it from
# CONFIG), RESTART_WAIT_S (5), HOST_WAIT_S (600: how long to wait for a node). Variables named
# NCCL_*, OMP_*, PLUMBLINE_* and LD_LIBRARY_PATH reach all ranks.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { printf 'launch/run.sh: %s\n' "$*" >&2; }
usage_error() { printf 'error: launch/run.sh: %s (see --help)\n' "$*" >&2; exit 2; }

ranks=${SLURM_NTASKS:-} hostfile=${HOSTFILE:-} per_node=
while [ $# -gt 0 ]; do
  case "$1" in
    -h|--help) sed -n '2,/^set /{/^set /!p}' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//'; exit 0 ;;
    -n|--per-node|--hostfile)
      [ $# -ge 2 ] || usage_error "$1 needs a value"
      case "$1" in -n) ranks=$2 ;; --per-node) per_node=$2 ;; --hostfile) hostfile=$2 ;; esac
      shift 2 ;;
    -*) usage_error "unknown option '$1' before CONFIG" ;;
    *) break ;;
  esac
done
[ $# -ge 1 ] || usage_error "no CONFIG"
config=$1
[[ $ranks =~ ^[1-9][0-9]*$ ]] || usage_error "-n '$ranks' is not a number of ranks"
[[ -z $per_node || $per_node =~ ^[1-9][0-9]*$ ]] || usage_error "--per-node '$per_node' is no number"
[ -r "$config" ] || usage_error "cannot read $config"
[ -z "$hostfile" ] || [ -r "$hostfile" ] || usage_error "cannot read the host file $hostfile"
mpirun=${MPIRUN:-mpirun}
command -v "$mpirun" >/dev/null || usage_error "no '$mpirun': install openmpi-bin, or set MPIRUN"

plumbline=${PLUMBLINE:-}
for candidate in "$here/../build/release/plumbline" "$here/../plumbline"; do
  if [ -z "$plumbline" ] && [ -f "$candidate" ]; then plumbline=$candidate; fi
done
[ -n "$plumbline" ] || usage_error "no plumbline binary: build it with launch/setup.sh"
[ -x "$plumbline" ] || usage_error "cannot run $plumbline"

# The value of run.dir in one YAML file, from `run: {dir: X}` or an indented line; else nothing.
dir_in() {
  awk '
    function value(text) {
      sub(/^.*dir:[[:space:]]*/, "", text); sub(/[[:space:]]+#.*$/, "", text)
      sub(/[[:space:]]+$/, "", text); gsub(/^["\047]|["\047]$/, "", text)
      print text; exit
    }
    /^run:[[:space:]]*\{/ {
      if (match($0, /[{,][[:space:]]*dir:[^,}]*/)) value(substr($0, RSTART, RLENGTH))
      next
    }
    /^[^[:space:]#]/ { inside = /^run:/ }
    inside && /^[[:space:]]+dir:/ { value($0) }' "$1"
}

find_run_dir() {
  local previous='' argument found='' base
  for argument in "$@"; do
    case "$previous$argument" in
      --set*run.dir=*) found=${argument#*run.dir=} ;;
    esac
    previous=; [ "$argument" = --set ] && previous=--set
  done
  [ -n "$found" ] || found=$(dir_in "$config")
  if [ -z "$found" ]; then
    base=$(awk '/^base:/ { print $2; exit }' "$config" | tr -d "\"'")
    for base in "$base" "$(dirname "$config")/$base"; do
      if [ -z "$found" ] && [ -f "$base" ]; then found=$(dir_in "$base"); fi
    done
  fi
  printf '%s\n' "$found"
}
run_dir=${RUN_DIR:-$(find_run_dir "$@")}

# The highest step with a manifest, which is written last; -1 without one. Damaged checkpoints
# (step-N.corrupt) do not count.
newest_checkpoint() {
  local manifest step newest=-1
  for manifest in "${run_dir:-/nonexistent}"/checkpoints/step-*/manifest.json; do
    step=${manifest%/manifest.json} step=${step##*/step-}
    if [[ -e $manifest && $step =~ ^[0-9]+$ ]] && ((10#$step > newest)); then
      newest=$((10#$step))
    fi
  done
  printf '%s\n' "$newest"
}

arguments=(-n "$ranks" --bind-to none)
[ "$(id -u)" != 0 ] || arguments+=(--allow-run-as-root)
[ -z "$per_node" ] || arguments+=(--map-by "ppr:$per_node:node")
if [ -n "$hostfile" ]; then
  arguments+=(--hostfile "$hostfile")
elif [ -z "${SLURM_JOB_ID:-}${OMPI_MCA_orte_default_hostfile:-}" ]; then
  arguments+=(--oversubscribe)  # one machine: a rank is a GPU or a share of the cores, not a core
fi
# Unprivileged containers forbid the copy between processes that Open MPI prefers.
export OMPI_MCA_btl_vader_single_copy_mechanism=${OMPI_MCA_btl_vader_single_copy_mechanism:-none}
if [ -z "${OMP_NUM_THREADS:-}" ]; then
  here_ranks=${per_node:-${SLURM_NTASKS_PER_NODE:-$ranks}}
  OMP_NUM_THREADS=$(($(nproc) / here_ranks))
  [ "$OMP_NUM_THREADS" -ge 1 ] || OMP_NUM_THREADS=1
  export OMP_NUM_THREADS
fi
while read -r name; do arguments+=(-x "$name"); done \
  < <(compgen -e | grep -E '^(NCCL_|OMP_|PLUMBLINE_|LD_LIBRARY_PATH$)')
read -r -a more <<< "${MPIRUN_ARGS:-}"

pid='' stopping='' interrupts=0 interrupted=''
# shellcheck disable=SC2317  # called by the traps
on_signal() {
  interrupted=yes stopping=yes
  [ "$1" != INT ] || interrupts=$((interrupts + 1))
  [ -n "$pid" ] || return 0
  if [ "$interrupts" -ge 2 ]; then kill -TERM "$pid"; else kill -USR1 "$pid"; fi 2>/dev/null
}
trap 'on_signal TERM' TERM
trap 'on_signal INT' INT
trap 'on_signal USR1' USR1

# `wait` returns early at each trapped signal; bash keeps the status of a process that has ended.
wait_for() {
  local status
  while :; do
    interrupted=
    wait "$1"
    status=$?
    [ -n "$interrupted" ] || return "$status"
  done
}

pause() {
  sleep "$1" &
  wait $!
}

# A lost node comes back under its name; until then mpirun would only fail.
wait_for_hosts() {
  local host end=$((SECONDS + ${HOST_WAIT_S:-600}))
  [ -n "$hostfile" ] || return 0
  while read -r host; do
    case "$host" in localhost|127.0.0.1|"$(hostname)"|"$(hostname -f 2>/dev/null)") continue ;; esac
    until ssh -n -o BatchMode=yes -o ConnectTimeout=5 "$host" true 2>/dev/null; do
      if [ -n "$stopping" ]; then return 0; fi
      if [ "$SECONDS" -ge "$end" ]; then say "no ssh to $host; starting without it"; break; fi
      pause 5
    done
  done < <(sed 's/#.*//' "$hostfile" | awk 'NF { print $1 }')
}

run_once() {
  # setsid: a Ctrl-C of the terminal reaches this script alone.
  setsid "$mpirun" "${arguments[@]}" ${more[@]+"${more[@]}"} "$plumbline" train "$@" </dev/null &
  pid=$!
  [ -z "$stopping" ] || kill -USR1 "$pid" 2>/dev/null  # arrived between the check and the start
  wait_for "$pid"
  local status=$?
  pid=
  return "$status"
}

starts_without_progress=0 newest=$(newest_checkpoint) code=75
while :; do
  wait_for_hosts
  [ -z "$stopping" ] || { code=75; break; }
  run_once "$@"
  code=$?
  if [ -n "$stopping" ]; then
    # 138: our SIGUSR1 came before the program could handle it, so nothing is lost.
    [ "$code" -ne 138 ] || code=75
    break
  fi
  case "$code" in 0|2|65|70) break ;; esac

  now=$(newest_checkpoint)
  if [ "$now" -gt "$newest" ]; then starts_without_progress=0 newest=$now; fi
  starts_without_progress=$((starts_without_progress + 1))
  if [ "$starts_without_progress" -gt 3 ]; then
    say "exit code $code, and 3 restarts in a row brought no new checkpoint: giving up"
    break
  fi
  say "exit code $code: restart $starts_without_progress of 3 without a new checkpoint"
  pause "${RESTART_WAIT_S:-5}"
done
exit "$code"
