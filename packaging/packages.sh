#!/bin/bash
# Makes the deb, the rpm and the tarball of what `make build` made, by the list in packaging/files; each has the list of its
# parts (SBOM) inside, and one lies beside them.
#
#   packaging/packages.sh OUTPUT-FOLDER
#
# $TARGET is cargo's target folder, ./target by default. $SOURCE_DATE_EPOCH is the time in the packages, by default that of the
# last commit. $MAINTAINER is who answers for the packages, `Name <address>`, by default the line in package.toml.
# cargo-deb, cargo-generate-rpm and cargo-cyclonedx are in PATH or where `integration/install.sh --packages` put them. Same programs, same time: the same bytes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PATH=${COAMING_INTEGRATION_CACHE:-/var/cache/coaming-integration}/tools/bin:$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin
export TARGET=${TARGET:-target}
# Sorting, and dates in words.
export LC_ALL=C TZ=UTC
# cargo-deb calls xz, which cuts what it compresses by the number of processors otherwise.
export XZ_DEFAULTS=--threads=1

main() {
    umask 022
    [[ $# -eq 1 ]] || die "say where the packages shall be"
    local out work version tool maintainer
    for tool in cargo-deb cargo-generate-rpm cargo-cyclonedx jq; do
        command -v "$tool" >/dev/null || die "$tool is missing: integration/install.sh --packages installs it"
    done
    version=$(awk -F'"' '/^\[/ { here = $0 == "[workspace.package]" } here && /^version = / { print $2 }' Cargo.toml)
    SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -c safe.directory='*' log -1 --format=%ct)} ||
        die "this is no git checkout: say SOURCE_DATE_EPOCH, seconds since 1970"
    export SOURCE_DATE_EPOCH
    maintainer=${MAINTAINER:-$(sed -n 's/^maintainer = "\(.*\)"/\1/p' packaging/package.toml)}
    # Debian's policy, 5.6.2. Without what would end a string of the manifest, or means something to sed.
    local person='^[^"<>|&\]+ <[^"<>|&@ \]+@[^"<>|&@ \]+>$'
    [[ $maintainer =~ $person ]] || die "MAINTAINER is \"$maintainer\", and must be like: Jane Doe <jane@example.org>"
    mkdir -p "$1"
    out=$(cd "$1" && pwd)
    work=$(mktemp -d)
    # shellcheck disable=SC2064  # The folder is known now, and not when the trap runs.
    trap "rm -rf '$work'" EXIT

    rm -f "$out"/coaming[-_]*.{deb,rpm,tar.gz,cdx.json} "$out/SHA256SUMS"
    packaging/sbom.sh "$work/sbom"
    DESTDIR=$work/root SBOM=$work/sbom packaging/install.sh stage >"$work/list"
    find "$work/root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    manifest "$work" "$version"
    cargo-deb --quiet --no-build --no-strip --manifest-path "$work/Cargo.toml" --output "$out" </dev/null
    # By name, or it would take a path that is not there for the script itself.
    for tool in post preun postun; do [[ -s $work/rpm/$tool ]] || die "the rpm's script $tool is missing"; done
    # There are no libraries that static programs could require.
    (cd "$work" && cargo-generate-rpm --auto-req disabled --payload-compress gzip --target-dir "$work/rpm-target" --output "$out/" >/dev/null)
    tarball "$work" "$out/coaming-$version-x86_64-linux.tar.gz"
    install -m 644 "$work/sbom" "$out/coaming-$version.cdx.json"
    (cd "$out" && sha256sum -- coaming[-_]* >SHA256SUMS)
    echo "packages in $out:"
    sed 's/^/  /' "$out/SHA256SUMS"
}

# Leaves in $work what the two makers of packages read: a manifest, and the scripts with the folders in them.
manifest() {
    local work=$1 version=$2 kind path target directories script
    directories=$(awk '$1 == "dir" { printf "%s%s", separator, $3; separator = " " }' "$work/list")
    cp -r packaging/deb packaging/rpm "$work/"
    for script in "$work"/{deb,rpm}/*; do sed -i "s|@DIRECTORIES@|$directories|" "$script"; done
    printf 'coaming (%s-1) unstable; urgency=medium\n\n  * See /usr/share/doc/coaming/changelog.gz.\n\n -- %s  %s\n' "$version" \
        "$maintainer" "$(date --date="@$SOURCE_DATE_EPOCH" -R)" >"$work/debian-changelog"
    : >"$work/nothing.rs"
    {
        sed "s/@VERSION@/$version/; s|^maintainer = .*|maintainer = \"$maintainer\"|" packaging/package.toml
        while read -r kind target path; do
            case $kind in
                link)
                    debian "dest = \"${path#/}\"" "link_name = \"$target\""
                    # cargo-generate-rpm knows no links: the rpm has the program itself under both names.
                    red_hat "source = \"$work/root${path%/*}/$target\"" "dest = \"$path\"" 'mode = "755"'
                    ;;
                # Neither makes empty folders: the scripts do.
                dir) ;;
                conf)
                    debian "source = \"$work/root$target\"" "dest = \"${target#/}\"" 'mode = "644"'
                    red_hat "source = \"$work/root$target\"" "dest = \"$target\"" 'mode = "644"' 'config = "noreplace"'
                    ;;
                *)
                    debian "source = \"$work/root$target\"" "dest = \"${target#/}\"" "mode = \"$kind\""
                    red_hat "source = \"$work/root$target\"" "dest = \"$target\"" "mode = \"$kind\"" \
                        "doc = $([[ $target == /usr/share/doc/* ]] && echo true || echo false)"
                    ;;
            esac
        done <"$work/list"
        debian "source = \"$PWD/packaging/deb/lintian-overrides\"" 'dest = "usr/share/lintian/overrides/coaming"' 'mode = "644"'
    } >"$work/Cargo.toml"
    rm "$work/deb/lintian-overrides"
}

debian() {
    printf '\n[[package.metadata.deb.assets]]\n'
    printf '%s\n' "$@"
}

red_hat() {
    printf '\n[[package.metadata.generate-rpm.assets]]\n'
    printf '%s\n' "$@"
}

# Files, links and coaming's own folders, and none that others have too: unpacking it over / changes no mode of /usr.
tarball() {
    local work=$1 to=$2
    awk '{ print "." $NF }' "$work/list" | sort >"$work/names"
    tar --create --directory "$work/root" --format=gnu --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
        --no-recursion --files-from "$work/names" | gzip -9n >"$to"
}

die() {
    echo "packaging/packages.sh: $*" >&2
    exit 1
}

main "$@"
