#!/usr/bin/env bash
# Two hosts, as network namespaces of this machine, with two ranks and a server each, started by
# launch/run_hosts.sh: training, evaluation, a link that is cut for a moment and for good.
# hosts_test.sh PROGRAM. Code 77: namespaces are not permitted here.
set -euo pipefail
program=$1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/hosts/namespaces.sh
source "$root/tests/hosts/namespaces.sh"
folder=$(mktemp -d "${TEST_TMPDIR:-${TMPDIR:-/tmp}}/hosts_test.XXXXXX")

cleanup() {
  remove_hosts
  rm -rf "$folder"
}
trap cleanup EXIT

die() {
  printf 'hosts_test: %s\n' "$1" >&2
  tail -n 20 "$folder"/*.err >&2 2> /dev/null || true
  exit 1
}

make_hosts hosts_test
printf '%s slots=2\n' "${hosts[@]}" > "$folder/hosts"
write_agent "$folder/agent"
export MIXREC_PROGRAM=$program MIXREC_NETWORK=10.231.$net.0/24
export MIXREC_MPIRUN="mpirun --mca plm_rsh_agent $folder/agent --mca plm_rsh_no_tree_spawn 1"

# on_hosts COMMAND FLAG...: by four ranks, with MIXREC_SERVERS servers.
on_hosts() { timeout -k 5 100 "$root/launch/run_hosts.sh" "$folder/hosts" "$@"; }
train() {
  local run=$1
  shift
  MIXREC_SERVERS=2 MIXREC_SERVER_FLAGS='--threads=1 --log_level=error' on_hosts train \
    --data="$folder/data" --backbone="$folder/backbone" --out="$folder/$run" --epochs=4 --batch=8 \
    --n_cl=1 --lr=1e-3 --bottleneck=4 --device=cpu --threads=1 --log_steps=1 --checkpoint_steps=3 \
    --log_level=error "$@" > "$folder/$run.out" 2> "$folder/$run.err"
}
parameters() { (cd "$folder/$1/checkpoints/last/" && sha256sum model.safetensors tables/*); }
await_step() {
  local k
  for ((k = 0; k < 600; k++)); do
    ! grep -q "\"step\":$2[,}]" "$folder/$1/metrics.jsonl" 2> /dev/null || return 0
    sleep 0.1
  done
  die "$1 does not get to step $2"
}

# The network is back once the other end refuses a connection, which takes an answer. mpirun comes by
# ssh, so it does not get there before.
await_network() {
  local k answer
  for ((k = 0; k < 100; k++)); do
    answer=$(ip netns exec "${hosts[1]}" bash -c ": < /dev/tcp/10.231.$net.1/9" 2>&1 || true)
    [[ $answer != *refused* ]] || return 0
    sleep 0.1
  done
  die 'the link does not come back'
}

"$program" synth --user_count=60 --item_count=40 --out="$folder/data" > /dev/null
"$program" pretrain --data="$folder/data" --out="$folder/backbone" --tokenizer=train:400 --hidden=32 \
  --layers=2 --epochs=0 --threads=1 > /dev/null 2>&1

# A host whose daemon never calls back.
printf '#!/bin/sh\n' > "$folder/deaf"
chmod +x "$folder/deaf"
code=0
MIXREC_START_DEADLINE=2 MIXREC_MPIRUN="mpirun --mca plm_rsh_agent $folder/deaf" on_hosts evaluate \
  --run="$folder" > "$folder/deaf.out" 2> "$folder/deaf.err" || code=$?
[[ $code == 1 ]] || die "hosts that do not answer end the command with code $code"
grep -q 'run_hosts.sh: no rank has begun: .*(MIXREC_START_DEADLINE=2 seconds)' "$folder/deaf.err" ||
  die "hosts that do not answer are not named"

train whole || die "training over two hosts ended with code $?"
on_hosts evaluate --run="$folder/whole" --threads=1 --device=cpu > "$folder/four" 2> "$folder/four.err" ||
  die "evaluation over two hosts ended with code $?"
"$program" evaluate --run="$folder/whole" --threads=1 --device=cpu > "$folder/one"
[[ $(tail -n 1 "$folder/four") == "$(tail -n 1 "$folder/one")" ]] ||
  die "metrics differ: $(tail -n 1 "$folder/four") and, by one process, $(tail -n 1 "$folder/one")"

train short --rank_deadline=30 &
job=$!
await_step short 4
ip link set "${name}1" down
sleep 2
ip link set "${name}1" up
wait "$job" || die "a link that was cut for two seconds ended the run with code $?"
[[ $(parameters short) == "$(parameters whole)" ]] || die 'the short cut changed the parameters'

train cut --rank_deadline=4 --ps_deadline=4 &
job=$!
await_step cut 4
ip link set "${name}1" down
code=0
wait "$job" || code=$?
ip link set "${name}1" up
await_network
((code != 0)) || die 'a cut link ended the run with code 0'
# By its name, or, where a server there is missed first, by its address.
grep -Eq "mixrec train: .*(on ${hosts[1]}|10\.231\.$net\.12:)" "$folder/cut.err" || die 'the host that is missing is not named'
train cut || die "after a cut link the run does not go on: code $?"
[[ $(parameters cut) == "$(parameters whole)" ]] || die 'going on after a cut link changed the parameters'
echo 'hosts_test: passed'
