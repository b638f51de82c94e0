#!/bin/bash
# Installs what the build, the integration tests and the demo need on a Debian machine (as root), and keeps in one folder
# the containerd, runc and crun of several Debian suites, and the OCI runtime specification. Says nothing and needs no network when there is nothing to do.
#
#   integration/install.sh --build     what the build needs
#   integration/install.sh --demo      that, what worlds need, and the newest suite that can be had
#   integration/install.sh             that, and every suite: what the tests need
#   integration/install.sh --refresh   the same, and fetches the suites again: what they hold moves
#   integration/install.sh --kernel    that, and a kernel that runs as a program, for integration/kernels/
#
# The folder is /var/cache/coaming-integration, or $COAMING_INTEGRATION_CACHE. It outlives checkouts and `cargo clean`.
# The machine's own containerd and runtimes are neither installed nor used: a node may have others than Debian's.
set -euo pipefail

# rustup's own folder; a root shell often does not have it.
PATH=$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin

# Suite by suite: containerd 1.6, 1.7 and 2.x. Suites, never versions: a version's file leaves the archive when the next arrives.
SUITES=(bookworm trixie sid)
CACHE=${COAMING_INTEGRATION_CACHE:-/var/cache/coaming-integration}
BUILD=(build-essential ca-certificates libseccomp-dev musl-tools pkg-config)
WORLDS=(
    bsdutils coreutils findutils hostname mawk mount util-linux # world.sh and the tests' own commands
    iproute2 iptables kmod containernetworking-plugins          # network, and modules that the kernel loads on demand
    busybox-static                                              # images
    minisign                                                    # signed policies
    debian-archive-keyring patchelf                             # the suites' programs
)

main() {
    local what=${1-}
    case $what in
    '' | --build | --demo | --refresh | --kernel) ;;
    *) die "unknown argument $what; known are --build, --demo, --refresh and --kernel" ;;
    esac
    [[ $EUID -eq 0 ]] || die "must run as root: it installs packages and writes $CACHE"
    command -v apt-get >/dev/null || die "needs Debian's apt-get; on other systems install by hand: ${BUILD[*]} ${WORLDS[*]}"
    install_rust_target
    if [[ $what == --build ]]; then
        install_packages "${BUILD[@]}"
        return
    fi
    install_packages "${BUILD[@]}" "${WORLDS[@]}"
    mkdir -p "$CACHE"
    # One at a time: two test runs may start together.
    exec 9>"$CACHE/lock"
    flock 9
    trap 'rm -rf "$CACHE"/partial.*' EXIT # and what a killed run left:
    rm -rf "$CACHE"/partial.*
    if [[ $what == --demo ]]; then
        newest_suite
        return
    fi
    for suite in "${SUITES[@]}"; do
        if [[ $what == --refresh || ! -e $CACHE/$suite/versions ]]; then fetch_suite "$suite"; fi
    done
    if [[ $what == --refresh || ! -e $CACHE/profiles/docker.json ]]; then fetch_profiles; fi
    if [[ $what == --kernel && ! -e $CACHE/kernel/versions ]]; then fetch_kernel sid; fi
    if [[ $what == --refresh || ! -d $CACHE/specification ]]; then fetch_specification; fi
}

# Sid has days on which something cannot be downloaded; the demo does without.
newest_suite() {
    local index
    for index in "${!SUITES[@]}"; do
        [[ ! -e $CACHE/${SUITES[index]}/versions ]] || return 0
    done
    for ((index = ${#SUITES[@]} - 1; index >= 0; index--)); do
        # In the background, since bash would ignore `set -e` in a condition.
        fetch_suite "${SUITES[index]}" &
        ! wait $! || return 0
    done
    die "no Debian suite could be fetched"
}

install_packages() {
    local missing=() package
    for package; do
        installed "$package" || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    echo "installing ${missing[*]}"
    quietly apt-get update -q
    # policy-rc.d 101: no package may start a service.
    local policy=/usr/sbin/policy-rc.d made=
    if [[ ! -e $policy ]]; then
        made=1
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    local status=0
    DEBIAN_FRONTEND=noninteractive quietly apt-get install -q -y --no-install-recommends "${missing[@]}" || status=$?
    [[ -z $made ]] || rm -f "$policy"
    return "$status"
}

installed() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# The launcher, the hook and the probe are static: they run inside images that hold no libc.
install_rust_target() {
    command -v rustup >/dev/null || die "rustup is not in PATH: install it first, the toolchain is pinned in rust-toolchain.toml"
    local target=x86_64-unknown-linux-musl
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    rustup target list --installed 2>/dev/null | grep -qx "$target" || quietly rustup target add "$target"
}

# Leaves $CACHE/SUITE/{bin,lib,versions}, whole or not at all.
fetch_suite() {
    local suite=$1 partial apt package
    open_suite "$suite"
    for package in containerd runc crun; do
        download "$suite" "$package" "${apt[@]}"
        dpkg -x "$partial"/debs/"${package}"_*.deb "$partial/root"
        # shellcheck disable=SC2016 # dpkg's variables
        dpkg-deb -W --showformat='${Package} ${Version}\n' "$partial"/debs/"${package}"_*.deb >>"$partial/tree/versions"
    done
    # Every library that the three name, and what those name, from the same suite: runc and crun of a newer suite need
    # its glibc. A wrapper that calls ld.so would not do, since runc executes /proc/self/exe again.
    for package in $(dependencies "$partial" containerd runc crun | sort -u); do
        download "$suite" "$package" "${apt[@]}"
        dpkg -x "$partial"/debs/"${package}"_*.deb "$partial/root"
    done
    find "$partial/root" -path '*/x86_64-linux-gnu/*' -maxdepth 4 -name '*.so*' -exec cp -a -t "$partial/tree/lib" {} +
    local name
    for name in containerd ctr containerd-shim-runc-v2 runc crun; do
        cp "$(find "$partial/root/usr/bin" "$partial/root/usr/sbin" -name "$name" -type f | head -n1)" "$partial/tree/bin/"
        patch_binary "$partial/tree/bin/$name" "$CACHE/$suite/lib"
    done
    rm -rf "${CACHE:?}/$suite"
    mv "$partial/tree" "$CACHE/$suite"
    rm -rf "$partial"
    for name in containerd runc crun; do
        "$CACHE/$suite/bin/$name" --version >/dev/null || { rm -f "$CACHE/$suite/versions"; die "$name of $suite does not run here"; }
    done
    sed "s|^|$suite: |" "$CACHE/$suite/versions"
}

# Leaves Podman's and Docker's default seccomp profiles, as the machine's own Debian has them, in $CACHE/profiles.
fetch_profiles() {
    local partial package
    partial=$(mktemp -d "$CACHE/partial.XXXXXX")
    for package in golang-github-containers-common golang-github-docker-docker-dev; do
        local download=(apt-get -q -o APT::Sandbox::User=root download "$package")
        (cd "$partial" && "${download[@]}" >/dev/null 2>&1) || {
            quietly apt-get update -q
            (cd "$partial" && quietly "${download[@]}") || die "this machine's Debian has no $package to download now; run again later"
        }
        dpkg -x "$partial"/"$package"_*.deb "$partial/root"
    done
    mkdir -p "$CACHE/profiles"
    cp "$partial/root/usr/share/containers/seccomp.json" "$CACHE/profiles/podman.json"
    # The last: by it is known that all are there.
    cp "$partial/root/usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json" "$CACHE/profiles/docker.json"
    rm -rf "$partial"
}

# Leaves $CACHE/kernel/{linux,lib,modules,versions}: User-Mode Linux with what it needs to start here. Of its modules, those
# that a guest loads: they must be the kernel's own. Not trixie's: 6.12 panics on processors that have AMX.
fetch_kernel() {
    local suite=$1 partial apt package name
    open_suite "$suite"
    for package in user-mode-linux libc6; do
        download "$suite" "$package" "${apt[@]}"
        dpkg -x "$partial"/debs/"${package}"_*.deb "$partial/root"
    done
    mkdir "$partial/tree/modules"
    cp "$partial/root/usr/bin/linux.uml" "$partial/tree/linux"
    cp -L "$partial"/root/usr/lib/x86_64-linux-gnu/{ld-linux-x86-64.so.2,libc.so.6} "$partial/tree/lib/"
    for name in overlay llc stp bridge veth; do
        find "$partial/root/usr/lib/uml/modules" -name "$name.ko" -exec cp -t "$partial/tree/modules" {} +
        [[ -e $partial/tree/modules/$name.ko ]] || die "user-mode-linux of $suite has no module $name"
    done
    # shellcheck disable=SC2016 # dpkg's variables
    dpkg-deb -W --showformat='${Package} ${Version}\n' "$partial"/debs/user-mode-linux_*.deb >"$partial/tree/versions"
    rm -rf "${CACHE:?}/kernel"
    mv "$partial/tree" "$CACHE/kernel"
    rm -rf "$partial"
}

# Leaves $CACHE/specification/schema: the JSON schema of the OCI runtime specification, in the newest version that Debian has.
fetch_specification() {
    local partial apt suite=${SUITES[-1]} package=golang-github-opencontainers-specs-dev
    open_suite "$suite"
    download "$suite" "$package" "${apt[@]}"
    dpkg -x "$partial"/debs/"${package}"_*.deb "$partial/root"
    cp -r "$partial/root/usr/share/gocode/src/github.com/opencontainers/runtime-spec/schema" "$partial/tree/"
    # shellcheck disable=SC2016 # dpkg's variables
    dpkg-deb -W --showformat='${Package} ${Version}\n' "$partial"/debs/"${package}"_*.deb >"$partial/tree/version"
    rm -rf "${CACHE:?}/specification"
    mv "$partial/tree" "$CACHE/specification"
    rm -rf "$partial"
    sed "s|^|$suite: |" "$CACHE/specification/version"
}

# Sets `partial`, a folder to fetch a suite's packages into, and `apt`, which knows that suite alone.
open_suite() {
    local suite=$1
    partial=$(mktemp -d "$CACHE/partial.XXXXXX")
    mkdir -p "$partial"/{lists/partial,archives/partial,debs,root,tree/bin,tree/lib}
    chmod 755 "$partial" "$partial"/*
    suite_source "$suite" >"$partial/suite.list"
    # Check-Valid-Until: a mirror may be a snapshot. What is signed and old will do here.
    apt=(apt-get -q -o Acquire::Check-Valid-Until=false -o "Dir::Etc::SourceList=$partial/suite.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$partial/lists"
        -o "Dir::Cache=$partial" -o APT::Sandbox::User=root -o APT::Update::Error-Mode=any)
    quietly "${apt[@]}" update || die "cannot read Debian's suite $suite; what was fetched before is untouched"
}

# The machine's own Debian mirror with another suite, held against Debian's own keys.
suite_source() {
    local mirror keys=/usr/share/keyrings/debian-archive-keyring.gpg
    mirror=$(debian_mirror)
    if [[ -z $mirror ]]; then # apt knows the origin of a source only once its lists were fetched
        quietly apt-get update -q
        mirror=$(debian_mirror)
    fi
    [[ -n $mirror ]] || die "this machine's apt sources name no Debian archive to take suite $1 from"
    echo "deb [signed-by=$keys] $mirror $1 main"
}

debian_mirror() {
    # shellcheck disable=SC2016 # apt's variable
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null | sort -u | head -n1
}

download() {
    local suite=$1 package=$2
    shift 2
    (cd "$partial/debs" && quietly "$@" download "$package/$suite") ||
        die "Debian's suite $suite has no $package to download now; run again later, what was fetched before is untouched"
}

# Names of the shared library packages that the packages depend on, in the suite, transitively.
dependencies() {
    local partial=$1
    shift
    apt-cache -o "Dir::Etc::SourceList=$partial/suite.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$partial/lists" -o "Dir::Cache=$partial" \
        depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$@" |
        awk '/^ .*Depends: lib/ { print $NF }' | grep -vE '^<|^libc-bin|^libpam|^libdebconf'
}

patch_binary() {
    local binary=$1 lib=$2
    patchelf --print-interpreter "$binary" >/dev/null 2>&1 || return 0 # static
    patchelf --set-interpreter "$lib/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$lib" "$binary"
}

# Runs a command and shows what it said only when it failed.
quietly() {
    local said status=0
    said=$("$@" 2>&1) || status=$?
    [[ $status -eq 0 ]] || printf '%s\n' "$said" >&2
    return "$status"
}

die() {
    echo "integration/install.sh: $*" >&2
    exit 1
}

main "$@"
