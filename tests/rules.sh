#!/usr/bin/env bash
# Promise: the rules of the source tree hold. Which folder may name which library, where `unsafe`
# stands, what lies at the top level; long files are reported, not refused (a table may be long).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
broken=0

# Lines of Rust under src/ that match $1, outside the paths that match $2. Comments do not count,
# and neither does a module of our own with a library's name (maps::hdf5::).
lines_outside() {
    grep -rnE --include='*.rs' "$1" src | grep -vE "^($2)" | grep -vE '^[^:]+:[0-9]+: *//'
}

# rule WHAT PATTERN PATHS
rule() {
    local found
    if found="$(lines_outside "$2" "$3")"; then
        printf 'BROKEN: %s\n%s\n' "$1" "$found"
        broken=1
    else
        printf 'holds: %s\n' "$1"
    fi
}

top_level() {
    local allowed='Cargo\.toml|Cargo\.lock|src|kernels|jobs|tests|cmake|README\.md|LICENSE-MIT|LICENSE-APACHE|\..*'
    local found
    if found="$(git ls-files | cut -d / -f 1 | sort -u | grep -vxE "$allowed")"; then
        printf 'BROKEN: nothing else lies at the top level\n%s\n' "$found"
        broken=1
    else
        printf 'holds: nothing else lies at the top level\n'
    fi
}

long_files() {
    git ls-files -z -- '*.rs' '*.cuh' '*.cpp' '*.cu' '*.sh' | xargs -0 wc -l |
        awk '$2 != "total" && $1 > 300 { printf "long: %s has %d lines\n", $2, $1 }'
}

rule 'hdf5 is named in src/scan and src/maps only' '(^|[^:_[:alnum:]])hdf5::' 'src/scan/|src/maps/'
rule 'mpi is named in src/cluster only' '(^|[^:_[:alnum:]])mpi::' 'src/cluster/'
rule 'cudarc is named in src/engine only' '(^|[^:_[:alnum:]])cudarc::' 'src/engine/'
rule 'unsafe stands in the kernels, the engine, the readers and the ranks only' \
    '(^|[^_[:alnum:]])unsafe +(\{|fn|extern|impl)' 'src/kernels\.rs|src/kernels/|src/engine/|src/scan/|src/cluster/mpi\.rs'
if git rev-parse --git-dir >/dev/null 2>&1; then
    top_level
    long_files
else
    printf 'skip: this is no git checkout, so its top level and long files were not looked at\n'
fi
exit "$broken"
