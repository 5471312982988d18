# What the jobs of launch/slurm.sh share; they source it.
# shellcheck shell=bash
# shellcheck source=launch/mpi.sh
source "$MIXREC_ROOT/launch/mpi.sh"

say() { printf '%s %s: %s\n' "$(date '+%F %T')" "${SLURM_JOB_NAME:-job}" "$*"; }

put_back_into_the_queue() {
  if ! command -v scontrol > /dev/null; then
    say 'no scontrol here: submit the same job again, and it goes on'
  elif ((${SLURM_RESTART_COUNT:-0} >= MIXREC_MAX_REQUEUES)); then
    say "requeued $MIXREC_MAX_REQUEUES times (MIXREC_MAX_REQUEUES) and not done: submit it again"
  else
    say 'requeued'
    scontrol requeue "$SLURM_JOB_ID"
  fi
}

# run_and_requeue COMMAND ARGUMENT...: runs the command, hands SIGUSR1 (Slurm: the time is nearly up)
# and SIGTERM (Slurm: preempted, requeued or cancelled) on to it as SIGUSR1, and ends with its exit
# code; a program with --stop_signal gets that (MIXREC_STOP_SIGNAL) instead of SIGUSR1. Code 75, a stop with a checkpoint, puts the job back into the queue unless Slurm itself has
# ended the job, at most MIXREC_MAX_REQUEUES times.
run_and_requeue() {
  local child='' code signalled stopping=0 terminated=0
  say "on ${SLURM_JOB_NODELIST:-this machine}, start $((${SLURM_RESTART_COUNT:-0} + 1)): $*"
  trap 'signalled=1 stopping=1; [[ -z $child ]] || kill -"$MIXREC_STOP_SIGNAL" "$child" || true' USR1
  trap 'signalled=1 stopping=1 terminated=1; [[ -z $child ]] || kill -"$MIXREC_STOP_SIGNAL" "$child" || true' TERM
  "$@" &
  child=$!
  ((!stopping)) || kill -"$MIXREC_STOP_SIGNAL" "$child"
  # A signal ends `wait`, not the child.
  while true; do
    signalled=0 code=0
    wait "$child" || code=$?
    ((signalled)) || break
  done
  trap - USR1 TERM
  # Told to stop before it could listen: nothing is lost.
  if ((stopping && code == 128 + $(kill -l "$MIXREC_STOP_SIGNAL"))); then code=75; fi
  say "exit code $code"
  if ((code == 75 && !terminated)); then put_back_into_the_queue; fi
  return "$code"
}

# ranks COMMAND FLAG...: `mixrec COMMAND` by all ranks of the job, in place of this shell. One needs no
# launcher; srun starts and ends ranks as any program, while mpirun needs what launch/mpi.sh does.
ranks() {
  local dry_run=0 mpirun=() servers=0 server_flags=() program place=()
  read -ra mpirun <<< "$MIXREC_MPIRUN"
  if ((${SLURM_NTASKS:-1} + ${MIXREC_SERVERS:-0} == 1)); then exec "$MIXREC_PROGRAM" "$@"; fi
  if [[ ${mpirun[0]} == srun ]]; then
    exec "${mpirun[@]}" --ntasks="$SLURM_NTASKS" "$MIXREC_PROGRAM" "$@"
  fi
  read_mpi_variables
  # Servers are on all nodes too, and come on top of the ranks.
  ((servers == 0)) || place=(--map-by node:OVERSUBSCRIBE)
  run_ranks "$SLURM_NTASKS" "${place[@]}" -- "$@"
}
