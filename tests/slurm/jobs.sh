# What the tests of launch/slurm.sh have in common; sourced. Ends them with 77 where there is no Slurm.
# Sets `work`, a folder that they remove.
# shellcheck shell=bash

# shellcheck source=tests/slurm/private_slurm.sh
source "$(dirname "${BASH_SOURCE[0]}")/private_slurm.sh"

if ! slurm_is_installed; then
  echo 'SKIPPED: no Slurm here (apt-get install slurmctld slurmd slurm-client munge)'
  exit 77
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/slurm.XXXXXX")
chmod 0755 "$work" # munge wants its socket's folders open

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  squeue >&2 || true
  tail -n 20 "$work"/*/slurm/*.out "$work"/slurm/slurmctld.log >&2 || true
  exit 1
}
# mpirun in a job of root's.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

say() { printf '[%3d s] %s\n' "$SECONDS" "$*"; }

# Lines of a run's metrics.
lines() { if [[ -f $1/metrics.jsonl ]]; then wc -l < "$1/metrics.jsonl"; else echo 0; fi; }
has_lines() { (($(lines "$1") >= $2)); }
# Metrics without what depends on the clock.
numbers() {
  python3 -c 'import json, sys
for line in open(sys.argv[1]):
    record = json.loads(line)
    print({k: v for k, v in record.items() if k != "time" and not k.endswith("_per_second")})' \
    "$1/metrics.jsonl"
}

ended() { [[ -z $(state_of "$1") || $(state_of "$1") =~ COMPLETED|FAILED|CANCELLED|TIMEOUT ]]; }
ends() {
  release "$1"
  ended "$1"
}
# runs_again JOB RESTARTS
runs_again() {
  release "$1"
  [[ $(state_of "$1") == RUNNING ]] && (($(restarts_of "$1") >= $2))
}

# preempt JOB: a job of a higher partition takes both nodes for a moment.
preempt() {
  local urgent
  urgent=$(sbatch --parsable --partition=urgent --nodes=2 --exclusive --output=/dev/null --wrap=true)
  within 60 ended "$urgent" || fail 'the urgent job does not preempt'
  [[ $(state_of "$1") == PENDING ]] || fail "to be preempted, but $(state_of "$1")"
}
