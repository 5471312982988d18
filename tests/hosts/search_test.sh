#!/usr/bin/env bash
# launch/search.sh over two hosts, network namespaces of this machine: the scheduler on one, a worker
# group on both. The other's link is cut in the middle of a trial, which goes on on the first; the
# search ends with every trial finished once, though the link stays cut.
# search_test.sh PROGRAM. Code 77: namespaces are not permitted here.
set -euo pipefail
mixrec=$1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/hosts/namespaces.sh
source "$root/tests/hosts/namespaces.sh"
# shellcheck source=tests/study_questions.sh
source "$root/tests/study_questions.sh"
folder=$(mktemp -d "${TEST_TMPDIR:-${TMPDIR:-/tmp}}/search_test.XXXXXX")

cleanup() {
  remove_hosts
  rm -rf "$folder"
}
trap cleanup EXIT

die() {
  printf 'search_test: %s\n' "$1" >&2
  tail -n 20 "$folder"/*.err "$study"/groups/*.out >&2 2> /dev/null || true
  exit 1
}

make_hosts search_test
write_agent "$folder/agent"
write_entrance "$folder/enter"
export MIXREC_PROGRAM=$mixrec MIXREC_NETWORK=10.231.$net.0/24
export MIXREC_GROUP_DEADLINE=3 MIXREC_HOSTS=${hosts[0]},${hosts[1]} MIXREC_GROUP_FLAGS='--threads=1 --log_level=warning'
export MIXREC_MPIRUN="mpirun --mca plm_rsh_agent $folder/agent"

study=$folder/study trials=4 epochs=3
# The trial that the second host has begun and not ended.
in_the_middle() {
  held=$(ask "[t['number'] for t in s['trials'] if t.get('group') == 'g2' and t['state'] == 'running' and t['scores']][0]")
  [[ -n $held ]]
}
has_ended() { ! kill -0 "$1" 2> /dev/null; }
second_is_empty() { [[ -z $(ip netns pids "${hosts[1]}") ]]; }

"$mixrec" synth --user_count=300 --item_count=120 --out="$folder/data" > /dev/null
"$mixrec" pretrain --data="$folder/data" --out="$folder/backbone" --tokenizer=train:400 --hidden=32 \
  --layers=2 --epochs=0 --threads=1 > /dev/null 2>&1

"$folder/enter" "${hosts[0]}" timeout -k 5 200 "$root/launch/search.sh" --study="$study" \
  --data="$folder/data" --backbone="$folder/backbone" --threads=1 --trials=$trials \
  --trial_epochs=$epochs --bo_fraction=1 --lease_seconds=3 --heartbeat_seconds=.5 \
  > "$folder/search.out" 2> "$folder/search.err" &
job=$!
within 60 in_the_middle || die 'no trial goes on on the second host'
ip link set "${name}1" down
echo "cut in the middle of trial $held; $(ask "s['counts']")"
code=0
wait "$job" || code=$?
((code == 0)) || die "the search ended with code $code"
[[ $(ask "s['phase']") == finished ]] || die 'the study is not finished'
[[ $(ask "s['counts']['complete'] == len(s['trials']) == $trials") == True ]] ||
  die "not $trials trials, each complete: $(ask "s['counts']")"
grep -q "trial $held: .*, from group g1, attempt 2" "$folder/search.err" ||
  die "trial $held was not given to the first host"
for ((trial = 0; trial < trials; trial++)); do
  [[ $(grep -c "trial $trial: .*, from group" "$folder/search.err") == 1 ]] ||
    die "trial $trial did not end once"
done
[[ $(ask "[g['state'] for g in s['groups'] if g['name'] == 'g2']") == "['lost']" ]] ||
  die 'the second group is not known to be lost'
[[ $(ask "all(len(t['scores']) == $epochs for t in s['trials'])") == True ]] || die 'epochs are missing'
[[ $(wc -l < "$study/trials.csv") == $((trials + 1)) ]] || die "trials.csv: $(cat "$study/trials.csv")"
[[ -s $study/best.flags ]] || die 'no best.flags'
echo "ended with the link cut: $(ask "s['counts']")"
grep -q 'search: group g2 does not end' "$folder/search.err" || die 'the group that is cut off is not named'
ip link set "${name}1" up
within 60 second_is_empty || die 'the second host works on when the search is over'
echo 'search_test: passed'
