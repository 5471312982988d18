#!/usr/bin/env bash
# Downloads an OPT checkpoint in the Hugging Face layout.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: ./launch/fetch_opt.sh SIZE [--out=DIR] [--revision=NAME] [--dry_run]

Downloads facebook/opt-SIZE (Zhang et al. 2022) from huggingface.co into DIR (default:
models/opt-SIZE): configuration, tokenizer and weights, in one file or in parts. A broken download
goes on with the same command. Weights are compared with the SHA-256 sums that the hub gives.

SIZE: 125m, 350m, 1.3b, 2.7b, 6.7b, 13b, 30b, 66b. The paper uses 125m.
The model's page, with its licence: https://huggingface.co/facebook/opt-125m

  --out=DIR        where the files go
  --revision=NAME  a branch or commit (default: main); a commit makes the download repeatable
  --dry_run        print the addresses only

HF_TOKEN, if set, is sent along. Next: mixrec train --backbone=DIR ...
TEXT
}

fail() {
  printf 'fetch_opt: %s\n' "$1" >&2
  exit "${2:-1}"
}

size='' out='' revision=main dry_run=false
for argument in "$@"; do
  case $argument in
    --out=?*) out=${argument#--out=} ;;
    --revision=?*) revision=${argument#--revision=} ;;
    --dry_run) dry_run=true ;;
    --help | -h)
      usage
      exit 0
      ;;
    -*) fail "unknown argument $argument (see --help)" 2 ;;
    *)
      [[ -z $size ]] || fail "one size at a time, found $size and $argument" 2
      size=$argument
      ;;
  esac
done

case $size in
  125m | 350m | 1.3b | 2.7b) weights=pytorch_model.bin ;;
  6.7b | 13b | 30b | 66b) weights=pytorch_model.bin.index.json ;;  # names the parts
  *) fail "unknown size \"$size\"; 125m, 350m, 1.3b, 2.7b, 6.7b, 13b, 30b or 66b" 2 ;;
esac
out=${out:-models/opt-$size}
base=https://huggingface.co/facebook/opt-$size/resolve/$revision

files=(config.json vocab.json merges.txt "$weights")
if $dry_run; then
  for file in "${files[@]}"; do printf '%s -> %s\n' "$base/$file" "$out/$file"; done
  [[ $weights != *index.json ]] || printf '%s\n' "and the parts that $weights names"
  exit 0
fi

command -v curl >/dev/null || fail 'curl is missing: apt-get install curl'
mkdir -p "$out"
cd "$out"
header=()
[[ -z ${HF_TOKEN:-} ]] || header=(--header "Authorization: Bearer $HF_TOKEN")

# For large files the hub sends the SHA-256 as x-linked-etag, in the answer before the redirection.
expected_sum() {
  curl --silent --fail --head "${header[@]}" "$base/$1" | tr -d '\r"' |
    awk 'tolower($1) == "x-linked-etag:" { print $2 }'
}

fetch() {
  local file=$1 expected found
  if [[ -e $file ]]; then return; fi
  echo "fetch_opt: $base/$file"
  curl --fail --location --retry 5 --continue-at - "${header[@]}" --output "$file.part" \
    "$base/$file" || fail "$base/$file could not be fetched; run again to go on"
  expected=$(expected_sum "$file" || true)
  if [[ ${#expected} == 64 ]]; then
    found=$(sha256sum "$file.part")
    if [[ ${found%% *} != "$expected" ]]; then
      rm -f "$file.part"
      fail "$file was damaged on the way (its SHA-256 is another) and is removed; run again"
    fi
  fi
  mv "$file.part" "$file"
}

for file in "${files[@]}"; do fetch "$file"; done
if [[ $weights == *index.json ]]; then
  mapfile -t parts < <(grep -o 'pytorch_model-[0-9]*-of-[0-9]*\.bin' "$weights" | sort -u)
  [[ ${#parts[@]} -gt 0 ]] || fail "$out/$weights names no parts; remove it and run again" 3
  for part in "${parts[@]}"; do fetch "$part"; done
fi
echo "fetch_opt: done; next: mixrec train --backbone=$out"
