# What the scripts that start mpirun share; they source it.
# shellcheck shell=bash

# Variables of all of them, for --help.
mpi_variables() {
  cat <<'TEXT'
  MIXREC_SERVERS=0         ranks of `mixrec ps` that hold the tables for the others
  MIXREC_SERVER_FLAGS=     flags of `mixrec ps`, such as --replicas=1
  MIXREC_NETWORK=          network that hosts use among themselves: an interface, or as 10.0.0.0/8
  MIXREC_MPIRUN=mpirun     command that starts ranks, with further options
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

# await_mpirun FOLDER MPIRUN WORD...: starts mpirun and hands a request to stop on to it as SIGUSR1,
# which it passes to its ranks. Returns the exit code that a rank writes into FOLDER, which all hosts
# see (its first, or, where that could not, another): mpirun would take a rank's code other than 0 for a reason to kill the others, and to wait
# odls_base_sigkill_timeout for it, though they have ended.
await_mpirun() {
  local folder=$1 child='' code=0 told='' file stopping=0 since=-1
  shift
  mkdir -p "$folder"
  file=$(mktemp -u "$(realpath "$folder")/.exit.XXXXXX")
  export MIXREC_EXIT_FILE=$file
  trap 'stopping=1; [[ -z $child ]] || kill -USR1 "$child" 2> /dev/null || true' INT TERM USR1 HUP
  # In a session of its own: a Ctrl-C is for this script.
  setsid "$@" < /dev/null &
  child=$!
  ((!stopping)) || kill -USR1 "$child"
  while kill -0 "$child" 2> /dev/null; do
    sleep 0.2 &
    wait "$!" || true
    # The command has ended, so has every rank here: what mpirun still waits for is its own timeout.
    if [[ -s $file ]] && ! pgrep -P "$child" -f "^$program" > /dev/null; then
      ((since >= 0)) || since=$SECONDS
      ((SECONDS - since < 5)) || kill -KILL "$child" 2> /dev/null || true
    fi
  done
  wait "$child" 2> /dev/null || code=$?
  trap - INT TERM USR1 HUP
  for told in "$file" "$file.other"; do
    [[ ! -s $told ]] || break
  done
  told=$(cat "$told" 2> /dev/null || true)
  rm -f "$file" "$file.other"
  if [[ -n $told ]]; then return "$told"; fi
  # Told to stop before it could listen: nothing is lost.
  if ((stopping)) && [[ $code == 0 || $code == $((128 + 10)) ]]; then return 75; fi
  ((code != 0)) || echo "${0##*/}: nobody has written $file: do all hosts see it?" >&2
  return $((code == 0 ? 1 : code))
}
