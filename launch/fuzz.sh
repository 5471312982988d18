#!/usr/bin/env bash
# Fuzzes the readers of messages and snapshots.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: ./launch/fuzz.sh [SECONDS]

Builds the fuzzers with clang (preset fuzz) and runs each for SECONDS (default 60) from the examples
in tests/fuzz. A crash ends it with an error; the input lies in build/fuzz/crashes.

Needs clang with libFuzzer (apt-get install clang).
TEXT
}

case ${1:-} in
  --help | -h)
    usage
    exit 0
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-60}
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target fuzzers
cd build/fuzz
./bin/write_fuzz_seeds seeds
mkdir -p crashes corpus/messages corpus/snapshots
for fuzzer in decode:messages snapshot:snapshots; do
  name=${fuzzer%%:*} kind=${fuzzer##*:}
  if ! ./bin/"${name}_fuzz" -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 -verbosity=0 \
    -print_final_stats=1 -artifact_prefix=crashes/ corpus/"$kind" seeds/"$kind" 2>"$kind.log"; then
    tail -n 60 "$kind.log" >&2
    exit 1
  fi
  echo "fuzz: $kind: $(grep -o 'executed_units: .*' "$kind.log")"
done
echo "fuzz: fine, $seconds s each"
