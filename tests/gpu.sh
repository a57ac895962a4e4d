#!/usr/bin/env bash
# What has to hold on a machine with an NVIDIA card. It needs nothing but two programs that were built elsewhere:
#
#     cargo build --release --locked --no-default-features --features cuda,static-hdf5
#     cargo bench --locked --no-default-features --features cuda,static-hdf5 --bench gpu --no-run
#     strip target/release/xrfit target/release/deps/gpu-...
#     bash tests/gpu.sh target/release/xrfit target/release/deps/gpu-...
#
# and, for the steps that use them, a Python with h5py and one with numpy and torch (with mapstorch, too, if it is to be
# timed), compute-sanitizer, and ncu: a step whose tool is missing says so and is left out. XRFIT_NVRTC names the folder
# of NVRTC where nobody else knows it. The table at the end is what kernels/README.md holds predictions against.
# XRFIT_SCANS may name real scans, with their override files beside them.
set -uo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
[ $# -eq 2 ] || {
    sed -n '2,7s/^# \{0,1\}//p' "$0"
    exit 2
}
xrfit="$(realpath "$1")" bench="$(realpath "$2")"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 2
export XRFIT_CACHE="$folder/cache"
failed=()

step() {
    local name="$1" began=$SECONDS
    shift
    printf '\n=== %s\n' "$name"
    "$@" || failed+=("$name")
    printf '(%d s)\n' $((SECONDS - began))
}

skip() { printf 'skipped: %s\n' "$*"; }

is_there() { command -v "$1" >/dev/null 2>&1; }

# What is carried to such a machine.
sizes() {
    local bytes
    bytes=$(cat "$xrfit" "$bench" "$here"/gpu* | wc -c)
    printf 'the programs and scripts have %d MB, allowed 60\n' $((bytes >> 20))
    [ "$bytes" -le $((60 << 20)) ]
}

devices() {
    "$xrfit" devices | tee devices.txt
    grep -q '^rank 0 .*: cuda:0, ' devices.txt
}

# Both engines over a scan, and their maps compared: compared SCAN NAME OPTIONS...
compared() {
    local scan="$1" name="$2" engine
    shift 2
    for engine in cuda cpu; do
        "$xrfit" map "$scan" "$@" --engine "$engine" -o "$name-$engine.h5" 2> >(tee "$name-$engine.log" >&2) || return 1
    done
    if grep 'the CPU' "$name-cuda.log"; then
        echo 'the card did not fit everything'
        return 1
    fi
    if python3 -c 'import h5py' 2>/dev/null; then
        python3 "$here/gpu.py" "$name-cuda.h5" "$name-cpu.h5"
    else
        skip "no Python with h5py, so the maps were not compared"
    fi
}

simulated() {
    local fit=(--elements 'Si,P,S,Cl,Ar,K,Ca,Ti,Cr,Mn,Fe,Co,Ni,Cu,Zn' --incident-kev 10)
    "$xrfit" simulate -o scan.h5 --rows 60 --cols 80 &&
        "$xrfit" calibrate scan.h5 "${fit[@]}" -o fit.toml &&
        compared scan.h5 adam --config fit.toml --precision f64 &&
        compared scan.h5 adam32 --config fit.toml &&
        compared scan.h5 nnls --config fit.toml --optimizer nnls
}

real() {
    [ -n "${XRFIT_SCANS:-}" ] || { skip "XRFIT_SCANS names no real scans"; return; }
    local scan number=0
    for scan in $XRFIT_SCANS; do
        number=$((number + 1))
        compared "$scan" "real$number" --detector 0 || return 1
    done
}

sanitized() {
    is_there compute-sanitizer || { skip "no compute-sanitizer"; return; }
    "$xrfit" simulate -o small.h5 --rows 6 --cols 7 --channels 1300 || return 1
    local tool
    for tool in memcheck racecheck; do
        compute-sanitizer --tool "$tool" --error-exitcode 9 "$xrfit" map small.h5 --config fit.toml --iterations 3 \
            --engine cuda --overwrite -o small-maps.h5 || return 1
    done
}

occupancy() {
    is_there ncu || { skip "no ncu"; return; }
    ncu --kernel-name regex:xrf_fit --launch-count 2 --metrics \
        sm__warps_active.avg.pct_of_peak_sustained_active,smsp__inst_executed.sum,smsp__issue_active.avg.pct_of_peak_sustained_active,launch__registers_per_thread,launch__shared_mem_per_block_dynamic \
        "$xrfit" map scan.h5 --config fit.toml --iterations 20 --engine cuda --overwrite -o occupied.h5
}

# Warp instructions of a step of a spectrum, for each case of the table, as ncu counts them; nothing without ncu.
instructions() {
    is_there ncu || { skip "no ncu, so the table has no share of the issue slots"; return; }
    local case=0 cases=1 steps counts=''
    while [ "$case" -lt "$cases" ]; do
        ncu --csv --kernel-name regex:xrf_fit --metrics smsp__inst_executed.sum "$bench" count "$case" >counted.txt 2>&1 ||
            { cat counted.txt; return 1; }
        cases=$(sed -n 's/^case .* of \([0-9]*\): steps .*/\1/p' counted.txt)
        steps=$(sed -n 's/^case .*: steps \([0-9]*\)$/\1/p' counted.txt)
        [ -n "$steps" ] || { cat counted.txt; return 1; }
        counts+="$(grep '"smsp__inst_executed.sum"' counted.txt | sed 's/.*,"\([0-9,]*\)"$/\1/; s/,//g' |
            awk -v steps="$steps" '{ n += $1 } END { printf "%.1f", n / steps }'),"
        case=$((case + 1))
    done
    printf '%s\n' "${counts%,}" | tee instructions.txt
}

table() {
    if [ -s instructions.txt ]; then
        "$bench" instructions "$(cat instructions.txt)"
    else
        "$bench"
    fi
}

# PyTorch on the same spectra.
pytorch() {
    python3 -c 'import numpy, torch' 2>/dev/null || { skip "no Python with numpy and torch"; return; }
    "$bench" export . && python3 "$here/gpu_torch.py" .
}

step size sizes
step devices devices
step 'simulated scan, both engines' simulated
step 'real scans, both engines' real
step sanitizer sanitized
step occupancy occupancy
step instructions instructions
step table table
step PyTorch pytorch

if [ ${#failed[@]} -gt 0 ]; then
    printf '\nFAILED: %s\n' "${failed[*]}"
    exit 1
fi
printf '\nPASSED\n'
