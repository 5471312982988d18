#!/usr/bin/env bash
# Form: clang-format, the layer check, shellcheck, and on request clang-tidy.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: ./launch/lint.sh [--fix] [--tidy [FILE.cc...]]

Fails where a file is not formatted, a room includes what it may not, or a script has a fault.

  --fix   formats the files instead of complaining
  --tidy  also runs clang-tidy over the given files, or all (slow), with build/release's flags

Needs clang-format, clang-tidy and shellcheck (apt-get install clang-format clang-tidy shellcheck).
TEXT
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
format=(--dry-run -Werror)
tidy=0
files=()
for argument in "$@"; do
  case $argument in
    --fix) format=(-i) ;;
    --tidy) tidy=1 ;;
    --help | -h)
      usage
      exit 0
      ;;
    *) files+=("$argument") ;;
  esac
done

mapfile -t sources < <(git ls-files '*.h' '*.cc' '*.cu' '*.cuh')
clang-format "${format[@]}" "${sources[@]}"
python3 cmake/check_layers.py .
shellcheck -x launch/*.sh launch/slurm/*.sh tests/slurm/*.sh tests/optuna/*.sh tests/hosts/*.sh .ci/run
if ((tidy)); then
  ((${#files[@]})) || mapfile -t files < <(git ls-files '*.cc')
  clang-tidy -p build/release --quiet "${files[@]}"
fi
echo 'lint: fine'
