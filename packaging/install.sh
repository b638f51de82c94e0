#!/bin/bash
# Puts what `make build` made into place by the list in packaging/files, or takes it away again. Both may be repeated.
#
#   packaging/install.sh install
#   packaging/install.sh uninstall     leaves /etc/coaming
#   packaging/install.sh stage         lays the files of a package under $DESTDIR, and prints what each is:
#                                      MODE PATH, conf PATH, link TARGET PATH, or dir MODE PATH
#
# $DESTDIR goes before every path. $TARGET is cargo's target folder, ./target by default. $SBOM is what a package
# says of its parts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

DESTDIR=${DESTDIR-}
TARGET=${TARGET:-target}
# What `install` put there: the next one and `uninstall` go by it.
RECORD=$DESTDIR/usr/share/coaming/installed-files
STATE=/run/coaming/containers

main() {
    umask 022
    case ${1-} in
        install) install_all ;;
        uninstall) uninstall_all ;;
        stage) stage ;;
        *) die "say install, uninstall or stage" ;;
    esac
}

install_all() {
    local entries folders line
    if [[ -z $DESTDIR ]] && packaged; then
        die "a package coaming is installed, and these would be its files; remove it first"
    fi
    make_documentation
    entries=$(entries)
    # Before they are there. With what an installation before this one made.
    folders=$(missing_folders "$entries"; grep -s '/$' "$RECORD" || true)
    while read -r line; do
        # shellcheck disable=SC2086  # The words of an entry; none has spaces.
        place_entry $line
    done <<<"$entries"
    record "$(awk '$1 != "dir" && $1 != "conf" { print $3 }' <<<"$entries"; echo "$folders")"
}

packaged() {
    # shellcheck disable=SC2016  # dpkg's variable
    [[ $(dpkg-query -W -f '${db:Status-Status}' coaming 2>/dev/null) == installed ]] || rpm -q coaming &>/dev/null
}

uninstall_all() {
    # Their shims call the wrapper to stop and remove them, and their poststop hook is ours.
    if [[ -z $DESTDIR && -n $(ls -A "$STATE" 2>/dev/null) ]]; then
        die "containers that were started through coaming are still there ($STATE); remove them first"
    fi
    if [[ ! -e $RECORD ]]; then
        echo "packaging/install.sh: nothing is recorded in $RECORD, so nothing is removed" >&2
        return 0
    fi
    record ""
    rm -f "$RECORD"
    rmdir "${RECORD%/*}" 2>/dev/null || true
}

stage() {
    local entries kind source path
    [[ -n $DESTDIR ]] || die "stage needs DESTDIR"
    make_documentation
    entries=$(entries)
    while read -r kind source path; do
        place_entry "$kind" "$source" "$path"
        case $kind in
            link | dir) echo "$kind $source $path" ;;
            *) echo "$kind $path" ;;
        esac
    done <<<"$entries"
}

# The list with every file on a line of its own: KIND SOURCE PATH. Fails before anything is touched: a half-new set would refuse
# containers.
entries() {
    local kind source path file below
    while read -r kind source path; do
        [[ -n $kind && $kind != \#* && ($source != sbom || -n ${SBOM-}) ]] || continue
        case $kind in
            link | dir)
                echo "$kind $source $path"
                continue
                ;;
        esac
        file=$(source_of "$source")
        if [[ $source != */ ]]; then
            [[ -f $file ]] || die "$file is missing: run \`make build\` first"
            echo "$kind $file $path"
            continue
        fi
        while IFS= read -r below; do
            echo "$kind $file$below $path$below"
        done < <(cd "$file" && find . -type f | LC_ALL=C sort | cut -c3-)
    done <packaging/files
}

source_of() {
    case $1 in
        libc/*) echo "$TARGET/x86_64-unknown-linux-gnu/release/${1#*/}" ;;
        musl/*) echo "$TARGET/x86_64-unknown-linux-musl/release/${1#*/}" ;;
        made/*) echo "$MADE/${1#*/}" ;;
        sbom) echo "$SBOM" ;;
        *) echo "packaging/$1" ;;
    esac
}

place_entry() {
    local kind=$1 source=$2 path=$3
    case $kind in
        dir) [[ -d $DESTDIR$path ]] || install -d -m "$source" "$DESTDIR$path" ;;
        link)
            install -d -m 755 "$DESTDIR${path%/*}"
            ln -sfn "$source" "$DESTDIR$path"
            ;;
        # What an administrator wrote is never overwritten.
        conf) [[ -e $DESTDIR$path ]] || place 644 "$source" "$DESTDIR$path" ;;
        *) place "$kind" "$source" "$DESTDIR$path" ;;
    esac
}

# Beside it and renamed: a container that starts meanwhile finds the old file or the new one, and one
# that runs keeps the launcher that it has mounted.
place() {
    local mode=$1 from=$2 to=$3
    install -D -m "$mode" "$from" "$to.new"
    mv -f "$to.new" "$to"
}

# The folders below /usr that are still to be made, each with a `/` at its end.
missing_folders() {
    local kind source folder
    while read -r kind source folder; do
        folder=${folder%/*}
        while [[ $folder == /usr/* && ! -d $DESTDIR$folder ]]; do
            echo "$folder/"
            folder=${folder%/*}
        done
    done <<<"$1" | LC_ALL=C sort -u
}

# Writes down what is there now, files and the folders that were made for them, and removes what was there before and is not any
# more; a folder only when nothing else is in it. /etc stays.
record() {
    local old="" new path
    [[ ! -e $RECORD ]] || old=$(cat "$RECORD")
    new=$(LC_ALL=C sort -u <<<"$1")
    # What is deeper comes first.
    while IFS= read -r path; do
        # Nothing but what this script puts there, whatever the record says.
        [[ $path == /usr/* && $path != *..* ]] || continue
        case $path in
            */) rmdir --ignore-fail-on-non-empty "$DESTDIR$path" 2>/dev/null || true ;;
            *) rm -f "$DESTDIR$path" ;;
        esac
    done < <(LC_ALL=C comm -23 <(echo "$old") <(echo "$new") | LC_ALL=C sort -r)
    mkdir -p "${RECORD%/*}"
    echo "$new" >"$RECORD.new"
    mv -f "$RECORD.new" "$RECORD"
}

# Manual pages and completions, by the program itself: it alone knows its commands.
make_documentation() {
    local coaming=$TARGET/x86_64-unknown-linux-gnu/release/coaming shell
    [[ -x $coaming ]] || die "$coaming is missing: run \`make build\` first"
    MADE=$(mktemp -d)
    trap 'rm -rf "$MADE"' EXIT
    mkdir "$MADE/man" "$MADE/completions"
    "$coaming" man --output-dir "$MADE/man"
    # -n: no time of day in them.
    gzip -9n "$MADE"/man/*
    for shell in bash zsh fish; do
        "$coaming" completions "$shell" >"$MADE/completions/$shell"
    done
    gzip -9nc CHANGELOG.md >"$MADE/changelog.gz"
}

die() {
    echo "packaging/install.sh: $*" >&2
    exit 1
}

main "$@"
