#!/bin/bash
# Builds the programs of an older commit, once, outside of this checkout: what upgrades begin with.
#
#   integration/older.sh COMMIT FOLDER      leaves them in FOLDER/COMMIT
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PATH=$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin
[[ $# -eq 2 ]] || { echo "integration/older.sh: say a commit and a folder" >&2; exit 1; }
commit=$1 folder=$2
[[ ! -e $folder/$commit/coaming-runc ]] || exit 0
# From the environment of whoever tests: where today's programs are built.
unset CARGO_TARGET_DIR
mkdir -p "$folder"
source=$folder/source.$commit
rm -rf "$source"
mkdir "$source"
git -c safe.directory='*' archive "$commit" | tar -x -C "$source"
export CARGO_TARGET_DIR=$folder/target
cd "$source"
packages=(-p coaming-shim -p containerd-shim-coaming -p coaming-cli)
cargo build --quiet --release --locked "${packages[@]}" --bins
cargo build --quiet --release --locked --target x86_64-unknown-linux-musl -p coaming-hooks --bins
mkdir "$folder/partial.$$"
find "$CARGO_TARGET_DIR/release" "$CARGO_TARGET_DIR/x86_64-unknown-linux-musl/release" -maxdepth 1 -type f -perm -100 \
    ! -name '*.so' -exec cp -t "$folder/partial.$$" {} +
mv "$folder/partial.$$" "$folder/$commit"
rm -rf "$source"
