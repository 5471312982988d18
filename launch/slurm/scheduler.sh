#!/usr/bin/env bash
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
# Driver and scheduler of a search; launch/slurm.sh submits it, with the flags of `mixrec scheduler`.
set -euo pipefail
# shellcheck source=launch/slurm/requeue.sh
source "$MIXREC_ROOT/launch/slurm/requeue.sh"
run_and_requeue "$MIXREC_PROGRAM" scheduler "$@"
