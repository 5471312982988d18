#!/usr/bin/env bash
# A study opens in Optuna and optuna-dashboard while it is searched, and when it is done.
#
#   optuna_test.sh MIXREC
#
# MIXREC_OPTUNA_PYTHON names a Python with optuna (and optuna-dashboard beside it). Exit code 77: there is
# none.
set -euo pipefail
mixrec=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${MIXREC_OPTUNA_PYTHON:-python3}
if ! "$python" -c 'import optuna' 2> /dev/null; then
  echo 'SKIPPED: no optuna here (pip install optuna optuna-dashboard)'
  exit 77
fi
dashboard=$(dirname "$(command -v "$python")")/optuna-dashboard
[[ -x $dashboard ]] || dashboard=$(command -v optuna-dashboard || true)
work=$(mktemp -d "${TMPDIR:-/tmp}/optuna.XXXXXX")
search=''
clean_up() {
  [[ -z $search ]] || kill "$search" 2> /dev/null || true
  wait
  rm -rf "$work"
}
trap clean_up EXIT
fail() {
  printf 'FAILED: %s\n' "$*" >&2
  tail -n 20 "$work"/*.out >&2 || true
  exit 1
}
look() {
  "$python" "$here/look_at_study.py" "$work/study/study.journal" "$dashboard" $((20000 + $$ % 20000)) "$@" ||
    fail 'Optuna does not see the study as it is'
}

"$mixrec" synth --out="$work/data" --user_count=200 --item_count=80 > /dev/null
"$mixrec" pretrain --data="$work/data" --tokenizer=train:600 --hidden=32 --layers=2 --epochs=1 \
  --threads=1 --out="$work/backbone" > "$work/pretrain.out" 2>&1 || fail 'no backbone'
"$mixrec" search --groups=2 --data="$work/data" --backbone="$work/backbone" --threads=2 --trials=12 \
  --trial_epochs=3 --bo_fraction=.5 --log_level=warning --out="$work/study" > "$work/search.out" 2>&1 &
search=$!
complete() {
  "$mixrec" status --study="$work/study" --json 2> /dev/null |
    "$python" -c 'import json, sys; print(json.load(sys.stdin)["counts"]["complete"])' 2> /dev/null ||
    echo 0
}
for ((i = 0; i < 600; ++i)); do
  (($(complete) >= 1)) && break
  kill -0 "$search" 2> /dev/null || fail 'the search has ended before a trial was complete'
  sleep .1
done
kill -STOP "$search" # nothing is written while two programs are compared
echo 'while it is searched:'
look
kill -CONT "$search"
wait "$search" || fail 'the search has failed'
search=''
echo 'when it is done:'
look finished
