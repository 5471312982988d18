#!/usr/bin/env bash
# Downloads the raw Amazon 2018 files of one category.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: ./launch/fetch_data.sh CATEGORY [--out=DIR] [--base=URL] [--dry_run]

Downloads the reviews and the items of a category of the Amazon 2018 review data (Ni, Li, McAuley,
EMNLP 2019) into DIR (default: data/raw). A broken download goes on with the same command. The gzip
checksums are verified at the end; SHA-256 sums are noted in DIR/SHA256SUMS, and compared when a
file is already listed there.

CATEGORY: arts, scientific, instruments, pantry, games (the five of the paper), or the name of any
other category as the data's page writes it, such as Office_Products.

The page of the data, with its terms: https://cseweb.ucsd.edu/~jmcauley/datasets/amazon_v2/

  --out=DIR   where the files go
  --base=URL  another place with categoryFiles/ and metaFiles2/
  --dry_run   print the addresses only

Next: mixrec prepare --reviews=DIR/X.json.gz --meta=DIR/meta_X.json.gz --out=data/NAME
TEXT
}

fail() {
  printf 'fetch_data: %s\n' "$1" >&2
  exit "${2:-1}"
}

category='' out=data/raw dry_run=false
base=https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2
for argument in "$@"; do
  case $argument in
    --out=?*) out=${argument#--out=} ;;
    --base=?*) base=${argument#--base=} ;;
    --dry_run) dry_run=true ;;
    --help | -h)
      usage
      exit 0
      ;;
    -*) fail "unknown argument $argument (see --help)" 2 ;;
    *)
      [[ -z $category ]] || fail "one category at a time, found $category and $argument" 2
      category=$argument
      ;;
  esac
done

case $category in
  '') fail 'which category? (see --help)' 2 ;;
  arts) name=Arts_Crafts_and_Sewing ;;
  scientific) name=Industrial_and_Scientific ;;
  instruments) name=Musical_Instruments ;;
  pantry) name=Prime_Pantry ;;
  games) name=Video_Games ;;
  *[!A-Za-z0-9_]*) fail "$category is not the name of a category" 2 ;;
  *) name=$category ;;
esac

files=("categoryFiles/$name.json.gz" "metaFiles2/meta_$name.json.gz")
if $dry_run; then
  for file in "${files[@]}"; do printf '%s -> %s\n' "$base/$file" "$out/${file##*/}"; done
  exit 0
fi

command -v curl >/dev/null || fail 'curl is missing: apt-get install curl'
mkdir -p "$out"
cd "$out"
touch SHA256SUMS
for file in "${files[@]}"; do
  target=${file##*/}
  if [[ ! -e $target ]]; then
    echo "fetch_data: $base/$file"
    curl --fail --location --retry 5 --continue-at - --output "$target.part" "$base/$file" ||
      fail "$base/$file could not be fetched; run again to go on, or find the file from the page in --help and give --base"
    gzip --test "$target.part" || {
      rm -f "$target.part"
      fail "$target was damaged on the way and is removed; run again"
    }
    mv "$target.part" "$target"
  fi
  sum=$(sha256sum "$target")
  known=$(awk -v name="$target" '$2 == name { print $1 }' SHA256SUMS)
  if [[ -z $known ]]; then
    printf '%s\n' "$sum" >>SHA256SUMS
  elif [[ $known != "${sum%% *}" ]]; then
    fail "$out/$target has another SHA-256 than $out/SHA256SUMS says; remove one of them" 3
  fi
done
echo "fetch_data: done; next: mixrec prepare --reviews=$out/$name.json.gz --meta=$out/meta_$name.json.gz --out=data/${category,,}"
