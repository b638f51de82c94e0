#!/bin/bash
# Makes all packages twice, each time from the source in another folder with another home of cargo's, another target folder and
# another umask, and says whether they are the same. Takes two builds for release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -c safe.directory='*' log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
home=${CARGO_HOME:-${HOME:-/root}/.cargo}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build() {
    local source=$1 masks=$2
    umask "$masks"
    mkdir -p "$source/tree" "$source/home"
    tar --create --exclude=./target --exclude=./.git . | tar --extract --directory "$source/tree"
    # The same downloads and toolchain, by other names.
    ln -s "$home"/* "$source/home/"
    CARGO_HOME=$source/home "$source/tree/packaging/build.sh" "$source/built"
    CARGO_HOME=$source/home TARGET=$source/built "$source/tree/packaging/packages.sh" "$source/packages"
}

(build "$work/one" 022)
(build "$work/quite/another place" 077)
if diff "$work/one/packages/SHA256SUMS" "$work/quite/another place/packages/SHA256SUMS"; then
    echo "both builds gave the same packages"
else
    echo "packaging/reproducible.sh: the two builds differ in the packages above; compare what they hold, for example with diffoscope" >&2
    exit 1
fi
