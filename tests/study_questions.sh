# What scripts ask of a search that goes on; they source it. `mixrec` and `study` are theirs.
# shellcheck shell=bash

# within SECONDS COMMAND...: waits until it succeeds.
within() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.2
  done
}

# ask EXPRESSION: of what `mixrec status` says about the study, `s`.
# shellcheck disable=SC2154
ask() {
  "$mixrec" status --study="$study" --json 2> /dev/null |
    python3 -c 'import json, sys
s = json.load(sys.stdin)
print(eval(sys.argv[1]))' "$1" 2> /dev/null
}
