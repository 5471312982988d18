#!/usr/bin/env bash
# Makes a machine ready and builds MixRec: Debian packages, LibTorch in .venv, the preset release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly torch_version=2.11.0

usage() {
  cat <<'TEXT'
Usage: ./launch/setup.sh [--cuda] [--program | --no-build] [--tests]

Installs what is missing and builds the preset release into build/release. What is there already is
left as it is, so running it again costs seconds.

  --cuda      builds the preset cuda (build/cuda) instead; needs nvcc
  --program   builds the program mixrec only, without the tests
  --no-build  installs only
  --tests     also installs what some tests need (launch/packages_test.txt), where that is possible
  --help      this text

Environment:
  MIXREC_JOBS           compilers at the same time (default: one a core, as far as memory allows)
  MIXREC_SKIP_PACKAGES  1: does not look for Debian packages (on other systems: see
                        launch/packages.txt)
TEXT
}

say() { printf 'setup: %s\n' "$*" >&2; }
stop() {
  say "$*"
  exit 1
}

# --- Debian packages --------------------------------------------------------------------------

# missing_packages LIST: those of a list that are not installed.
missing_packages() {
  local package
  while read -r package; do
    [[ -z $package || $package == \#* ]] && continue
    # shellcheck disable=SC2016  # dpkg's own syntax
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null) == installed ]] ||
      echo "$package"
  done < "$1"
}

install_packages() {
  [[ ${MIXREC_SKIP_PACKAGES:-0} == 1 ]] && return
  command -v dpkg > /dev/null ||
    stop "this is no Debian: install what launch/packages.txt lists, then set MIXREC_SKIP_PACKAGES=1"
  local -a missing as_root=()
  mapfile -t missing < <(missing_packages launch/packages.txt)
  ((${#missing[@]} == 0)) && return
  if ((EUID != 0)); then
    if ! sudo -n true 2> /dev/null; then
      say "packages are missing, and this user can become root neither here nor by sudo. Run as root:"
      printf '\n    apt-get update && apt-get install -y --no-install-recommends %s\n\n' \
        "${missing[*]}" >&2
      stop "then run this script again"
    fi
    as_root=(sudo -n)
  fi
  say "installing ${missing[*]}"
  "${as_root[@]}" apt-get update -q || stop "apt-get update failed (see above)"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}" ||
    stop "apt-get install failed (see above)"
}

# What only some tests need: whatever cannot be had is said, and those tests are skipped.
install_test_packages() {
  [[ ${MIXREC_SKIP_PACKAGES:-0} == 1 ]] && return
  local -a missing as_root=()
  mapfile -t missing < <(missing_packages launch/packages_test.txt)
  ((${#missing[@]} == 0)) && return
  ((EUID == 0)) || as_root=(sudo -n)
  say "installing for tests ${missing[*]}"
  { "${as_root[@]}" apt-get update -q && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}"; } > /dev/null 2>&1 ||
    say "could not install ${missing[*]}: the tests that need them are skipped"
}

# --- LibTorch ---------------------------------------------------------------------------------

# The folder of the torch package a python sees, without importing it; nothing if there is none.
torch_folder() {
  "$1" -c 'import importlib.util, os
spec = importlib.util.find_spec("torch")
print(os.path.dirname(spec.origin) if spec and spec.origin else "")' 2> /dev/null || true
}

has_torch() {
  local folder
  folder=$(torch_folder "$1")
  [[ -n $folder ]] && grep -q "'$torch_version" "$folder/version.py" || return 1
  # The CUDA build links cuBLAS, which the small installation leaves out.
  [[ $cuda == 0 || -e ${folder%/torch}/nvidia/cu13/lib/libcublas.so.13 ]]
}

install_torch() {
  has_torch .venv/bin/python3 && return
  # A torch that the machine brings along serves as well: CMake looks there next.
  [[ ! -e .venv ]] && has_torch python3 && return
  local other
  other=$(torch_folder .venv/bin/python3)
  if [[ -n $other ]] && ! grep -q "'$torch_version" "$other/version.py"; then
    stop "$other is not torch $torch_version, which MixRec is built against; remove .venv"
  fi
  [[ -x .venv/bin/pip ]] || python3 -m venv .venv || stop "cannot make .venv"
  # libtorch_cpu.so itself links these two; the rest of CUDA, 3 GB, serves the CUDA build only.
  local -a wanted=(--no-deps "torch==$torch_version" 'nvidia-cuda-cupti==13.0.*'
    'nvidia-cuda-runtime==13.0.*')
  ((cuda)) && wanted=("torch==$torch_version")
  say "installing torch $torch_version into .venv (about a minute)"
  .venv/bin/pip install --quiet --disable-pip-version-check --no-cache-dir "${wanted[@]}" ||
    stop "pip could not install torch $torch_version (see above)"
}

# --- build ------------------------------------------------------------------------------------

# One compiler a core, but no more than one per 1.5 GiB of memory.
jobs() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/^MemAvailable:/ {print int($2 / 1572864)}' /proc/meminfo)
  echo $((memory < 1 ? 1 : memory < cores ? memory : cores))
}

build() {
  local preset=$1
  shift
  [[ -f build/$preset/build.ninja ]] || cmake --preset "$preset" || stop "cmake failed (see above)"
  say "building build/$preset"
  cmake --build --preset "$preset" --parallel "${MIXREC_JOBS:-$(jobs)}" "$@" ||
    stop "the build failed (see above)"
}

cuda=0
build=1
tests=0
target=()
for argument in "$@"; do
  case $argument in
    --cuda) cuda=1 ;;
    --program) target=(--target mixrec) ;;
    --no-build) build=0 ;;
    --tests) tests=1 ;;
    --help | -h)
      usage
      exit 0
      ;;
    *)
      usage >&2
      stop "unknown argument $argument"
      ;;
  esac
done

# Where NVIDIA's packages put it, often without telling PATH.
command -v nvcc > /dev/null || [[ ! -x /usr/local/cuda/bin/nvcc ]] || PATH=$PATH:/usr/local/cuda/bin
install_packages
if ((tests)); then install_test_packages; fi
install_torch
((build)) || exit 0
if ((!cuda)) && nvidia-smi > /dev/null 2>&1; then
  say "there is a GPU here; --cuda builds for it"
fi
if ((cuda)); then
  command -v nvcc > /dev/null || stop "--cuda needs nvcc (CUDA 13) in PATH"
  build cuda "${target[@]}"
else
  build release "${target[@]}"
fi
