# shellcheck shell=bash
# Makes a Debian or Ubuntu machine able to build and run xrfit. To be sourced:
#
#     source jobs/setup.sh build     compiler, MPI, HDF5, libclang, cargo
#     source jobs/setup.sh tests     the same, and what only tests/run.sh uses
#
# It installs what is missing (apt-get, as root or with sudo) and exports the environment that
# cargo and mpirun need. Where nothing is missing it touches no network and takes no time. Where
# there is no apt-get (a cluster with modules) it installs nothing and says what is missing.

setup_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

setup_say() { printf 'setup: %s\n' "$*"; }

setup_has() { command -v "$1" >/dev/null 2>&1; }

setup_any() { compgen -G "$1" >/dev/null; }

# The folder of the serial HDF5. Debian's plain hdf5.pc switches to the parallel one as soon as
# that is installed as well, so the build is told the folder.
setup_hdf5_dir() { printf '/usr/lib/%s/hdf5/serial' "$(cc -print-multiarch 2>/dev/null || true)"; }

setup_has_hdf5() {
    [ -n "${HDF5_DIR:-}" ] || [ -e "$(setup_hdf5_dir)/include/hdf5.h" ] && return
    ! setup_has apt-get && { setup_has h5cc || pkg-config --exists hdf5 2>/dev/null; }
}

# bindgen reads mpi.h with libclang, which needs its own stddef.h beside it.
setup_has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return
    { setup_any '/usr/lib/llvm-*/lib/libclang*.so*' || setup_any '/usr/lib*/libclang*.so*'; } &&
        { setup_any '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' ||
            setup_any '/usr/lib*/clang/*/include/stddef.h'; }
}

# Prints the Debian packages that are missing for $1 = build | tests, one a line.
setup_missing() {
    { setup_has c++ && setup_has cc; } || echo g++
    setup_has git || echo git
    setup_has pkg-config || echo pkg-config
    [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/cert.pem ] || echo ca-certificates
    setup_has mpicc || echo libopenmpi-dev
    setup_has mpirun || echo openmpi-bin
    setup_has_hdf5 || echo libhdf5-dev
    setup_has_libclang || echo libclang-dev
    [ "$1" = tests ] || return 0
    setup_has shellcheck || echo shellcheck
    setup_has cmake || echo cmake
    setup_has make || echo make
    setup_has_python || python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

setup_as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif setup_has sudo; then
        sudo "$@"
    else
        setup_say "this needs root: $* (there is no sudo here); run it as root, then start again" >&2
        return 1
    fi
}

setup_apt_update() {
    [ -z "${setup_lists_are_fresh:-}" ] || return 0
    setup_say "+ apt-get update"
    setup_as_root apt-get -qq update || setup_say "the package lists could not be renewed; going on with the old ones" >&2
    setup_lists_are_fresh=yes
}

# Installs packages and never removes one: what is on the machine stays there.
setup_apt() {
    if ! setup_has apt-get; then
        setup_say "missing here, by their Debian names: $* (xrfit cannot be built without them); load the modules that bring them, or ask your site" >&2
        return 1
    fi
    setup_apt_update
    setup_say "+ apt-get install $*"
    setup_as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y --no-install-recommends --no-remove -o Dpkg::Use-Pty=0 install "$@" >/dev/null
}

setup_packages() {
    local -a missing
    mapfile -t missing < <(setup_missing "$1")
    [ ${#missing[@]} -eq 0 ] || setup_apt "${missing[@]}"
}

# Cargo ------------------------------------------------------------------------------------------

setup_rust_wanted() { sed -n 's/^rust-version = "\(.*\)"/\1/p' "$setup_root/Cargo.toml"; }

# Is version $1 at least version $2?
setup_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# Is there, in folder $1 (or on the PATH when empty), a cargo and a rustc that are new enough?
setup_cargo_is_new_enough() {
    local tool version
    for tool in cargo rustc; do
        version="$("${1:+$1/}$tool" --version 2>/dev/null | cut -d ' ' -f 2)"
        [ -n "$version" ] && setup_at_least "$version" "$(setup_rust_wanted)" || return 1
    done
}

# Puts a new enough cargo on the PATH if the machine has one.
setup_find_cargo() {
    local folder
    setup_cargo_is_new_enough '' && return
    for folder in "${CARGO_HOME:-$HOME/.cargo}/bin" $(compgen -G '/usr/lib/rust-*/bin' | sort -rV); do
        if setup_cargo_is_new_enough "$folder"; then
            export PATH="$folder:$PATH"
            return
        fi
    done
    return 1
}

# The distribution's cargo packages, the plainest first: Debian's own, the newer one it keeps for
# browsers, Ubuntu's numbered ones.
setup_cargo_packages() {
    printf 'cargo\ncargo-web\n'
    apt-cache pkgnames cargo- | grep -E '^cargo-[0-9.]+$' | sort -rV
}

setup_install_cargo() {
    local package version
    setup_has apt-get && setup_apt_update
    for package in $(setup_has apt-get && setup_cargo_packages); do
        version="$(apt-cache policy "$package" | sed -n 's/^ *Candidate: *\([0-9][0-9.]*\).*/\1/p')"
        if [ -n "$version" ] && setup_at_least "$version" "$(setup_rust_wanted)"; then
            setup_apt "$package" && setup_find_cargo && return
        fi
    done
    setup_install_rustup
}

setup_install_rustup() {
    if setup_has apt-get && ! setup_has rustup && [ -n "$(apt-cache pkgnames rustup)" ]; then
        setup_apt rustup || setup_say "the older cargo stays, and rustup goes beside it"
    fi
    if ! setup_has rustup; then
        setup_has curl || setup_apt curl || return 1
        setup_say "+ the installer of rustup.rs"
        curl --proto '=https' -sSf https://sh.rustup.rs |
            sh -s -- -y --quiet --profile minimal --no-modify-path || return 1
        export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
        setup_has rustup || return 1
    fi
    setup_say "+ rustup toolchain install stable"
    rustup toolchain install stable --profile minimal || return 1
    export RUSTUP_TOOLCHAIN=stable
}

setup_cargo() {
    setup_find_cargo && return
    if ! setup_install_cargo || ! setup_find_cargo; then
        setup_say "no cargo $(setup_rust_wanted) or newer (xrfit cannot be built); install one, for example from https://rustup.rs, and start again" >&2
        return 1
    fi
}

# The formatter and the linter that belong to the cargo in use; tests/run.sh says when they are absent.
setup_lint_tools() {
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return
    if setup_has rustup; then
        rustup component add rustfmt clippy
        return
    fi
    local owner
    owner="$(dpkg -S "$(readlink -f "$(command -v cargo)")" 2>/dev/null | cut -d : -f 1)"
    case "$owner" in
        cargo) setup_apt rustfmt rust-clippy ;;
        cargo-web) setup_apt rustfmt-web rust-web-clippy ;;
        cargo-*) setup_apt "rustfmt-${owner#cargo-}" "rust-${owner#cargo-}-clippy" ;;
    esac
}

# Python, for the tests that compare with other programs ------------------------------------------

setup_has_python() {
    local python
    for python in "${XRFIT_PYTHON:-}" "$setup_root/.venv/bin/python" python3; do
        if [ -n "$python" ] && "$python" -c 'import h5py, numpy, hdf5plugin, silx' 2>/dev/null; then
            XRFIT_PYTHON="$python"
            export XRFIT_PYTHON
            return
        fi
    done
    return 1
}

setup_python() {
    setup_has_python && return
    setup_say "+ python3 -m venv .venv; pip install h5py numpy hdf5plugin silx"
    python3 -m venv "$setup_root/.venv" &&
        "$setup_root/.venv/bin/python" -m pip install --quiet h5py numpy hdf5plugin silx &&
        setup_has_python
}

# NVIDIA's run-time compiler, for the tests that compile the GPU's kernels; no GPU is needed for that.

setup_has_nvrtc() { setup_any "$setup_root/.venv/lib/python3*/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12"; }

setup_nvrtc() {
    setup_has_nvrtc && return
    setup_say "+ pip install nvidia-cuda-nvrtc-cu12==12.9.86"
    { [ -x "$setup_root/.venv/bin/python" ] || python3 -m venv "$setup_root/.venv"; } &&
        "$setup_root/.venv/bin/python" -m pip install --quiet nvidia-cuda-nvrtc-cu12==12.9.86 &&
        setup_has_nvrtc
}

# Slurm, for the tests that submit the job scripts to one of their own. A machine that belongs to a
# cluster is left as it is.

setup_slurm() {
    [ ! -e /etc/slurm/slurm.conf ] || return 0
    local -a missing=()
    [ -x /usr/sbin/slurmctld ] || setup_has slurmctld || missing+=(slurmctld)
    [ -x /usr/sbin/slurmd ] || setup_has slurmd || missing+=(slurmd)
    setup_has sbatch || missing+=(slurm-client)
    setup_any '/usr/lib*/*/slurm*/mpi_pmix.so' || setup_any '/usr/lib*/slurm*/mpi_pmix.so' || missing+=(slurm-wlm-basic-plugins)
    [ ${#missing[@]} -eq 0 ] || setup_apt "${missing[@]}"
}

# Environment ------------------------------------------------------------------------------------

setup_environment() {
    if [ -z "${HDF5_DIR:-}" ] && [ -e "$(setup_hdf5_dir)/include/hdf5.h" ]; then
        HDF5_DIR="$(setup_hdf5_dir)"
        export HDF5_DIR
    fi
    # More ranks than cores are allowed, and a rank may use more cores than one: Open MPI binds
    # each of up to two ranks to a single core. The second name of each is that of Open MPI 5.
    export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
    export OMPI_MCA_hwloc_base_binding_policy=none PRTE_MCA_hwloc_default_binding_policy=none
    if [ "$(id -u)" -eq 0 ]; then
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
}

setup_main() {
    setup_packages "$1" && setup_cargo && setup_environment || return 1
    [ "$1" = tests ] || return 0
    setup_lint_tools || setup_say "rustfmt or clippy could not be installed" >&2
    setup_python || setup_say "the Python packages could not be installed; tests that need them skip" >&2
    setup_nvrtc || setup_say "NVIDIA's compiler could not be installed; tests that need it skip" >&2
    setup_slurm || setup_say "Slurm could not be installed; tests that need it skip" >&2
}

setup_main "${1:-build}"
