#!/bin/bash
# Puts what `make build` made into place, or takes it away again. Both may be repeated.
#
#   packaging/install.sh install
#   packaging/install.sh uninstall     leaves /etc/coaming
#
# $DESTDIR goes before every path. $TARGET is cargo's target folder, ./target by default.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

DESTDIR=${DESTDIR-}
TARGET=${TARGET:-target}
PROGRAMS=$DESTDIR/usr/libexec/coaming
SHARED=$DESTDIR/usr/share/coaming
MANUAL=$DESTDIR/usr/share/man/man1
# Where each shell looks for the completions of packages.
COMPLETIONS=(
    bash="$DESTDIR/usr/share/bash-completion/completions/coaming"
    zsh="$DESTDIR/usr/share/zsh/site-functions/_coaming"
    fish="$DESTDIR/usr/share/fish/vendor_completions.d/coaming.fish"
)
CONFIG=$DESTDIR/etc/coaming
UNITS=$DESTDIR/usr/lib/systemd/system
STATE=/run/coaming/containers

main() {
    umask 022
    case ${1-} in
        install) install_all ;;
        uninstall) uninstall_all ;;
        *) die "say install or uninstall" ;;
    esac
}

install_all() {
    local release=$TARGET/release fixed=$TARGET/x86_64-unknown-linux-musl/release
    # Before anything is touched: a half-new set would refuse containers.
    local program
    for program in "$release"/{coaming,coaming-runc,containerd-shim-coaming-v1} "$fixed"/coaming-{init,hook}; do
        [[ -x $program ]] || die "$program is missing: run \`make build\` first"
    done
    # The wrapper last: it is what calls the others.
    place 755 "$fixed/coaming-init" "$PROGRAMS/coaming-init"
    place 755 "$fixed/coaming-hook" "$PROGRAMS/coaming-hook"
    place 755 "$release/coaming" "$DESTDIR/usr/bin/coaming"
    place 755 "$release/coaming-runc" "$PROGRAMS/coaming-runc"
    # Running shims keep the file that they were started from.
    place 755 "$release/containerd-shim-coaming-v1" "$DESTDIR/usr/bin/containerd-shim-coaming-v1"
    # The name that the wrapper is called by says which runtime stands behind it.
    ln -sfn coaming-runc "$PROGRAMS/coaming-crun"

    place_documentation "$release/coaming"

    local file
    for file in config.toml containerd/{config,shim}-v{2,3}.toml kubernetes/runtimeclass.yaml examples/{payments,waiver}.yaml; do
        place 644 "packaging/$file" "$SHARED/$file"
    done
    while IFS= read -r file; do
        place 644 "packaging/$file" "$SHARED/$file"
    done < <(cd packaging && find examples/sets -type f)
    # Installed and not enabled: `systemctl enable --now coaming-load.service coaming-load.path`.
    for file in coaming-load.{service,path}; do
        place 644 "packaging/systemd/$file" "$UNITS/$file"
    done
    install -d -m 755 "$CONFIG" "$CONFIG/policy.d" "$CONFIG/break-glass.d"
    # What an administrator wrote is never overwritten.
    [[ -e $CONFIG/config.toml ]] || place 644 packaging/config.toml "$CONFIG/config.toml"
}

uninstall_all() {
    # Their shims call the wrapper to stop and remove them, and their poststop hook is ours.
    if [[ -z $DESTDIR && -n $(ls -A "$STATE" 2>/dev/null) ]]; then
        die "containers that were started through coaming are still there ($STATE); remove them first"
    fi
    rm -f "$DESTDIR"/usr/bin/{coaming,containerd-shim-coaming-v1} "$PROGRAMS"/coaming-{runc,crun,init,hook}
    rm -f "$UNITS"/coaming-load.{service,path}
    rm -rf "$SHARED"
    rm -f "$MANUAL"/coaming{,-*}.1 "${COMPLETIONS[@]#*=}"
    # A link that an administrator added keeps the folder.
    [[ ! -d $PROGRAMS ]] || rmdir --ignore-fail-on-non-empty "$PROGRAMS"
}

# Manual pages and completions, by the program itself: it alone knows its commands.
place_documentation() {
    local coaming=$1 folder entry page
    folder=$(mktemp -d)
    # shellcheck disable=SC2064  # The folder is known now, and not when the trap runs.
    trap "rm -rf '$folder'" EXIT
    "$coaming" man --output-dir "$folder"
    for page in "$folder"/*.1; do
        place 644 "$page" "$MANUAL/${page##*/}"
    done
    for entry in "${COMPLETIONS[@]}"; do
        "$coaming" completions "${entry%%=*}" >"$folder/completions"
        place 644 "$folder/completions" "${entry#*=}"
    done
}

# Beside it and renamed: a container that starts meanwhile finds the old file or the new one, and one
# that runs keeps the launcher that it has mounted.
place() {
    local mode=$1 from=$2 to=$3
    install -D -m "$mode" "$from" "$to.new"
    mv -f "$to.new" "$to"
}

die() {
    echo "packaging/install.sh: $*" >&2
    exit 1
}

main "$@"
