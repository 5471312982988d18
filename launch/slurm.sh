#!/usr/bin/env bash
# Submits a search or a training to Slurm.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: [VARIABLE=VALUE...] ./launch/slurm.sh [--dry_run] search FLAG...
       [VARIABLE=VALUE...] ./launch/slurm.sh [--dry_run] train FLAG...

  search   one job for driver and scheduler, and an array of worker groups, which may be preempted
           and requeued; FLAGs are those of `mixrec scheduler`, --study=DIR among them
  train    a training over one or more nodes, which is requeued until it has ended; FLAGs are those
           of `mixrec train`, --out=DIR among them

  --dry_run  prints what would be submitted, and submits nothing

Variables, all optional. What is said of a node is said of one group's or of the training's nodes:

  MIXREC_PARTITION, MIXREC_ACCOUNT  left to the site when empty
  MIXREC_TIME=01:00:00     of one job; whoever needs more is requeued and goes on
  MIXREC_NODES=1
  MIXREC_GPUS=0            a node
  MIXREC_RANKS=            processes a node; as many as GPUs, or 1
  MIXREC_CPUS=4            a process
  MIXREC_MEMORY=           a node, as 32G; left to the site when empty
  MIXREC_GROUPS=4          worker groups of a search
  MIXREC_GROUP_FLAGS=      flags of `mixrec worker`, such as --slots=2
  MIXREC_SAVE_SECONDS=120  before its end a job is told to save: a step, a checkpoint and a minute
                           (Slurm may tell it up to 60 s earlier)
  MIXREC_MAX_REQUEUES=50   times that a job may put itself back into the queue; 0: never
  MIXREC_STOP_SIGNAL=USR1  what the program is told to save with, that of --stop_signal
  MIXREC_AFTER=            number of a job that must have succeeded first
  MIXREC_SBATCH=           further options of sbatch, such as --constraint=a100
  MIXREC_MPIRUN=mpirun     command that starts ranks, with its options; or "srun --mpi=pmix"
  MIXREC_NETWORK=          network that nodes use among themselves: an interface, or as 10.0.0.0/8
  MIXREC_SERVERS=0         ranks of `mixrec ps` that hold a training's tables, in all, beside the others
  MIXREC_SERVER_FLAGS=     flags of `mixrec ps`, such as --replicas=1
  MIXREC_PROGRAM=          mixrec itself: build/cuda's where GPUs are asked for, else build/release's

A training of the winner once the search is done (JOB: the scheduler's, which `search` prints):

  MIXREC_AFTER=JOB MIXREC_NODES=2 ./launch/slurm.sh train --flagfile=STUDY/best.flags --out=RUN
TEXT
}

fail() {
  printf 'slurm: %s\n' "$1" >&2
  exit "${2:-1}"
}

dry_run=0 what='' folder=''
flags=()
for argument in "$@"; do
  case $argument in
    --help | -h)
      usage
      exit 0
      ;;
    --dry_run) dry_run=1 ;;
    search | train)
      [[ -z $what ]] || fail "one of search and train, not $what and $argument" 2
      what=$argument
      ;;
    --*) flags+=("$argument") ;;
    *) fail "unknown argument $argument (see --help)" 2 ;;
  esac
done
case $what in
  search) folder_flag=--study ;;
  train) folder_flag=--out ;;
  *) fail 'search or train? (see --help)' 2 ;;
esac
for flag in "${flags[@]}"; do
  [[ $flag == "$folder_flag"=?* ]] && folder=$(realpath -m -- "${flag#*=}")
done
[[ -n $folder ]] || fail "$what needs $folder_flag=DIR, a folder that all nodes see" 2

MIXREC_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
: "${MIXREC_TIME:=01:00:00}" "${MIXREC_NODES:=1}" "${MIXREC_GPUS:=0}" "${MIXREC_CPUS:=4}"
: "${MIXREC_GROUPS:=4}" "${MIXREC_SAVE_SECONDS:=120}" "${MIXREC_MAX_REQUEUES:=50}"
: "${MIXREC_MPIRUN:=mpirun}" "${MIXREC_GROUP_FLAGS:=}"
: "${MIXREC_STOP_SIGNAL:=USR1}" "${MIXREC_NETWORK:=}" "${MIXREC_SERVERS:=0}" "${MIXREC_SERVER_FLAGS:=}"
if [[ $MIXREC_SERVERS != 0 ]]; then
  [[ $what == train ]] || fail 'MIXREC_SERVERS are those of a training; a search takes --ps' 2
  [[ $MIXREC_MPIRUN != srun* ]] || fail 'MIXREC_SERVERS beside the ranks need mpirun, not srun' 2
fi
if [[ -z ${MIXREC_RANKS:-} ]]; then MIXREC_RANKS=$((MIXREC_GPUS > 0 ? MIXREC_GPUS : 1)); fi
if [[ -z ${MIXREC_PROGRAM:-} ]]; then
  MIXREC_PROGRAM=$MIXREC_ROOT/build/release/bin/mixrec
  ((MIXREC_GPUS > 0)) && MIXREC_PROGRAM=$MIXREC_ROOT/build/cuda/bin/mixrec
fi
((dry_run)) || [[ -x $MIXREC_PROGRAM ]] || fail "$MIXREC_PROGRAM is not there; ./launch/setup.sh builds it"
((dry_run)) || command -v sbatch > /dev/null || fail 'there is no sbatch here: this is no Slurm cluster'

# Prints a submission and, unless this is a rehearsal, makes it; `job` is its number.
submit() {
  if ((dry_run)); then
    printf 'sbatch'
    printf ' %q' "$@"
    printf '\n'
    job=JOB
  else
    job=$(sbatch --parsable "$@")
    job=${job%%;*} # a federation adds its cluster's name
  fi
}

site=() after=() more=()
[[ -z ${MIXREC_PARTITION:-} ]] || site+=(--partition="$MIXREC_PARTITION")
[[ -z ${MIXREC_ACCOUNT:-} ]] || site+=(--account="$MIXREC_ACCOUNT")
[[ -z ${MIXREC_AFTER:-} ]] || after=(--dependency=afterok:"$MIXREC_AFTER")
read -ra more <<< "${MIXREC_SBATCH:-}"
site+=(--time="$MIXREC_TIME" --signal=B:USR1@"$MIXREC_SAVE_SECONDS" "${more[@]}")
nodes=(--nodes="$MIXREC_NODES" --ntasks-per-node="$MIXREC_RANKS" --cpus-per-task="$MIXREC_CPUS")
((MIXREC_GPUS == 0)) || nodes+=(--gpus-per-node="$MIXREC_GPUS")
[[ -z ${MIXREC_MEMORY:-} ]] || nodes+=(--mem="$MIXREC_MEMORY")

# The jobs read these; sbatch hands the environment on.
export MIXREC_ROOT MIXREC_PROGRAM MIXREC_MPIRUN MIXREC_MAX_REQUEUES MIXREC_GROUP_FLAGS
export MIXREC_STOP_SIGNAL MIXREC_NETWORK MIXREC_SERVERS MIXREC_SERVER_FLAGS
export MIXREC_FOLDER=$folder
((dry_run)) || mkdir -p "$folder/slurm"
scripts=$MIXREC_ROOT/launch/slurm
if [[ $what == train ]]; then
  used=(train.sh)
  submit "${site[@]}" "${after[@]}" "${nodes[@]}" --job-name=mixrec-train \
    --output="$folder/slurm/train-%j.out" "$scripts/train.sh" "${flags[@]}"
  ((dry_run)) || printf 'train %s\n' "$job"
else
  used=(scheduler.sh group.sh)
  submit "${site[@]}" "${after[@]}" --nodes=1 --ntasks=1 --job-name=mixrec-scheduler \
    --output="$folder/slurm/scheduler-%j.out" "$scripts/scheduler.sh" "${flags[@]}"
  ((dry_run)) || printf 'scheduler %s\n' "$job"
  # Groups have nothing to do before there is somebody to give them trials.
  submit "${site[@]}" --dependency=after:"$job" "${nodes[@]}" --array=1-"$MIXREC_GROUPS" \
    --job-name=mixrec-group --output="$folder/slurm/group-%A_%a.out" "$scripts/group.sh"
  ((dry_run)) || printf 'groups %s\n' "$job"
fi
((dry_run)) || exit 0
for script in requeue.sh "${used[@]}"; do
  printf '\n==> %s <==\n' "$scripts/$script"
  cat "$scripts/$script"
done
