#!/usr/bin/env bash
# Everything that has to pass. Installs what is missing, then runs the stages below, all of them
# even when one fails, and closes with the time of each, every skip, and one verdict.
#
#     bash tests/run.sh              all stages
#     bash tests/run.sh format docs  only these
#
# One profile (release) and one target folder serve every stage, so that a dependency is compiled
# once. The full output of a test stage is kept in target/test-logs.
set -uo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root" || exit 2
stages=(format rules scripts clippy clippy-solo clippy-cuda tests-solo tests docs benches site)

target="${CARGO_TARGET_DIR:-$root/target}"
logs="$target/test-logs"
wanted=("${@:-${stages[@]}}")
summary=() failed=()

# What each stage does ---------------------------------------------------------------------------

format() { cargo fmt --check; }

rules() { bash tests/rules.sh | tee "$logs/rules.log"; }

scripts() { shellcheck -x jobs/*.sh jobs/*.sbatch tests/*.sh .ci/run; }

clippy() { cargo clippy --release --locked --all-targets -- -D warnings; }

clippy-solo() { cargo clippy --release --locked --all-targets --no-default-features -- -D warnings; }

# What a machine with cards and without MPI gets; nothing but xrfit itself is left to be looked at.
clippy-cuda() {
    cargo clippy --release --locked --all-targets --no-default-features --features cuda -- -D warnings
}

# A build without MPI and CUDA; only the tests that can tell the difference. It comes first: what is left in
# target/release afterwards is the whole program.
tests-solo() {
    local names=(mpi_absent cuda_absent launcher cluster agree house map_scan map_file spectrum bad_output)
    cargo_test tests-solo --no-default-features "${names[@]/#/--test=}"
}

tests() { cargo_test tests; }

docs() { RUSTDOCFLAGS='-D warnings' cargo doc --release --locked --no-deps; }

benches() { cargo bench --locked --no-run; }

# The site build configures, builds and installs a program that starts.
site() {
    cmake -S cmake -B "$target/site" -DXRFIT_TARGET_DIR="$target" &&
        cmake --build "$target/site" &&
        cmake --install "$target/site" --prefix "$target/site/installed" &&
        "$target/site/installed/bin/xrfit" --version
}

# cargo_test LOG FLAGS...: what passing tests print goes to the log, and of that only the skips to
# the terminal; the lines of the runner and everything about a failure are always seen.
cargo_test() {
    local log="$logs/$1.log"
    shift
    cargo test --release --locked --no-fail-fast "$@" -- --show-output 2>&1 | tee "$log" |
        awk '/^successes:$/ { quiet = 1 }
             /^failures:$/ || /^test result:/ { quiet = 0 }
             !quiet || /^([^ :-]*: )?[Ss]kip/'
}

# The run ----------------------------------------------------------------------------------------

stage() {
    local began=$SECONDS verdict=passed
    printf '\n=== %s\n' "$1"
    if ! "$1"; then
        verdict=FAILED
        failed+=("$1")
    fi
    summary+=("$(printf '%-12s %-6s %5d s' "$1" "$verdict" $((SECONDS - began)))")
}

# The sum of the numbers before word $1 in the runner's result lines.
count() {
    cat "$logs"/*.log 2>/dev/null | grep '^test result:' | grep -oE "[0-9]+ $1" | awk '{ n += $1 } END { print n + 0 }'
}

# One line for each test that skipped itself or was ignored.
skips() {
    cat "$logs"/*.log 2>/dev/null | grep -E '^([^ :-]*: )?[Ss]kip|^test .* \.\.\. ignored' | sort -u
}

close() {
    printf '\n=== summary\n'
    printf '%s\n' "${summary[@]}"
    skips
    printf 'all stages took %d min %d s\n' $((SECONDS / 60)) $((SECONDS % 60))
    printf '%d passed, %d failed, %d skipped\n' "$(count passed)" "$(count failed)" "$(skips | wc -l)"
    if [ ${#failed[@]} -gt 0 ]; then
        printf 'FAILED: %s\n' "${failed[*]}"
        exit 1
    fi
    printf 'PASSED: %s\n' "${wanted[*]}"
}

for name in "${wanted[@]}"; do
    [[ " ${stages[*]} " == *" $name "* ]] || {
        printf 'there is no stage %s; the stages are %s\n' "$name" "${stages[*]}" >&2
        exit 2
    }
done

printf '=== set-up\n'
# shellcheck source=jobs/setup.sh
source jobs/setup.sh tests || exit 1
# Ranks that wait give their core to ranks that work: there may be more of them than cores.
export OMPI_MCA_mpi_yield_when_idle=1
summary+=("$(printf '%-12s %-6s %5d s' set-up passed "$SECONDS")")
rm -rf "$logs"
mkdir -p "$logs"

for name in "${wanted[@]}"; do
    stage "$name"
done
close
