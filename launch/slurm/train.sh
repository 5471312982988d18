#!/usr/bin/env bash
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
# A training over all ranks of the job; launch/slurm.sh submits it, with the flags of `mixrec train`.
set -euo pipefail
# shellcheck source=launch/slurm/requeue.sh
source "$MIXREC_ROOT/launch/slurm/requeue.sh"
run_and_requeue ranks train "$@"
