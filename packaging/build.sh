#!/bin/bash
# Builds the programs for packages: as `make build` does, and so that where they are built is not in them.
#
#   packaging/build.sh TARGET-FOLDER
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PATH=$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin
[[ $# -eq 1 ]] || { echo "packaging/build.sh: say cargo's target folder" >&2; exit 1; }
mkdir -p "$1"
target=$(cd "$1" && pwd)
musl=x86_64-unknown-linux-musl

# First of all, so that the folders are there whose names must not be in the programs.
cargo fetch --quiet --locked
# Of rustc's remappings the last that fits counts. The names of registries' folders tell mirrors apart: they are left out, too.
flags=("$PWD=/coaming" "$target=/target" "$(rustc --print sysroot)=/rustc")
for registry in "${CARGO_HOME:-${HOME:-/root}/.cargo}"/registry/src/*; do flags+=("$registry=/registry"); done
# 0x1f between the flags: a path may have spaces.
CARGO_ENCODED_RUSTFLAGS=$(printf -- '--remap-path-prefix=%s\n' "${flags[@]}" | paste -sd '\037')
unset RUSTFLAGS
export CARGO_ENCODED_RUSTFLAGS CARGO_TARGET_DIR=$target
# Those of static.sh do not come to these.
CARGO_ENCODED_RUSTFLAGS=$CARGO_ENCODED_RUSTFLAGS$(printf '\037')-Ctarget-feature=+crt-static \
    packaging/static.sh cargo build --quiet --release --locked --target x86_64-unknown-linux-gnu -p coaming-shim -p coaming-cli --bins
cargo build --quiet --release --locked --target "$musl" -p containerd-shim-coaming -p coaming-labels -p coaming-hooks -p coaming-hook-harness --bins
