#!/usr/bin/env bash
# A command of mixrec by ranks on the hosts of a file.
set -euo pipefail
# shellcheck source=launch/mpi.sh
source "$(dirname "${BASH_SOURCE[0]}")/mpi.sh"

usage() {
  cat <<'TEXT'
Usage: [VARIABLE=VALUE...] ./launch/run_hosts.sh [--dry_run] HOSTFILE COMMAND FLAG...

Starts ranks of `mixrec COMMAND` on the hosts of a file, `NAME slots=RANKS` a line, which mpirun
reaches by ssh. All hosts see the same files under the same paths.

  ./launch/run_hosts.sh hosts train --data=DATA --backbone=OPT --out=RUN

  MIXREC_RANKS=            ranks; as many as the file has slots
TEXT
  mpi_variables
}

take_options "$@"
set -- "${words[@]}"
(($# > 1)) || fail 'a host file and a command are needed (see --help)'
hosts=$1
shift
place_on_hosts "$hosts"
read_mpi_variables
run_ranks "${MIXREC_RANKS:-$slots}" "${place[@]}" -- "$@"
