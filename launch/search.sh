#!/usr/bin/env bash
# A search over hosts that mpirun reaches: the scheduler here, a worker group on each host.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: [VARIABLE=VALUE...] ./launch/search.sh --study=DIR FLAG...

Starts `mixrec scheduler` here with these flags, and worker groups by mpirun. Groups that die are
started again; Ctrl-C, SIGTERM and SIGUSR1 save all trials and end with code 75, and the same command
goes on. DIR must be seen by all hosts.

  MIXREC_HOSTS=            hosts of the groups, separated by commas, in turn; empty: this one
  MIXREC_GROUPS=           how many groups; one a host
  MIXREC_RANKS=1           processes of a group, which train each trial together
  MIXREC_GROUP_FLAGS=      flags of `mixrec worker`, such as --slots=2
  MIXREC_NETWORK=          network that hosts use among themselves: an interface, or as 10.0.0.0/8
  MIXREC_MPIRUN=mpirun     command that starts a group, with its options
  MIXREC_GROUP_DEADLINE=60 seconds after the scheduler's end when a group that does not end, its host
                           being cut off, is given up; it ends by itself when it gets to know
  MIXREC_PROGRAM=          mixrec itself: build/cuda's where it is, else build/release's
TEXT
}

fail() {
  printf 'search: %s\n' "$1" >&2
  exit 2
}

study=''
for argument in "$@"; do
  case $argument in
    --help | -h)
      usage
      exit 0
      ;;
    --study=?*) study=$(realpath -m -- "${argument#--study=}") ;;
  esac
done
[[ -n $study ]] || fail 'needs --study=DIR, a folder that all hosts see (see --help)'
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
program=${MIXREC_PROGRAM:-}
for preset in cuda release; do
  [[ -n $program || ! -x $root/build/$preset/bin/mixrec ]] || program=$root/build/$preset/bin/mixrec
done
[[ -x $program ]] || fail "${program:-mixrec} is not there; ./launch/setup.sh builds it"
IFS=, read -ra hosts <<< "${MIXREC_HOSTS:-}"
groups=${MIXREC_GROUPS:-$((${#hosts[@]} > 0 ? ${#hosts[@]} : 1))}
read -ra mpirun <<< "${MIXREC_MPIRUN:-mpirun}"
read -ra group_flags <<< "${MIXREC_GROUP_FLAGS:-}"
if [[ -n ${MIXREC_NETWORK:-} ]]; then
  mpirun+=(--mca btl_tcp_if_include "$MIXREC_NETWORK" --mca oob_tcp_if_include "$MIXREC_NETWORK")
fi
((EUID != 0)) || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
mkdir -p "$study/groups"

# Groups must reach the scheduler: 127.0.0.1 will not do where there are other hosts.
listen=()
((${#hosts[@]} == 0)) || listen=(--listen=network)
[[ -z ${MIXREC_NETWORK:-} ]] || listen+=(--network="$MIXREC_NETWORK")

# A group, again and again until the study is over (0), it is told to stop (75), or no start can help.
group() {
  local number=$1 child='' code=1 stopping=0 pause=1 place=()
  ((${#hosts[@]} == 0)) || place=(--host "${hosts[$(((number - 1) % ${#hosts[@]}))]}")
  trap 'stopping=1; [[ -z $child ]] || kill -USR1 "$child" || true' USR1
  trap '[[ -z $child ]] || kill -KILL "$child" || true; exit 1' TERM
  while ((!stopping)); do
    "${mpirun[@]}" -n "${MIXREC_RANKS:-1}" --bind-to none --oversubscribe "${place[@]}" \
      "$program" worker --study="$study" --group="g$number" "${group_flags[@]}" &
    child=$!
    # A signal ends `wait`, not the child.
    while true; do
      code=0
      wait "$child" || code=$?
      kill -0 "$child" 2> /dev/null || break
    done
    case $code in 0 | 2 | 3) break ;; esac
    ((stopping)) || sleep "$pause"
    pause=$((pause < 30 ? pause * 2 : 30))
  done
  return "$code"
}

children=()
for ((number = 1; number <= groups; number++)); do
  group "$number" > "$study/groups/g$number.out" 2>&1 &
  children+=($!)
done
# Groups first: the scheduler then has nobody to wait for.
# shellcheck disable=SC2317  # the trap calls it
stop() {
  kill -USR1 "${children[@]}" 2> /dev/null || true
  kill -USR1 "$scheduler" 2> /dev/null || true
}
"$program" scheduler "${listen[@]}" "$@" &
scheduler=$!
trap stop INT TERM USR1
while true; do
  code=0
  wait "$scheduler" || code=$?
  kill -0 "$scheduler" 2> /dev/null || break
done
((code == 0)) || kill -USR1 "${children[@]}" 2> /dev/null || true
# Whether any group's loop is still there.
groups_are_there() {
  local child
  for child in "${children[@]}"; do
    ! kill -0 "$child" 2> /dev/null || return 0
  done
  return 1
}
end=$((SECONDS + ${MIXREC_GROUP_DEADLINE:-60}))
while groups_are_there && ((SECONDS < end)); do sleep 0.2; done
for ((number = 1; number <= groups; number++)); do
  ! kill -0 "${children[number - 1]}" 2> /dev/null || printf 'search: group g%d does not end\n' "$number" >&2
done
kill -TERM "${children[@]}" 2> /dev/null || true
wait "${children[@]}" || true
exit "$code"
