#!/usr/bin/env bash
# launch/run.sh against a program that ends as it is told: the exit table, the restarts, the signals
# and the run folder. What depends on mpirun runs under it, with 2 ranks; restarts are counted under a
# short stand-in, since a start of mpirun takes a second.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Start number k ends with the k-th word of $work/codes (the last one repeats); `hang` waits for
# SIGUSR1 and then exits 75; `+` before a code leaves a checkpoint behind, `x` a damaged one.
cat > "$work/plumbline" <<'PROGRAM'
#!/usr/bin/env bash
work=$(dirname "$0")
rank=$OMPI_COMM_WORLD_RANK
echo "start $*" >> "$work/starts.$rank"
start=$(wc -l < "$work/starts.$rank")
read -r -a codes < "$work/codes"
code=${codes[$((start - 1))]:-${codes[-1]}}
case "$code" in
  hang)
    trap 'kill "$sleep" 2>/dev/null; echo usr1 >> "$work/signals.$rank"; exit 75' USR1
    sleep 60 & sleep=$!
    touch "$work/ready.$rank"
    wait "$sleep"
    exit 99 ;;
  kill) [ "$rank" = 1 ] && kill -9 $$; sleep 5; exit 0 ;;
  +*)
    folder=$work/run/checkpoints/step-$(printf %08d "$start")
    mkdir -p "$folder" && touch "$folder/manifest.json"
    exit "${code#+}" ;;
  x*)
    folder=$work/run/checkpoints/step-$(printf %08d "$start").corrupt
    mkdir -p "$folder" && touch "$folder/manifest.json"
    exit "${code#x}" ;;
  *) exit "$code" ;;
esac
PROGRAM
cat > "$work/stand-in" <<'PROGRAM'
#!/usr/bin/env bash
while [ "$1" != "$PLUMBLINE" ]; do shift; done
OMPI_COMM_WORLD_RANK=1 "$@"
OMPI_COMM_WORLD_RANK=0 "$@"
PROGRAM
chmod +x "$work/plumbline" "$work/stand-in"
printf 'run: {name: demo, dir: %s/run}\n' "$work" > "$work/flow.yaml"
printf 'model: {name: x}\nrun:\n  name: demo\n  dir: "%s/run"  # here\n' "$work" > "$work/block.yaml"
printf 'base: flow.yaml\nrun:\n  seed: 1\n' > "$work/derived.yaml"
printf 'run: {name: demo}\n' > "$work/without.yaml"
export PLUMBLINE=$work/plumbline RESTART_WAIT_S=0

failed=0
check() {  # what, got, wanted
  if [ "$2" != "$3" ]; then
    echo "FAILED: $1: got '$2', wanted '$3'"
    cat "$work/log"
    failed=1
  else
    echo "ok: $1"
  fi
}

begin() { rm -rf "$work"/{run,log} "$work"/{starts,signals,ready}.*; echo "$1" > "$work/codes"; }
starts() { wc -l < "$work/starts.0"; }

expect_run() {  # codes, exit code, starts, arguments...
  local codes=$1 code=$2 count=$3
  shift 3
  begin "$codes"
  launch/run.sh -n 2 "$@" > "$work/log" 2>&1
  local got=$?
  check "[$codes] $(basename "$1"): exit code" "$got" "$code"
  check "[$codes] $(basename "$1"): starts" "$(starts)" "$count"
}

expect_signal() {  # signal
  begin hang
  launch/run.sh -n 2 "$work/flow.yaml" > "$work/log" 2>&1 &
  local launcher=$! tries=0
  until [ -e "$work/ready.0" ] && [ -e "$work/ready.1" ]; do
    sleep 0.1
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || { check "$1: ranks started" no yes; return; }
  done
  kill -"$1" "$launcher"
  wait "$launcher"
  check "SIG$1: exit code" "$?" 75
  check "SIG$1: starts" "$(starts)" 1
  check "SIG$1: both ranks got SIGUSR1" "$(cat "$work"/signals.? 2>/dev/null | wc -l)" 2
}

expect_refusal() {  # words of the message, arguments...
  local words=$1
  shift
  launch/run.sh "$@" > "$work/log" 2>&1
  check "refuses: $words: exit code" "$?" 2
  grep -q -- "$words" "$work/log"
  check "refuses: $words" "$?" 0
}

expect_run "0" 0 1 "$work/flow.yaml"
expect_run "65" 65 1 "$work/flow.yaml"
expect_run "75 0" 0 2 "$work/flow.yaml"
expect_run "kill 0" 0 2 "$work/flow.yaml"

export MPIRUN=$work/stand-in
for code in 2 65 70; do expect_run "$code" "$code" 1 "$work/flow.yaml"; done
expect_run "75" 75 4 "$work/flow.yaml"
expect_run "139" 139 4 "$work/without.yaml"
for config in flow block derived; do
  expect_run "+139 +1 +75 +75 +75 0" 0 6 "$work/$config.yaml"
done
expect_run "+75 +1 +75 +75 +75 75" 75 8 "$work/flow.yaml"
expect_run "x75 x75 x75 x75 x75 0" 75 4 "$work/flow.yaml"
expect_run "+75 +75 +75 +75 +75 0" 0 6 "$work/without.yaml" --set "run.dir=$work/run"
check "arguments reach the program" "$(sort -u "$work/starts.1")" \
  "start train $work/without.yaml --set run.dir=$work/run"
unset MPIRUN

# bash ignores SIGINT in background jobs, which cannot trap it then, unless job control is on.
set -m
for signal in TERM USR1 INT; do expect_signal "$signal"; done
set +m

expect_refusal "no CONFIG" -n 2
expect_refusal "not a number of ranks" -n two "$work/flow.yaml"
expect_refusal "cannot read" -n 2 "$work/absent.yaml"
expect_refusal "unknown option '--bogus'" --bogus
expect_refusal "cannot read the host file" -n 2 --hostfile "$work/absent" "$work/flow.yaml"
launch/run.sh --help > "$work/log" 2>&1
check "--help: exit code" "$?" 0
grep -q 'launch/run.sh -n N' "$work/log"
check "--help shows the usage" "$?" 0

exit "$failed"
