#!/usr/bin/env bash
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
# A worker group of a search, one task of an array; launch/slurm.sh submits it. It finds the scheduler
# through the study's folder, and a group that is requeued keeps its name and gets its trial back.
set -euo pipefail
# shellcheck source=launch/slurm/requeue.sh
source "$MIXREC_ROOT/launch/slurm/requeue.sh"
read -ra flags <<< "$MIXREC_GROUP_FLAGS"
run_and_requeue ranks worker --study="$MIXREC_FOLDER" \
  --group="slurm-$SLURM_ARRAY_JOB_ID-$SLURM_ARRAY_TASK_ID" "${flags[@]}"
