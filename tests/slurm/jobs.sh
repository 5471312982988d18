# What the tests of launch/slurm.sh ask of its jobs; sourced, after private_slurm.sh.
# shellcheck shell=bash

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
