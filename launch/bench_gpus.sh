#!/usr/bin/env bash
# What the GPUs of this machine are worth together: everything there is to measure, in one table.
set -euo pipefail
# shellcheck source=launch/mpi.sh
source "$(dirname "${BASH_SOURCE[0]}")/mpi.sh"

usage() {
  cat <<'TEXT'
Usage: [VARIABLE=VALUE...] ./launch/bench_gpus.sh [--dry_run] [--cpu] OUT

Measures on 1, 2, 4, ... GPUs, and prints one table (also OUT/table.md):

  losses       of 50 steps by several ranks beside one rank's
  full size    tokens/s, scaling efficiency and exposed communication at the shapes of OPT
  sums         GB/s of the sums over all ranks
  servers      a training whose tables are on shards on 1 GPU, and on all
  search       trials an hour with one group, and with one a GPU
  kill         how soon `kill -9` of a rank is known, and that the run goes on to the same losses

  MIXREC_GPUS=             GPUs to use; all there are
  MIXREC_SHAPES=           shapes; opt-125m,opt-1.3b
  MIXREC_SECONDS=20        of each measurement of speed
TEXT
  mpi_variables
  echo '--cpu: with ranks on the CPU, 2 unless MIXREC_GPUS says otherwise, and a small shape.'
}

dry_run=0 device=cuda
while (($# > 0)); do
  case $1 in
    --help | -h)
      usage
      exit 0
      ;;
    --dry_run) dry_run=1 ;;
    --cpu) device=cpu ;;
    --*) fail "unknown argument $1 (see --help)" ;;
    *) break ;;
  esac
  shift
done
(($# == 1)) || fail 'a folder to write to is needed (see --help)'
read_mpi_variables
out=$(realpath -m -- "$1")
((dry_run)) || mkdir -p "$out"
gpus=${MIXREC_GPUS:-}
if [[ $device == cpu ]]; then
  gpus=${gpus:-2} shapes=${MIXREC_SHAPES:-tiny} threads=(--threads=1)
else
  gpus=${gpus:-$(nvidia-smi --list-gpus 2> /dev/null | wc -l || true)}
  shapes=${MIXREC_SHAPES:-opt-125m,opt-1.3b} threads=()
fi
((dry_run)) && ((gpus == 0)) && gpus=2
((gpus > 0)) || fail 'there is no GPU here; --cpu measures ranks on the CPU'
counts=()
for ((count = 1; count <= gpus; count *= 2)); do counts+=("$count"); done
most=${counts[-1]}
seconds=${MIXREC_SECONDS:-20}

# One process of the program; its stdout is the caller's.
alone() {
  show "$program" "$@"
  ((dry_run)) || "$program" "$@"
}
# row PART RANKS WHAT VALUE
row() { ((dry_run)) || printf '| %s | %s | %s | %s |\n' "$@" >> "$out/table.md"; }
# The values of a JSON field, a line each.
field() { sed -n "s/.*\"$1\": *\"\{0,1\}\([^,}\"]*\).*/\1/p"; }
# The largest relative difference of two runs' losses, over the steps of the first.
difference() {
  paste <(field loss < "$1/metrics.jsonl") <(field loss < "$2/metrics.jsonl") |
    awk 'NF == 2 { d = ($2 - $1) / $1; if (d < 0) d = -d; if (d > most) most = d; n++ }
      END { printf "%.2g over %d steps", most, n }'
}
run_of_losses() {
  local name=$1 ranks=$2
  shift 2
  run_ranks "$ranks" --oversubscribe -- train --data="$out/data" --backbone="$out/backbone" \
    --out="$out/$name" --resume=none --epochs=1 --batch=8 --n_cl=1 --bottleneck=16 --log_steps=1 \
    --device="$device" "${threads[@]}" --log_level=error "$@" > /dev/null
}

measure_losses() {
  local count
  for count in "${counts[@]}"; do
    servers=0 run_of_losses "losses$count" "$count"
    ((dry_run || count == 1)) ||
      row losses "$count" 'largest relative difference to 1 rank' \
        "$(difference "$out/losses1" "$out/losses$count")"
  done
}

# As much for each rank whatever their number.
measure_speed() {
  local shape count line rate first
  for shape in ${shapes//,/ }; do
    for count in "${counts[@]}"; do
      line=$(servers=0 run_ranks "$count" --oversubscribe -- bench step --shape="$shape" \
        --batch=$((8 * count)) --seconds="$seconds" --device="$device" "${threads[@]}" \
        --log_level=error | tee /dev/stderr | tail -n 1)
      ((!dry_run)) || continue
      rate=$(field tokens_per_second <<< "$line")
      ((count > 1)) || first=$rate
      row "$shape" "$count" 'tokens/s; scaling; exposed communication' \
        "$(awk -v r="$rate" -v f="$first" -v n="$count" -v e="$(field exposed <<< "$line")" \
          'BEGIN { printf "%.0f; %.1f %%; %.1f %%", r, 100 * r / (n * f), 100 * e }')"
    done
  done
}

measure_sums() {
  local line
  while read -r line; do
    row sums "$most" "GB/s of $(field bytes <<< "$line") bytes" "$(field gb_per_s <<< "$line")"
  done < <(servers=0 run_ranks "$most" --oversubscribe -- bench allreduce --device="$device" |
    tee /dev/stderr | grep '^{' || true)
}

measure_servers() {
  local count flags=("${server_flags[@]}")
  for count in $(printf '%s\n' 1 "$most" | sort -nu); do
    server_flags=("${flags[@]}" --device="$device")
    servers=$count run_of_losses "servers$count" 1
    ((dry_run)) || row servers "$count" 'tokens/s of 1 rank; difference to its own tables' \
      "$(field tokens_per_second < "$out/servers$count/metrics.jsonl" | sort -n | tail -n 20 |
        head -n 1); $(difference "$out/losses1" "$out/servers$count")"
  done
  server_flags=("${flags[@]}")
}

measure_search() {
  local count start trials=$((2 * most))
  for count in $(printf '%s\n' 1 "$most" | sort -nu); do
    start=$SECONDS
    alone search --data="$out/data" --backbone="$out/backbone" --out="$out/search$count" \
      --resume=none --trials="$trials" --trial_epochs=1 --bo_fraction=1 --batch=8 --n_cl=1 \
      --groups="$count" --device="$device" --log_level=error > /dev/null
    ((dry_run)) || row search "$count" "seconds of $trials trials" $((SECONDS - start))
  done
}

# Kills the last rank of all at step 10.
measure_kill() {
  local run=$out/killed job victim start code=0
  if ((dry_run || most == 1)); then
    run_of_losses killed "$most"
    return
  fi
  servers=0 run_of_losses killed "$most" --checkpoint_steps=5 2> "$out/killed.err" &
  job=$!
  until [[ -f $run/metrics.jsonl && $(field step < "$run/metrics.jsonl" | tail -n 1) -ge 10 ]]; do
    kill -0 "$job" || fail "the run ended before it was killed: $out/killed.err"
    sleep 0.1
  done
  victim=$(pgrep -f -- "^$program train .*--out=$run " | sort -n | tail -n 1)
  kill -KILL "$victim"
  start=$(date +%s.%N)
  while pgrep -f -- "^$program train .*--out=$run " > /dev/null; do sleep 0.1; done
  row kill "$most" 'seconds until all others have ended' \
    "$(awk -v s="$start" -v e="$(date +%s.%N)" 'BEGIN { printf "%.1f", e - s }')"
  wait "$job" || code=$?
  row kill "$most" 'exit code; message' "$code; $(grep -m 1 '^mixrec train:' "$out/killed.err")"
  servers=0 run_of_losses killed "$most" --checkpoint_steps=5 --resume=auto
  row kill "$most" 'resumed: largest relative difference to 1 rank' \
    "$(difference "$out/losses1" "$run")"
}

((dry_run)) || printf '| part | ranks | what | value |\n|---|---|---|---|\n' > "$out/table.md"
alone synth --user_count=410 --item_count=200 --out="$out/data" > /dev/null
[[ -f $out/backbone/model.safetensors ]] ||
  alone pretrain --data="$out/data" --out="$out/backbone" --tokenizer=train:1000 --epochs=0 \
    --hidden=128 --layers=4 > /dev/null
for part in losses speed sums servers search kill; do
  "measure_$part" || row "$part" '' 'failed' "code $?"
done
((dry_run)) || cat "$out/table.md"
