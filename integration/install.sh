#!/bin/bash
# Installs what the build, the integration tests and the demo need on a Debian machine (as root), and keeps in one folder
# the containerd, runc and crun of several Debian suites, Docker and Podman of two, and the OCI runtime specification. Says nothing and needs no network when there is nothing to do.
#
#   integration/install.sh --build     what the build needs
#   integration/install.sh --demo      that, what worlds need, and the newest suite that can be had
#   integration/install.sh             that, and every suite: what the tests need
#   integration/install.sh --refresh   the same, and fetches the suites again: what they hold moves
#   integration/install.sh --kernels   that, and QEMU with Debian's kernels, one of them for aarch64: what `make test-kernels` needs
#   integration/install.sh --cross     what the build needs, and what it needs for aarch64
#   integration/install.sh --packages  what the build needs, and what `make packages` makes packages with
#   integration/install.sh --test-packages   that, and what their tests need beside the suites: a fresh Debian
#
# The folder is /var/cache/coaming-integration, or $COAMING_INTEGRATION_CACHE. It outlives checkouts and `cargo clean`.
# The machine's own containerd and runtimes are neither installed nor used: a node may have others than Debian's.
set -euo pipefail

# rustup's own folder; a root shell often does not have it.
PATH=$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin

# Suite by suite: containerd 1.6, 1.7 and 2.x. Suites, never versions: a version's file leaves the archive when the next arrives.
SUITES=(bookworm trixie sid)
# Docker 20.10 and Podman 4.3, and the newest.
ENGINES=(bookworm sid)
CACHE=${COAMING_INTEGRATION_CACHE:-/var/cache/coaming-integration}
BUILD=(build-essential ca-certificates libseccomp-dev musl-tools pkg-config)
CROSS=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
# Of one version each: what they make shall be the same everywhere. Without features that need C: xz is called instead.
TOOLS=("cargo-deb 3.8.0 --no-default-features" "cargo-generate-rpm 0.21.1" "cargo-cyclonedx 0.5.9 --debug")
PACKAGES=(jq xz-utils)
WORLDS=(
    bsdutils coreutils findutils hostname mawk mount util-linux # world.sh and the tests' own commands
    iproute2 iptables kmod containernetworking-plugins          # network, and modules that the kernel loads on demand
    busybox-static                                              # images
    minisign                                                    # signed policies
    fish zsh                                                    # completions
    debian-archive-keyring patchelf                             # the suites' programs
    libsepol2                                                   # SELinux's compiler, see fetch_mac
    mmdebstrap                                                  # a Debian that boots
    xz-utils zstd                                               # modules of kernels
)
# What the tests of packages need besides: to look into them, and the Debian that they are installed in.
FRESH=(cpio lintian rpm)

main() {
    local what=${1-}
    case $what in
    '' | --build | --demo | --refresh | --kernels | --cross | --packages | --test-packages) ;;
    *) die "unknown argument $what; known are --build, --demo, --refresh, --kernels, --cross, --packages and --test-packages" ;;
    esac
    [[ $EUID -eq 0 ]] || die "must run as root: it installs packages and writes $CACHE"
    command -v apt-get >/dev/null || die "needs Debian's apt-get; on other systems install by hand: ${BUILD[*]} ${WORLDS[*]}"
    install_rust_target x86_64-unknown-linux-musl
    if [[ $what == --build ]]; then
        install_packages "${BUILD[@]}"
        return
    fi
    if [[ $what == --cross ]]; then
        install_packages "${BUILD[@]}" "${CROSS[@]}"
        install_rust_target aarch64-unknown-linux-musl
        install_rust_target aarch64-unknown-linux-gnu
    elif [[ $what == --packages ]]; then
        install_packages "${BUILD[@]}" "${PACKAGES[@]}"
    elif [[ $what == --test-packages ]]; then
        install_packages "${BUILD[@]}" "${PACKAGES[@]}" "${WORLDS[@]}" "${FRESH[@]}"
    else
        install_packages "${BUILD[@]}" "${WORLDS[@]}"
    fi
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
    if [[ $what == --cross ]]; then
        [[ -e $CACHE/aarch64/versions ]] || fetch_cross
        return
    fi
    if [[ $what == --packages || $what == --test-packages ]]; then
        make_tools
        [[ $what == --packages || -e $CACHE/fresh/versions ]] || fetch_fresh
        return
    fi
    for suite in "${SUITES[@]}"; do
        if [[ $what == --refresh || ! -e $CACHE/$suite/versions ]]; then fetch_suite "$suite"; fi
    done
    for suite in "${ENGINES[@]}"; do
        if [[ $what == --refresh || ! -e $CACHE/engines/$suite/versions ]]; then fetch_engines "$suite"; fi
    done
    if [[ $what == --refresh || ! -e $CACHE/profiles/docker.json ]]; then fetch_profiles; fi
    if [[ $what == --refresh || ! -e $CACHE/kernel/versions ]]; then fetch_kernel sid; fi
    if [[ $what == --refresh || ! -e $CACHE/image/versions ]]; then fetch_image; fi
    if [[ $what == --refresh || ! -e $CACHE/mac/bin/semodule ]]; then fetch_mac; fi
    if [[ $what == --kernels ]]; then
        [[ -e $CACHE/qemu/versions ]] || fetch_qemu trixie
        for suite in "${SUITES[@]}"; do
            [[ -e $CACHE/kernels/$suite/versions ]] || fetch_debian_kernel "$suite"
        done
        [[ -e $CACHE/aarch64-guest/versions ]] || fetch_aarch64_guest trixie
    fi
    if [[ $what == --refresh || ! -d $CACHE/specification ]]; then fetch_specification; fi
    if [[ $what == --refresh || ! -e $CACHE/criu/versions ]]; then fetch_criu sid; fi
    # Sid's script knows no network of the host's, and others take a /dev/net/tun that users may open.
    if [[ $what == --refresh || ! -e $CACHE/rootless/bookworm/versions ]]; then fetch_rootless bookworm; fi
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
    local target=$1
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

# Leaves $CACHE/engines/SUITE/{bin,lib,share,versions}: Docker and Podman of a suite with what they call, except for containerd and the
# runtimes, which are in $CACHE/SUITE/bin. `share` has what Podman reads from /usr/share/containers and /etc/containers.
fetch_engines() {
    local suite=$1 partial apt package name found packages libraries
    packages=(docker.io tini podman conmon golang-github-containers-common catatonit slirp4netns uidmap)
    # Since trixie the command is a package of its own, and Podman's networks are netavark's and passt's alone.
    [[ $suite == bookworm ]] || packages+=(docker-cli netavark passt)
    open_suite "$suite"
    mapfile -t libraries < <(libraries_of "$partial" "${packages[@]}")
    (cd "$partial/debs" && quietly "${apt[@]}" download "${packages[@]/%//$suite}" "${libraries[@]/%//$suite}") ||
        die "Debian's suite $suite has not all of Docker and Podman to download now; run again later, what was fetched before is untouched"
    for package in "$partial"/debs/*.deb; do dpkg -x "$package" "$partial/root"; done
    for package in "${packages[@]}"; do
        # shellcheck disable=SC2016 # dpkg's variables
        dpkg-deb -W --showformat='${Package} ${Version}\n' "$partial"/debs/"${package}"_*.deb >>"$partial/tree/versions"
    done
    find "$partial/root" -path '*/x86_64-linux-gnu/*' -maxdepth 4 -name '*.so*' -exec cp -a -t "$partial/tree/lib" {} +
    for name in docker dockerd docker-proxy tini-static podman conmon catatonit slirp4netns newuidmap newgidmap rootlessport netavark pasta; do
        found=$(find "$partial/root/usr" -name "$name" -type f -perm -100 | head -n1)
        [[ -n $found ]] || continue
        cp "$found" "$partial/tree/bin/"
        patch_binary "$partial/tree/bin/$name" "$CACHE/engines/$suite/lib"
    done
    mkdir -p "$partial/tree/share" "$CACHE/engines"
    cp -r "$partial/root/usr/share/containers" "$partial/tree/share/usr"
    cp -r "$partial/root/etc/containers" "$partial/tree/share/etc"
    rm -rf "${CACHE:?}/engines/$suite"
    mv "$partial/tree" "$CACHE/engines/$suite"
    rm -rf "$partial"
    for name in docker dockerd podman conmon; do
        "$CACHE/engines/$suite/bin/$name" --version >/dev/null || { rm -f "$CACHE/engines/$suite/versions"; die "$name of $suite does not run here"; }
    done
    sed "s|^|$suite: |" "$CACHE/engines/$suite/versions"
}

# Names of the shared library packages, of what `apt` knows, that programs of the packages load: those that they and such libraries depend on, and nothing by way of
# other programs.
libraries_of() {
    local partial=$1 level known=" "
    shift
    level=("$@")
    while [[ ${#level[@]} -gt 0 ]]; do
        local next=() name
        while read -r name; do
            [[ $known != *" $name "* ]] || continue
            known+="$name "
            next+=("$name")
        done < <(apt-cache "${apt[@]:2}" \
            depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "${level[@]}" |
            awk '/^ .*Depends: lib/ { print $NF }' | grep -vE '^<|^libc-bin|^libpam|^libdebconf|-perl$|^libperl' | sort -u)
        level=("${next[@]}")
    done
    tr ' ' '\n' <<<"$known" | grep -v '^$'
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

# Leaves $CACHE/qemu/{bin,lib,share,versions}: a machine in software, and what shares this machine's files with it.
fetch_qemu() {
    local suite=$1 partial apt packages libraries name
    packages=(qemu-system-x86 qemu-system-common qemu-system-data seabios virtiofsd)
    open_suite "$suite"
    mapfile -t libraries < <(libraries_of "$partial" qemu-system-x86 virtiofsd)
    (cd "$partial/debs" && quietly "${apt[@]}" download "${packages[@]/%//$suite}" "${libraries[@]/%//$suite}") ||
        die "Debian's suite $suite has not all of QEMU to download now; run again later"
    for name in "$partial"/debs/*.deb; do dpkg -x "$name" "$partial/root"; done
    for name in "${packages[@]}"; do
        # shellcheck disable=SC2016 # dpkg's variables
        dpkg-deb -W --showformat='${Package} ${Version}\n' "$partial"/debs/"${name}"_*.deb >>"$partial/tree/versions"
    done
    find "$partial/root" -path '*/x86_64-linux-gnu/*' -maxdepth 4 -name '*.so*' -exec cp -a -t "$partial/tree/lib" {} +
    mkdir "$partial/tree/share"
    cp -rL "$partial/root/usr/share/seabios/." "$partial/tree/share/"
    cp -r "$partial/root/usr/share/qemu/." "$partial/tree/share/" 2>/dev/null || true # links into packages that are not here
    for name in qemu-system-x86_64 virtiofsd; do
        cp "$(find "$partial/root/usr" -name "$name" -type f -perm -100 | head -n1)" "$partial/tree/bin/"
        patch_binary "$partial/tree/bin/$name" "$CACHE/qemu/lib"
    done
    rm -rf "${CACHE:?}/qemu"
    mv "$partial/tree" "$CACHE/qemu"
    rm -rf "$partial"
    for name in qemu-system-x86_64 virtiofsd; do
        "$CACHE/qemu/bin/$name" --version >/dev/null || { rm -f "$CACHE/qemu/versions"; die "$name of $suite does not run here"; }
    done
}

# Leaves $CACHE/kernels/SUITE/{linux,initrd,versions}: the suite's kernel for clouds, and a first root file system with the modules
# that a guest needs, loaded in their order, which then makes this machine's files its root.
fetch_debian_kernel() {
    local suite=$1 partial apt packages version name path
    open_suite "$suite"
    # The kernel's own packages: the name says the version, which moves.
    mapfile -t packages < <(apt-cache -o "Dir::Etc::SourceList=$partial/suite.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$partial/lists" -o "Dir::Cache=$partial" \
        depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances linux-image-cloud-amd64 |
        awk '/^ .*Depends: linux-(image|binary|modules)-[0-9].*-cloud-amd64$/ { print $NF }' | sort -u)
    [[ ${#packages[@]} -gt 0 ]] || die "Debian's suite $suite names no kernel for clouds"
    (cd "$partial/debs" && quietly "${apt[@]}" download "${packages[@]/%//$suite}") || die "Debian's suite $suite has not all of ${packages[*]} to download now; run again later"
    for name in "$partial"/debs/*.deb; do dpkg -x "$name" "$partial/root"; done
    # Before the files of /usr and of / were one, they lay in /lib.
    [[ ! -d $partial/root/lib ]] || { mkdir -p "$partial/root/usr" && cp -a "$partial/root/lib" "$partial/root/usr/" && rm -r "$partial/root/lib" && ln -s usr/lib "$partial/root/lib"; }
    [[ -e $partial/root/lib ]] || ln -s usr/lib "$partial/root/lib"
    version=$(basename "$partial"/root/usr/lib/modules/*)
    depmod --basedir "$partial/root" "$version"
    local first=$partial/first count=10
    mkdir -p "$first"/{bin,dev,proc,sys,root,modules}
    cp /bin/busybox "$first/bin/"
    for name in virtio_pci virtiofs overlay bridge veth; do
        while read -r path; do
            [[ ! -e $(echo "$first"/modules/*-"$(basename "${path%.ko*}")".ko) ]] || continue
            case $path in
            *.xz) xz -dc "$path" ;;
            *.zst) zstd -dcq "$path" ;;
            *) cat "$path" ;;
            esac >"$first/modules/$count-$(basename "${path%.ko*}").ko"
            count=$((count + 1))
        done < <(modprobe --dirname "$partial/root" --set-version "$version" --show-depends "$name" | awk '$1 == "insmod" { print $2 }')
    done
    cat >"$first/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do /bin/busybox insmod "$module" || echo "cannot load $module"; done
/bin/busybox mount -t virtiofs -o ro coaming /root || echo "cannot mount the machine's files"
/bin/busybox umount /dev
exec /bin/busybox switch_root /root "$coaming_init"
INIT
    chmod 755 "$first/init"
    (cd "$first" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1 >"$partial/tree/initrd")
    cp "$(find "$partial/root/boot" "$partial/root/usr/lib/modules" -name 'vmlinuz*' -type f 2>/dev/null | head -n1)" "$partial/tree/linux"
    # shellcheck disable=SC2016 # dpkg's variables
    for name in "$partial"/debs/*.deb; do dpkg-deb -W --showformat='${Package} ${Version}\n' "$name"; done >"$partial/tree/versions"
    rm -rf "$partial/tree/bin" "$partial/tree/lib" "${CACHE:?}/kernels/$suite"
    mkdir -p "$CACHE/kernels"
    mv "$partial/tree" "$CACHE/kernels/$suite"
    rm -rf "$partial"
    sed "s|^|$suite: |" "$CACHE/kernels/$suite/versions"
}

# Leaves $CACHE/aarch64-guest/{bin,lib,share,linux,root,versions}: QEMU for aarch64, the suite's kernel for clouds, and a first root
# file system with what tests of the launcher call, of the same suite for arm64.
fetch_aarch64_guest() {
    local suite=$1 partial apt packages libraries name path
    open_suite "$suite"
    mapfile -t libraries < <(libraries_of "$partial" qemu-system-arm)
    (cd "$partial/debs" && quietly "${apt[@]}" download "qemu-system-arm/$suite" "${libraries[@]/%//$suite}") ||
        die "Debian's suite $suite has not all of QEMU for aarch64 to download now; run again later"
    for name in "$partial"/debs/*.deb; do dpkg -x "$name" "$partial/root"; done
    # shellcheck disable=SC2016 # dpkg's variables
    dpkg-deb -W --showformat='${Package} ${Version}\n' "$partial"/debs/qemu-system-arm_*.deb >"$partial/tree/versions"
    find "$partial/root" -path '*/x86_64-linux-gnu/*' -maxdepth 4 -name '*.so*' -exec cp -a -t "$partial/tree/lib" {} +
    cp "$partial/root/usr/bin/qemu-system-aarch64" "$partial/tree/bin/"
    patch_binary "$partial/tree/bin/qemu-system-aarch64" "$CACHE/aarch64-guest/lib"

    rm -rf "$partial"/{debs,lists,root,srcpkgcache.bin,pkgcache.bin}
    mkdir -p "$partial"/{debs,lists/partial,root}
    apt+=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::status=/dev/null)
    quietly "${apt[@]}" update || die "cannot read Debian's suite $suite for arm64"
    packages=(busybox-static coreutils mount util-linux libseccomp2)
    mapfile -t libraries < <(libraries_of "$partial" "${packages[@]}")
    mapfile -O "${#packages[@]}" -t packages < <(apt-cache "${apt[@]:2}" depends linux-image-cloud-arm64 | awk '/Depends: linux-image-[0-9]/ { print $NF }')
    (cd "$partial/debs" && quietly "${apt[@]}" download "${packages[@]/%//$suite}" "${libraries[@]/%//$suite}") ||
        die "Debian's suite $suite has not all of ${packages[*]} for arm64 to download now; run again later"
    for name in "$partial"/debs/*.deb; do dpkg -x "$name" "$partial/root"; done
    # shellcheck disable=SC2016 # dpkg's variables
    for name in "$partial"/debs/linux-image-*.deb; do dpkg-deb -W --showformat='${Package} ${Version}\n' "$name" >>"$partial/tree/versions"; done
    cp "$partial"/root/boot/vmlinuz-* "$partial/tree/linux"
    # Debian's packages name /bin, /lib and /sbin where they are links into /usr.
    local first=$partial/tree/root
    mkdir -p "$first"/{dev,proc,sys,tmp,root,usr/bin,usr/lib}
    for name in bin sbin; do
        ln -s usr/bin "$first/$name"
        for path in "$partial/root/$name" "$partial/root/usr/$name"; do [[ ! -d $path ]] || cp -a "$path/." "$first/usr/bin/"; done
    done
    ln -s bin "$first/usr/sbin"
    ln -s usr/lib "$first/lib"
    for path in "$partial/root/lib" "$partial/root/usr/lib"; do
        [[ ! -e $path/aarch64-linux-gnu ]] || cp -a "$path/aarch64-linux-gnu" "$first/usr/lib/"
        [[ ! -e $path/ld-linux-aarch64.so.1 ]] || cp -a "$path/ld-linux-aarch64.so.1" "$first/usr/lib/"
    done
    for name in sh ip ifconfig; do [[ -e $first/usr/bin/$name ]] || ln -s busybox "$first/usr/bin/$name"; done
    rm -rf "${CACHE:?}/aarch64-guest" "$first"/usr/lib/aarch64-linux-gnu/{gconv,perl*}
    mv "$partial/tree" "$CACHE/aarch64-guest"
    rm -rf "$partial"
    "$CACHE/aarch64-guest/bin/qemu-system-aarch64" --version >/dev/null || { rm -f "$CACHE/aarch64-guest/versions"; die "qemu-system-aarch64 of $suite does not run here"; }
    sed "s|^|$suite: |" "$CACHE/aarch64-guest/versions"
}

# Leaves $CACHE/aarch64/{libseccomp.so,libseccomp.so.2,versions}: what the gate is linked against, of the machine's own Debian for arm64.
fetch_cross() {
    local partial apt
    partial=$(mktemp -d "$CACHE/partial.XXXXXX")
    mkdir -p "$partial"/{lists/partial,archives/partial,debs,root,tree}
    chmod 755 "$partial" "$partial"/*
    apt=(apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::status=/dev/null -o "Dir::State::Lists=$partial/lists"
        -o "Dir::Cache=$partial" -o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false -o APT::Update::Error-Mode=any)
    quietly "${apt[@]}" update || die "cannot read this machine's Debian for arm64"
    (cd "$partial/debs" && quietly "${apt[@]}" download libseccomp2 libseccomp-dev) || die "Debian has no libseccomp for arm64 to download now; run again later"
    for name in "$partial"/debs/*.deb; do dpkg -x "$name" "$partial/root"; done
    find "$partial/root" -name 'libseccomp.so*' -exec cp -a -t "$partial/tree" {} +
    # shellcheck disable=SC2016 # dpkg's variables
    dpkg-deb -W --showformat='${Package} ${Version}\n' "$partial"/debs/libseccomp2_*.deb >"$partial/tree/versions"
    rm -rf "${CACHE:?}/aarch64"
    mv "$partial/tree" "$CACHE/aarch64"
    rm -rf "$partial"
}

# Leaves $CACHE/mac/{bin,apparmor.d,versions}: what compiles AppArmor's and SELinux's policies, and loads SELinux's modules, of the machine's own Debian. Not
# installed: that would change what its own containers run under.
fetch_mac() {
    local partial package
    partial=$(mktemp -d "$CACHE/partial.XXXXXX")
    mkdir -p "$partial/tree/bin" "$partial/debs"
    chmod 755 "$partial/tree"
    for package in apparmor secilc policycoreutils; do
        local download=(apt-get -q -o APT::Sandbox::User=root download "$package")
        (cd "$partial/debs" && "${download[@]}" >/dev/null 2>&1) || {
            quietly apt-get update -q
            (cd "$partial/debs" && quietly "${download[@]}") || die "this machine's Debian has no $package to download now; run again later"
        }
        dpkg -x "$partial"/debs/"$package"_*.deb "$partial/root"
        # shellcheck disable=SC2016 # dpkg's variables
        dpkg-deb -W --showformat='${Package} ${Version}\n' "$partial"/debs/"$package"_*.deb >>"$partial/tree/versions"
    done
    local name
    for name in apparmor_parser secilc semodule load_policy; do
        find "$partial/root" -name "$name" -type f -perm -100 -exec cp -t "$partial/tree/bin" {} +
        if ldd "$partial/tree/bin/$name" | grep 'not found' >&2; then die "$name does not run here"; fi
    done
    cp -a "$partial/root/etc/apparmor.d" "$partial/tree/"
    rm -rf "${CACHE:?}/mac"
    mv "$partial/tree" "$CACHE/mac"
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

# Leaves $CACHE/criu/{bin,lib,versions}: what takes and restores checkpoints. Of a new suite: it follows the kernel, and 3.17 does not start on 6.18.
fetch_criu() {
    local suite=$1 partial apt libraries name
    open_suite "$suite"
    mapfile -t libraries < <(libraries_of "$partial" criu)
    (cd "$partial/debs" && quietly "${apt[@]}" download "criu/$suite" "${libraries[@]/%//$suite}") ||
        die "Debian's suite $suite has not all of criu to download now; run again later, what was fetched before is untouched"
    for name in "$partial"/debs/*.deb; do dpkg -x "$name" "$partial/root"; done
    # shellcheck disable=SC2016 # dpkg's variables
    dpkg-deb -W --showformat='${Package} ${Version}\n' "$partial"/debs/criu_*.deb >"$partial/tree/versions"
    find "$partial/root" -path '*/x86_64-linux-gnu/*' -maxdepth 4 -name '*.so*' -exec cp -a -t "$partial/tree/lib" {} +
    cp "$(find "$partial/root/usr" -name criu -type f -perm -100 | head -n1)" "$partial/tree/bin/"
    patch_binary "$partial/tree/bin/criu" "$CACHE/criu/lib"
    rm -rf "${CACHE:?}/criu"
    mv "$partial/tree" "$CACHE/criu"
    rm -rf "$partial"
    "$CACHE/criu/bin/criu" --version >/dev/null || { rm -f "$CACHE/criu/versions"; die "criu of $suite does not run here"; }
    sed "s|^|$suite: |" "$CACHE/criu/versions"
}

# Leaves $CACHE/tools/bin: programs that make packages. They are not in Debian. Built for use, and not for speed.
make_tools() {
    local tool name version options
    for tool in "${TOOLS[@]}"; do
        read -r name version options <<<"$tool"
        ! grep -qs "^\"$name $version " "$CACHE/tools/.crates.toml" || continue
        echo "building $name $version"
        # shellcheck disable=SC2086 # none, or one
        CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
            CARGO_TARGET_DIR="$CACHE/partial.tools" quietly cargo install --locked --force --root "$CACHE/tools" --version "$version" $options "$name" ||
            die "cannot build $name"
    done
    rm -rf "$CACHE/partial.tools"
}

# Leaves $CACHE/fresh/{root,versions}: the machine's own Debian with nothing but its least packages, containerd, runc and the libraries
# that coaming's package depends on, as a node is before coaming is installed.
fetch_fresh() {
    lay_out fresh containerd,containernetworking-plugins,libseccomp2,runc
}

# Leaves $CACHE/image/{root,versions}: the same as it boots, with systemd.
fetch_image() {
    lay_out image containerd,containernetworking-plugins,kmod,libseccomp2,runc,systemd-sysv
}

lay_out() {
    local name=$1 packages=$2 partial suite
    suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    [[ -n $suite ]] || die "/etc/os-release names no suite of Debian"
    partial=$(mktemp -d "$CACHE/partial.XXXXXX")
    chmod 755 "$partial"
    quietly mmdebstrap --variant=minbase --include="$packages" --aptopt='Acquire::Check-Valid-Until "false"' "$suite" \
        "$partial/root" "$(suite_source "$suite")" || die "Debian's suite $suite cannot be laid out now; run again later"
    # shellcheck disable=SC2016 # dpkg's variables
    dpkg-query --admindir="$partial/root/var/lib/dpkg" -W -f '${Package} ${Version}\n' >"$partial/versions"
    rm -rf "${CACHE:?}/$name"
    mv "$partial" "$CACHE/$name"
    sed -nE "s/^(containerd|runc) /$suite: &/p" "$CACHE/$name/versions"
}

# Leaves $CACHE/rootless/SUITE/{bin,lib,versions}: what dockerd runs in for an ordinary user, and the script that starts it so.
fetch_rootless() {
    local suite=$1 partial apt libraries name
    open_suite "$suite"
    mapfile -t libraries < <(libraries_of "$partial" rootlesskit)
    (cd "$partial/debs" && quietly "${apt[@]}" download "docker.io/$suite" "rootlesskit/$suite" "${libraries[@]/%//$suite}") ||
        die "Debian's suite $suite has not all of rootless Docker to download now; run again later, what was fetched before is untouched"
    for name in "$partial"/debs/*.deb; do dpkg -x "$name" "$partial/root"; done
    # shellcheck disable=SC2016 # dpkg's variables
    dpkg-deb -W --showformat='${Package} ${Version}\n' "$partial"/debs/rootlesskit_*.deb >"$partial/tree/versions"
    find "$partial/root" -path '*/x86_64-linux-gnu/*' -maxdepth 4 -name '*.so*' -exec cp -a -t "$partial/tree/lib" {} +
    for name in rootlesskit rootlesskit-docker-proxy dockerd-rootless.sh; do
        cp "$(find "$partial/root/usr" -name "$name" -type f -perm -100 | head -n1)" "$partial/tree/bin/"
    done
    for name in rootlesskit rootlesskit-docker-proxy; do patch_binary "$partial/tree/bin/$name" "$CACHE/rootless/$suite/lib"; done
    mkdir -p "$CACHE/rootless"
    rm -rf "${CACHE:?}/rootless/$suite"
    mv "$partial/tree" "$CACHE/rootless/$suite"
    rm -rf "$partial"
    "$CACHE/rootless/$suite/bin/rootlesskit" --version >/dev/null || { rm -f "$CACHE/rootless/$suite/versions"; die "rootlesskit of $suite does not run here"; }
    sed "s|^|$suite: |" "$CACHE/rootless/$suite/versions"
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
