#!/usr/bin/env bash
# Full training over two nodes of a real private Slurm, which are hosts of their own (network
# namespaces), by launch/slurm.sh as it is: by mpirun, by mpirun with servers beside the ranks, and by
# srun. Each is preempted once and told once that its time is up, and ends as one that nobody
# disturbed.
#
#   slurm_nodes_test.sh MIXREC
#
# Exit code 77: there is no Slurm here, or network namespaces are not permitted.
set -euo pipefail
mixrec=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$(cd "$here/../.." && pwd)
# shellcheck source=tests/slurm/jobs.sh
source "$here/jobs.sh"
# shellcheck source=tests/hosts/namespaces.sh
source "$source/tests/hosts/namespaces.sh"

clean_up() {
  [[ -z ${slurm_folder:-} ]] || stop_slurm
  remove_hosts
  rm -rf "$work"
}
trap clean_up EXIT

make_hosts slurm_nodes_test
write_entrance "$work/enter"
start_slurm_on_hosts "$work/slurm" "$work/enter" "10.231.$net.1" \
  "${hosts[0]}=10.231.$net.11" "${hosts[1]}=10.231.$net.12" || fail 'the private Slurm did not start'
say 'Slurm is up on two hosts'

"$mixrec" synth --out="$work/data" --user_count=1200 --item_count=120 > /dev/null
"$mixrec" pretrain --data="$work/data" --tokenizer=train:600 --hidden=32 --layers=2 --epochs=0 \
  --threads=1 --out="$work/backbone" > "$work/pretrain.out" 2>&1 || fail "$(cat "$work/pretrain.out")"

# Variables of the templates.
export MIXREC_PROGRAM=$mixrec MIXREC_CPUS=1 MIXREC_PARTITION=main MIXREC_NODES=2 MIXREC_RANKS=2
export MIXREC_SERVER_FLAGS='--threads=1 --log_level=error'

more=() # flags
# train RUN: submits; sets `run` and `job`.
train() {
  run=$work/$1
  job=$("$source/launch/slurm.sh" train --data="$work/data" --backbone="$work/backbone" --epochs=2 \
    --batch=4 --architecture=010101 --bottleneck=4 --checkpoint_minutes=0 --threads=1 \
    --log_level=warning --out="$run" "${more[@]}" | sed -n 's/^train //p')
}
has_completed() {
  within 200 ends "$job" || fail "$1 does not end"
  [[ $(state_of "$job") == COMPLETED ]] || fail "$1 ended as $(state_of "$job")"
}
# Hashes of the last checkpoint: of tables too where servers have held them.
parameters() {
  (cd "$1/checkpoints/last/" &&
    find . -type f \( -name '*.safetensors' -o -path './tables/*' \) | sort | xargs sha256sum)
}

# disturbed RUN PLAIN: as a training that is preempted, goes on, and is told that its time is up.
disturbed() {
  train "$1"
  within 60 has_lines "$run" 4 || fail "$1 does not begin"
  preempt "$job"
  say "$1 was preempted after $(lines "$run") lines"
  within 60 runs_again "$job" 1 || fail "$1 does not start again when it was preempted"
  within 60 grep -q 'going on after step' "$run"/slurm/*.out ||
    fail "$1 lost what it had done when it was preempted"
  before=$(lines "$run")
  within 60 has_lines "$run" $((before + 2)) || fail "$1 does not go on"
  scancel --batch --signal=USR1 "$job"
  within 60 runs_again "$job" 2 || fail "$1 does not requeue itself when its time is up"
  say "its time was up after $(lines "$run") lines"
  has_completed "$1"
  diff <(numbers "$2") <(numbers "$run") > "$work/difference" ||
    fail "disturbed twice, $1 differs: $(head -n 3 "$work/difference")"
  diff <(parameters "$2") <(parameters "$run") || fail "disturbed twice, $1 has another checkpoint"
  say "$1: trained in $(($(restarts_of "$job") + 1)) starts, bit for bit as in one"
}

train plain
has_completed 'a training by itself'
say "a training by itself: $(lines "$run") lines of metrics"
more=(--stop_signal=USR2)
MIXREC_STOP_SIGNAL=USR2 disturbed mpirun "$work/plain"
more=()
MIXREC_MPIRUN='srun --mpi=pmix' disturbed srun "$work/plain"
MIXREC_SERVERS=2 train served_plain
has_completed 'a training with servers'
MIXREC_SERVERS=2 disturbed served "$work/served_plain"
