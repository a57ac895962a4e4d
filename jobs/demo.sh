#!/usr/bin/env bash
# From nothing to elemental maps: installs what is missing, builds xrfit, simulates a scan with
# known truth, calibrates, maps it on all cores under mpirun, draws the maps, and says where to look.
#
#     bash jobs/demo.sh [FOLDER]        FOLDER for the results; target/demo unless given
#
# Runs again in the same folder; it replaces only what it wrote there itself.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
out="${1:-$root/target/demo}"
elements=Si,P,S,Cl,Ar,K,Ca,Ti,Cr,Mn,Fe,Co,Ni,Cu,Zn
incident_kev=10
ranks="$(nproc)"

step() {
    printf '\n+ %s\n' "$*"
    "$@"
}

# A folder with someone's files in it is theirs.
prepare_folder() {
    mkdir -p "$out"
    out="$(cd "$out" && pwd)"
    if [ ! -e "$out/.xrfit-demo" ] && [ -n "$(ls -A "$out")" ]; then
        printf '%s holds files that are not from this demo (it would overwrite scan.h5, fit.toml, maps.h5 and pictures); name an empty or a new folder\n' "$out" >&2
        exit 2
    fi
    touch "$out/.xrfit-demo"
    rm -rf "$out/scan.h5" "$out/fit.toml" "$out/maps.h5" "$out/pictures"
}

simulate_calibrate_map() {
    step xrfit simulate -o scan.h5 --rows 60 --cols 80 --counts 3000 --seed 1
    step xrfit calibrate scan.h5 --elements "$elements" --incident-kev "$incident_kev" -o fit.toml
    step mpirun -n "$ranks" xrfit map scan.h5 --config fit.toml --threads 1 \
        -o maps.h5 --png pictures --overwrite
}

say_where_to_look() {
    cat <<END

The maps are in      $out/maps.h5
Pictures of them in  $out/pictures; begin with overview.png

To open the maps:
    silx view $out/maps.h5
    uProbeX: File > Open, and choose maps.h5
    python3 -c 'import h5py; f = h5py.File("$out/maps.h5")["MAPS/XRF_Analyzed/Fitted"]
for name, image in zip(f["Channel_Names"].asstr(), f["Counts_Per_Sec"]): print(name.strip(), image.mean())'
END
}

# shellcheck source=jobs/setup.sh
source "$root/jobs/setup.sh" build
prepare_folder
cd "$root"
step cargo build --release --locked
PATH="$(cargo metadata --format-version 1 --no-deps --locked | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release:$PATH"
cd "$out"
simulate_calibrate_map
say_where_to_look
