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
CRATES=(cli shim shim/containerd shim/labels hooks hooks/harness)
# What the programs with a C library are linked with; Debian's static libraries come with these.
LIBRARIES=("libseccomp-dev LGPL-2.1-only" "libc6-dev LGPL-2.1-or-later")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# It writes beside each manifest, so it gets a tree of its own.
mkdir "$work/tree"
tar --create --exclude=./target --exclude=./.git --exclude=./fuzz . | tar --extract --directory "$work/tree"
boms=()
for crate in "${CRATES[@]}"; do
    target=x86_64-unknown-linux-musl
    [[ $crate != cli && $crate != shim ]] || target=x86_64-unknown-linux-gnu
    (cd "$work/tree" && cargo-cyclonedx cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --no-build-deps \
        --override-filename part --manifest-path "$crate/Cargo.toml")
    cp "$work/tree/$crate/part.json" "$work/${crate//\//-}.json"
    boms+=("$work/${crate//\//-}.json")
done
libraries=$(for library in "${LIBRARIES[@]}"; do
    read -r name licence <<<"$library"
    # shellcheck disable=SC2016 # dpkg's variable
    jq --null-input --arg name "$name" --arg licence "$licence" --arg version "$(dpkg-query -W -f '${Version}' "$name")" \
        '"pkg:deb/debian/\($name)@\($version)" | {type: "library", "bom-ref": ., purl: ., $name, $version, licenses: [{license: {id: $licence}}]}'
done | jq --slurp .)
# Where the tree lay is no part of the answer.
jq --slurp --sort-keys --arg tree "$work/tree" --argjson libraries "$libraries" --from-file packaging/sbom.jq "${boms[@]}" >"$1"
