#!/usr/bin/env bash
# launch/slurm.sh and its jobs, unchanged, on a real private Slurm: a search by a scheduler and a job
# array, of which a task is requeued in the middle of a trial; then the winner's training, which is
# preempted, then told by Slurm that its time is nearly up, and ends as if nothing had happened.
#
#   slurm_test.sh MIXREC
#
# Exit code 77: there is no Slurm here.
set -euo pipefail
mixrec=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$(cd "$here/../.." && pwd)
# shellcheck source=tests/slurm/jobs.sh
source "$here/jobs.sh"

clean_up() {
  stop_slurm
  rm -rf "$work"
}
trap clean_up EXIT

"$mixrec" synth --out="$work/data" --user_count=300 --item_count=120 > /dev/null
"$mixrec" pretrain --data="$work/data" --tokenizer=train:600 --hidden=32 --layers=2 --epochs=1 \
  --out="$work/backbone" > "$work/pretrain.out" 2>&1 || fail "$(tail -n 3 "$work/pretrain.out")"
start_slurm "$work/slurm" || fail 'the private Slurm did not start'
say 'Slurm is up'

# Variables of the templates.
export MIXREC_PROGRAM=$mixrec MIXREC_CPUS=1 MIXREC_PARTITION=main

# --- a search ---------------------------------------------------------------------------------

study=$work/study trials=3 epochs=4
# The trial that the first task has begun and not ended.
in_the_middle() {
  held=$(ask "[t['number'] for t in s['trials'] if t.get('group') == '$group' and t['scores']][0]")
  [[ -n $held ]]
}
has_ended() {
  release "$1"
  ended "$scheduler"
}

data=(--data="$work/data" --backbone="$work/backbone" --threads=1 --log_level=warning)
submitted=$(MIXREC_GROUPS=2 "$source/launch/slurm.sh" search "${data[@]}" --study="$study" \
  --trials=$trials --trial_epochs=$epochs --bo_fraction=.4 --lease_seconds=6 --heartbeat_seconds=1)
scheduler=$(sed -n 's/^scheduler //p' <<< "$submitted")
groups=$(sed -n 's/^groups //p' <<< "$submitted")
group=slurm-$groups-1
within 90 in_the_middle || fail 'no trial goes on in the first task'
scontrol requeue "${groups}_1"
say "the first task is requeued in the middle of trial $held"
within 240 has_ended "${groups}_1" || fail 'the search does not end'
[[ $(state_of "$scheduler") == COMPLETED ]] ||
  fail "the scheduler's job ended as $(state_of "$scheduler")"
[[ $(ask "s['phase']") == finished ]] || fail 'the study is not finished'
[[ $(ask "s['counts']['complete'] == len(s['trials']) == $trials") == True ]] ||
  fail "not $trials trials, each complete: $(ask "s['counts']")"
[[ $(ask "len(s['trials'][$held]['scores'])") == "$epochs" ]] || fail "trial $held misses epochs"
[[ -s $study/best.flags && -s $study/report.html ]] || fail 'no best.flags or no report'
say "$trials trials, each ended once; the winner: $(ask "s['best']")"

# --- the winner's training --------------------------------------------------------------------

flags=(--flagfile="$study/best.flags" --epochs=12 --threads=1 --log_level=warning)
"$mixrec" train "${flags[@]}" --out="$work/plain" > /dev/null 2>&1
total=$(lines "$work/plain")
say "a training by itself: $total lines of metrics"

run=$work/run
job=$(MIXREC_AFTER=$scheduler "$source/launch/slurm.sh" train "${flags[@]}" --out="$run" | sed -n 's/^train //p')
within 30 has_lines "$run" 3 || fail 'the training does not begin'
preempt "$job"
say "preempted after $(lines "$run") lines"
within 30 runs_again "$job" 1 || fail 'a preempted training does not start again'
before=$(lines "$run")
within 30 has_lines "$run" $((before + 2)) || fail 'the training does not go on'
# What Slurm does MIXREC_SAVE_SECONDS before the end, without waiting for it.
scancel --batch --signal=USR1 "$job"
within 30 runs_again "$job" 2 || fail 'a training whose time is up does not requeue itself'
say "its time was up after $(lines "$run") lines"
within 200 ends "$job" || fail 'the training does not end'
[[ $(state_of "$job") == COMPLETED ]] || fail "the training ended as $(state_of "$job")"
diff <(numbers "$work/plain") <(numbers "$run") > "$work/difference" ||
  fail "preempted twice, the training differs: $(head -n 3 "$work/difference")"
say "trained in $(($(restarts_of "$job") + 1)) starts, bit for bit as in one"
