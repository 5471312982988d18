#!/usr/bin/env bash
# A command of mixrec by several ranks on this machine.
set -euo pipefail
# shellcheck source=launch/mpi.sh
source "$(dirname "${BASH_SOURCE[0]}")/mpi.sh"

usage() {
  cat <<'TEXT'
Usage: [VARIABLE=VALUE...] ./launch/run_local.sh [--dry_run] COMMAND FLAG...

Starts ranks of `mixrec COMMAND` (train, evaluate, recommend, bench allreduce) on this machine:

  MIXREC_RANKS=4 ./launch/run_local.sh train --data=DATA --backbone=OPT --out=RUN

  MIXREC_RANKS=            ranks; as many as GPUs, or 2
TEXT
  mpi_variables
}

take_options "$@"
set -- "${words[@]}"
(($# > 0)) || fail 'which command? (see --help)'
read_mpi_variables
gpus=$(nvidia-smi --list-gpus 2> /dev/null | wc -l || true)
run_ranks "${MIXREC_RANKS:-$((gpus > 0 ? gpus : 2))}" --oversubscribe -- "$@"
