#!/usr/bin/env bash
# A whole training over several nodes: trains, again after failures, and evaluates.
set -euo pipefail
# shellcheck source=launch/mpi.sh
source "$(dirname "${BASH_SOURCE[0]}")/mpi.sh"

usage() {
  cat <<'TEXT'
Usage: [VARIABLE=VALUE...] ./launch/train_nodes.sh [--dry_run] HOSTFILE --out=RUN FLAG...

Runs `mixrec train` with these flags on the hosts of a file (see run_hosts.sh) until it is done: when
a node or a server is lost, it starts again from the last checkpoint. Then evaluates RUN on all of
them. Without a host that is lost, edit the file and give the same command again: the number of ranks
may change.

  MIXREC_RANKS=            ranks; as many as the file has slots
  MIXREC_RESTARTS=3        times that a failed training is started again
TEXT
  mpi_variables
}

take_options "$@"
set -- "${words[@]}"
(($# > 1)) || fail 'a host file and flags of mixrec train are needed (see --help)'
hosts=$1
shift
place_on_hosts "$hosts"
run=''
for flag in "$@"; do
  [[ $flag != --out=?* ]] || run=${flag#--out=}
done
[[ -n $run ]] || fail 'needs --out=RUN, a folder that all hosts see'
read_mpi_variables
for ((attempt = 0; ; attempt++)); do
  code=0
  run_ranks "${MIXREC_RANKS:-$slots}" "${place[@]}" -- train "$@" || code=$?
  case $code in
    0) break ;;
    2 | 3 | 4 | 75) exit "$code" ;; # the same again would end alike, or was told to stop
  esac
  ((attempt < ${MIXREC_RESTARTS:-3})) || exit "$code"
  printf 'train_nodes: code %d; going on from the last checkpoint\n' "$code" >&2
done
servers=0
run_ranks "${MIXREC_RANKS:-$slots}" "${place[@]}" -- evaluate --run="$run"
