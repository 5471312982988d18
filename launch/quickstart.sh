#!/usr/bin/env bash
# From nothing to a searched, trained and evaluated MixRec on a synthetic data set.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: ./launch/quickstart.sh [--out=DIR] [--cuda]

Sets the machine up, builds MixRec, writes a small synthetic data set, pre-trains a language model on
its items' text, searches an architecture, trains the best one, and scores it on the test split. The
job itself takes a few minutes on two cores. Stop it whenever you like: run again, it goes on.

  --out=DIR  where data and runs go (default: runs/quickstart)
  --cuda     builds and uses the CUDA program (needs nvcc)
  --help     this text

Environment: MIXREC_JOBS, MIXREC_SKIP_PACKAGES (see ./launch/setup.sh --help)
TEXT
}

out=runs/quickstart
preset=release
setup=(--program)
for argument in "$@"; do
  case $argument in
    --out=?*) out=$(realpath -m -- "${argument#--out=}") ;;
    --cuda)
      preset=cuda
      setup+=(--cuda)
      ;;
    --help | -h)
      usage
      exit 0
      ;;
    *)
      usage >&2
      printf 'quickstart: unknown argument %s\n' "$argument" >&2
      exit 2
      ;;
  esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
./launch/setup.sh "${setup[@]}"

# Prints a command of the program, then runs it.
run() {
  printf '\n$ build/%s/bin/mixrec %s\n' "$preset" "$*"
  local code=0
  "build/$preset/bin/mixrec" "$@" || code=$?
  ((code == 0)) && return
  if ((code == 75)); then
    echo 'quickstart: stopped with a checkpoint; run it again to go on' >&2
  else
    printf 'quickstart: mixrec %s failed with exit code %d\n' "$1" "$code" >&2
  fi
  exit "$code"
}

start=$SECONDS
mkdir -p "$out"
run synth --out="$out/data"
# The weights are written last: where they are, the language model is whole.
[[ -f $out/backbone/model.safetensors ]] ||
  run pretrain --flagfile=configs/quickstart_pretrain.flags --data="$out/data" \
    --out="$out/backbone"
run search --flagfile=configs/quickstart.flags --data="$out/data" --backbone="$out/backbone" \
  --out="$out/search"
run train --flagfile=configs/quickstart.flags --flagfile="$out/search/best.flags" --out="$out/run"
run evaluate --run="$out/run" --split=test
run recommend --run="$out/run" --users=u0,u1,u2 --k=3

printf '\nquickstart: done in %d s. Next: README.md, "Your own data".\n' $((SECONDS - start))
