#!/usr/bin/env bash
# From the scientific data and a BERT folder to the score of configs/best/scientific.flags.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: ./launch/reproduce.sh --data=DIR --bert=DIR [--out=DIR] [--systems=LIST] [--jobs=N] [--cuda]

Mines hard samples, writes the vectors for distillation, pre-trains the backbone of
configs/best/scientific_pretrain.flags, then trains and evaluates --systems with three seeds each over
configs/best/scientific_table.flags. Stop it whenever you like: run again, it goes on.

  --data=DIR      Amazon Industrial and Scientific as atomic files (docs/data.md)
  --bert=DIR      a BertModel folder of width 384, such as all-MiniLM-L6-v2 (docs/hard_samples.md)
  --out=DIR       where everything goes (default: runs/reproduce)
  --systems=LIST  what to compare (default: configs/best/scientific.flags; see docs/tables.md)
  --jobs=N        runs at the same time (default: 1)
  --cuda          uses the CUDA program, build/cuda/bin/mixrec
TEXT
}

fail() {
  printf 'reproduce: %s\n' "$1" >&2
  exit 2
}

out=runs/reproduce data='' bert='' systems=configs/best/scientific.flags jobs=1 preset=release
for argument in "$@"; do
  case $argument in
    --data=?*) data=$(realpath -m -- "${argument#--data=}") ;;
    --bert=?*) bert=$(realpath -m -- "${argument#--bert=}") ;;
    --out=?*) out=$(realpath -m -- "${argument#--out=}") ;;
    --systems=?*) systems=${argument#--systems=} ;;
    --jobs=?*) jobs=${argument#--jobs=} ;;
    --cuda) preset=cuda ;;
    --help | -h)
      usage
      exit 0
      ;;
    *) fail "unknown argument $argument (see --help)" ;;
  esac
done
[[ -n $data && -n $bert ]] || fail 'give --data=DIR and --bert=DIR (see --help)'

cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=build/$preset/bin/mixrec
[[ -x $program ]] || fail "$program is missing: ./launch/setup.sh --program first"

# Prints a command of the program, then runs it.
run() {
  printf '\n$ %s %s\n' "$program" "$*"
  "$program" "$@"
}

mkdir -p "$out"
backbone_flags=configs/best/scientific_pretrain.flags
[[ -f $out/mined/hard_samples.bin ]] || run mine --data="$data" --bert="$bert" --out="$out/mined"
[[ -f $out/vectors.safetensors ]] ||
  run mine --flagfile=$backbone_flags --data="$data" --bert="$bert" --min_item_interactions=1 \
    --vectors_out="$out/vectors.safetensors"
# The weights are written last: where they are, the language model is whole.
[[ -f $out/backbone/model.safetensors ]] ||
  run pretrain --flagfile=$backbone_flags --data="$data" --distill="$out/vectors.safetensors" \
    --out="$out/backbone"
run table --flagfile=configs/best/scientific_table.flags --data="$data" --backbone="$out/backbone" \
  --hard_samples="$out/mined/hard_samples.bin" --systems="$systems" --seeds=3 --jobs="$jobs" \
  --trials=12 --trial_epochs=3 --out="$out/table"
