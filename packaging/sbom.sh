#!/bin/bash
# Writes what the programs are made of, as CycloneDX: by cargo-cyclonedx for each program's crate, then as one.
#
#   packaging/sbom.sh OUTPUT-FILE
#
# Wants $SOURCE_DATE_EPOCH: with it cargo-cyclonedx gives no serial number, and the time is the source's own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PATH=${COAMING_INTEGRATION_CACHE:-/var/cache/coaming-integration}/tools/bin:$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin
export LC_ALL=C
: "${SOURCE_DATE_EPOCH:?}"
CRATES=(cli shim shim/containerd hooks hooks/harness)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# It writes beside each manifest, so it gets a tree of its own.
mkdir "$work/tree"
tar --create --exclude=./target --exclude=./.git --exclude=./fuzz . | tar --extract --directory "$work/tree"
boms=()
for crate in "${CRATES[@]}"; do
    target=x86_64-unknown-linux-gnu
    [[ $crate != hooks* ]] || target=x86_64-unknown-linux-musl
    (cd "$work/tree" && cargo-cyclonedx cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --no-build-deps \
        --override-filename part --manifest-path "$crate/Cargo.toml")
    cp "$work/tree/$crate/part.json" "$work/${crate//\//-}.json"
    boms+=("$work/${crate//\//-}.json")
done
# Where the tree lay is no part of the answer.
jq --slurp --sort-keys --arg tree "$work/tree" --from-file packaging/sbom.jq "${boms[@]}" >"$1"
