# What the scripts that start mpirun share; they source it.
# shellcheck shell=bash

# Variables of all of them, for --help.
mpi_variables() {
  cat <<'TEXT'
  MIXREC_SERVERS=0         ranks of `mixrec ps` that hold the tables for the others
  MIXREC_SERVER_FLAGS=     flags of `mixrec ps`, such as --replicas=1
  MIXREC_NETWORK=          network that hosts use among themselves: an interface, or as 10.0.0.0/8
  MIXREC_MPIRUN=mpirun     command that starts ranks, with further options
  MIXREC_STOP_SIGNAL=USR1  signal that tells ranks to stop, that of --stop_signal: USR1 or USR2
  MIXREC_START_DEADLINE=300  seconds until a rank must have begun
  MIXREC_PROGRAM=          mixrec itself: build/cuda's where it is, else build/release's

Ctrl-C, SIGTERM and SIGUSR1 save a checkpoint and end with code 75; the same command goes on.
--dry_run before the command prints what would be started, and starts nothing.
TEXT
}

fail() {
  printf '%s: %s\n' "$(basename "$0" .sh)" "$1" >&2
  exit 2
}

# Takes --help and a --dry_run in front of the command: sets `dry_run`, 0 or 1, and `words`, what is
# left. `usage` is the caller's.
# shellcheck disable=SC2034  # the caller uses them
take_options() {
  dry_run=0
  case ${1:-} in
    --help | -h)
      usage
      exit 0
      ;;
    --dry_run)
      dry_run=1
      shift
      ;;
  esac
  words=("$@")
}

# Prints a command that is about to be run, or, of a rehearsal, would be: then it is the result.
show() {
  printf '%q ' "$@" >&3
  printf '\n' >&3
}

# Sets `program`, `mpirun`, `servers` and `server_flags` from the variables. `dry_run`, 0 or 1, is the
# caller's.
# shellcheck disable=SC2154
read_mpi_variables() {
  local root preset
  if ((dry_run)); then exec 3>&1; else exec 3>&2; fi
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  program=${MIXREC_PROGRAM:-}
  for preset in cuda release; do
    [[ -n $program || ! -x $root/build/$preset/bin/mixrec ]] ||
      program=$root/build/$preset/bin/mixrec
  done
  program=${program:-$root/build/release/bin/mixrec}
  ((dry_run)) || [[ -x $program ]] || fail "$program is not there; ./launch/setup.sh builds it"
  read -ra mpirun <<< "${MIXREC_MPIRUN:-mpirun}"
  # A rank that was told to stop has two minutes to save. Threads are the program's business.
  mpirun+=(--mca odls_base_sigkill_timeout 120 --bind-to none)
  # See await_mpirun.
  mpirun+=(--mca orte_abort_on_non_zero_status 0 -x MIXREC_EXIT_FILE)
  if [[ -n ${MIXREC_NETWORK:-} ]]; then
    mpirun+=(--mca btl_tcp_if_include "$MIXREC_NETWORK" --mca oob_tcp_if_include "$MIXREC_NETWORK")
  fi
  ((EUID != 0)) || mpirun+=(--allow-run-as-root)
  servers=${MIXREC_SERVERS:-0}
  read -ra server_flags <<< "${MIXREC_SERVER_FLAGS:-}"
  [[ -z ${MIXREC_NETWORK:-} ]] || server_flags+=(--network="$MIXREC_NETWORK")
}

# Sets `slots`, how many a host file has, and `place`, the options that put ranks there: in turn, so
# that servers are on all hosts too. They come on top of the slots.
# shellcheck disable=SC2034  # the caller uses them
place_on_hosts() {
  [[ -r $1 ]] || fail "cannot read the host file $1"
  slots=$(sed 's/#.*//' "$1" | awk 'NF { n = 1; if (match($0, /slots *= *[0-9]+/)) {
    n = substr($0, RSTART, RLENGTH); sub(/.*= */, "", n) } sum += n } END { print sum + 0 }')
  ((slots > 0)) || fail "the host file $1 names no host"
  place=(--hostfile "$1" --map-by node:OVERSUBSCRIBE)
}

# run_ranks RANKS MPIRUN_OPTION... -- COMMAND FLAG...: so many ranks of `mixrec COMMAND`, and the
# servers. Returns the command's exit code.
run_ranks() {
  local ranks=$1 options=() folder=$PWD flag
  shift
  while [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  shift
  for flag in "$@"; do
    case $flag in --out=?* | --run=?*) folder=${flag#*=} ;; esac
  done
  local words=("${mpirun[@]}" "${options[@]}")
  ((servers == 0)) || words+=(-n "$servers" "$program" ps "${server_flags[@]}" :)
  words+=(-n "$ranks" "$program" "$@")
  show "${words[@]}"
  ((dry_run)) || await_mpirun "$folder" "${words[@]}"
}

# Whether mpirun PID has ranks on this host.
has_ranks_here() { pgrep -P "$1" -f "^$program" > /dev/null; }

# await_mpirun FOLDER MPIRUN WORD...: starts mpirun and hands a request to stop on to it as SIGUSR1
# (MIXREC_STOP_SIGNAL), which it passes to its ranks. Returns the command's exit code (end_of_mpirun).
#
# mpirun itself waits too long three times. When a host's daemon cannot call back it waits for ever, so
# a rank that begins says so in FOLDER, which all hosts see. It would take a rank's code other than 0
# for a reason to kill the others, and to wait odls_base_sigkill_timeout for it, though they have ended.
# And told not to care for codes, it waits for ever when a rank was killed.
await_mpirun() {
  local folder child='' code=0 file stopping=0 begin=$SECONDS seen=0 ended=-1 patience
  local signal=${MIXREC_STOP_SIGNAL:-USR1}
  mkdir -p "$1"
  folder=$(realpath "$1")
  shift
  file=$(mktemp -u "$folder/.exit.XXXXXX")
  export MIXREC_EXIT_FILE=$file
  trap 'stopping=1; [[ -z $child ]] || kill -"$signal" "$child" 2> /dev/null || true' \
    INT TERM USR1 USR2 HUP
  # In a session of its own: a Ctrl-C is for this script.
  setsid "$@" < /dev/null &
  child=$!
  ((!stopping)) || kill -"$signal" "$child"
  while kill -0 "$child" 2> /dev/null; do
    sleep 0.2 &
    wait "$!" 2> /dev/null || true
    if has_ranks_here "$child"; then
      seen=1
      continue
    fi
    if ((seen)) || [[ -s $file ]]; then # the command has ended, or its ranks here were killed
      ((ended >= 0)) || ended=$SECONDS
      patience=30
      [[ ! -s $file && ! -s $file.other ]] || patience=5
      ((SECONDS - ended < patience)) || kill -KILL "$child" 2> /dev/null || true
    elif [[ ! -e $file.begun ]] && ((stopping || SECONDS - begin > ${MIXREC_START_DEADLINE:-300})); then
      kill -KILL "$child" 2> /dev/null || true
    fi
  done
  wait "$child" 2> /dev/null || code=$?
  trap - INT TERM USR1 USR2 HUP
  code=$(end_of_mpirun "$code" "$file" "$stopping")
  rm -f "$file" "$file.other" "$file.begun"
  return "$code"
}

# end_of_mpirun CODE FILE STOPPING: prints the exit code of a command whose mpirun ended with CODE: the
# one that its first rank wrote into FILE, or, where that could not, another rank beside it.
end_of_mpirun() {
  local code=$1 file=$2 stopping=$3 told unheard
  unheard=$((128 + $(kill -l "${MIXREC_STOP_SIGNAL:-USR1}")))
  for told in "$file" "$file.other"; do
    if [[ -s $told ]]; then
      cat "$told"
      return
    fi
  done
  # Told to stop before it could listen: nothing is lost.
  if ((stopping)) && [[ ! -e $file.begun || $code == 0 || $code == "$unheard" ]]; then
    echo 75
    return
  fi
  local who=${0##*/} where=${file%/*}
  if [[ -e $file.begun ]]; then
    ((code != 0)) || echo "$who: nobody has written $file: do all hosts see it?" >&2
    ((code != 128 + 9)) || echo "$who: the ranks here were killed (by a lack of memory?)" >&2
  elif ((code == 128 + 9)); then
    echo "$who: no rank has begun: can the hosts reach each other (MIXREC_NETWORK), and do all" \
      "see $where? (MIXREC_START_DEADLINE=${MIXREC_START_DEADLINE:-300} seconds)" >&2
    code=1
  else
    echo "$who: mpirun has ended with code $code before a rank began in $where; its own words are above" >&2
  fi
  echo $((code == 0 ? 1 : code))
}
