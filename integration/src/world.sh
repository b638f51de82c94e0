#!/bin/sh
# Makes one private world and keeps it until its PID 1 is gone; see world.rs.
#   world.sh outside NAME REAPER [ROOT]   joins the world's cgroups, unshares, goes on as `inside`, cleans up afterwards
#   world.sh inside REAPER [ROOT]         furnishes the world, prints the host's PID of its PID 1, becomes the reaper
# ROOT is a system of its own to see in the world, instead of the host's; it is not written to.
set -eu

outside() {
    name=$1 reaper=$2 root=${3-}
    # What is typed at the terminal or sent to the test's process group must not cost the cleaning up.
    trap '' HUP INT TERM
    for group in $(groups_named "$name"); do
        mkdir "$group"
        # cgroup v1: a new cpuset is empty and takes no process.
        for file in cpuset.cpus cpuset.mems; do
            if [ -e "$group/../$file" ]; then cat "$group/../$file" >"$group/$file"; fi
        done
    done
    emptying=
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        empty_group "/sys/fs/cgroup/$name" >/dev/null 2>&1 &
        emptying=$!
    fi
    status=0
    # The pipe on standard input belongs to PID 1 alone. setpriv: PID 1 dies with this shell, however that ends.
    (
        own=$(cut -d' ' -f4 /proc/self/stat)
        for group in $(groups_named "$name"); do echo "$own" >"$group/cgroup.procs"; done
        exec setpriv --pdeathsig KILL unshare --mount --net --pid --ipc --uts --cgroup --propagation slave --fork --kill-child \
            sh "$0" inside "$reaper" "$root"
    ) || status=$?
    exec </dev/null
    [ -z "$emptying" ] || kill "$emptying" 2>/dev/null || true
    # PID 1's end has killed the rest, but a killed process leaves its cgroup a moment later.
    tries=100
    while [ $tries -gt 0 ]; do
        tries=$((tries - 1))
        for group in $(groups_named "$name"); do
            if [ -d "$group" ]; then find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
        done
        # shellcheck disable=SC2046
        if ! ls -d $(groups_named "$name") >/dev/null 2>&1; then break; fi
        sleep 0.05
    done
    exit "$status"
}

# cgroup v2: what waits for the world's PID 1 goes to the world's leaf, too, or the world's group could not hand its controllers
# on. It cannot be named from inside.
empty_group() {
    group=$1 tries=500
    while [ $tries -gt 0 ] && [ ! -d "$group/init" ]; do
        tries=$((tries - 1))
        sleep 0.02
    done
    while read -r pid; do echo "$pid" >"$group/init/cgroup.procs" || true; done <"$group/cgroup.procs"
}

# The cgroup of this name in every hierarchy of cgroup v1, or in the one of v2. The v2 hierarchy of a hybrid machine
# stays out: no controller lives there.
groups_named() {
    awk -v name="$1" '$3 == "cgroup" || ($3 == "cgroup2" && $2 == "/sys/fs/cgroup") { print $2 "/" name }' /proc/mounts
}

inside() {
    # Opened before /tmp and the like are covered: the binary may lie there.
    exec 9<"$1"
    hostname coaming-world
    # /proc still is the host's: its idea of this shell's PID.
    read -r pid _ </proc/self/stat
    # By the host's own program: another root may have none.
    furnish_network
    if [ -n "${2-}" ]; then
        move_to "$2"
    else
        mount -t proc proc /proc
        furnish_files
    fi
    furnish_cgroups
    # Mounts that containers share with the node ("bidirectional") need it shared; the world stays a slave of the host.
    mount --make-rshared /
    cat <&9 >/run/world-init
    exec 9<&-
    chmod 755 /run/world-init
    echo "$pid"
    exec /run/world-init --until-eof >/dev/null 2>&1
}

# Another root, with memory of its own above it.
move_to() {
    mount -t tmpfs -o mode=755 tmpfs /mnt
    mkdir /mnt/upper /mnt/work /mnt/root
    mount -t overlay -o "lowerdir=$1,upperdir=/mnt/upper,workdir=/mnt/work" overlay /mnt/root
    mount --rbind /dev /mnt/root/dev
    mount --rbind /sys /mnt/root/sys
    mount -t proc proc /mnt/root/proc
    pivot_root /mnt/root /mnt/root/mnt
    cd /
    umount -l /mnt
    mount -t tmpfs -o mode=755 tmpfs /run
    mount -t tmpfs -o mode=1777 tmpfs /tmp
    mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm
    # An overlay cannot be the upper layer of another.
    mkdir -p /var/lib/containerd
    mount -t tmpfs -o mode=711 tmpfs /var/lib/containerd
}

# Everything that a node writes is on memory of its own; /etc and the like show the host's files underneath.
furnish_files() {
    mount -t tmpfs -o mode=755 tmpfs /mnt
    for directory in etc usr/bin usr/libexec var/lib var/log; do
        mkdir -p "/mnt/$directory/upper" "/mnt/$directory/work"
        mount -t overlay -o "lowerdir=/$directory,upperdir=/mnt/$directory/upper,workdir=/mnt/$directory/work" overlay "/$directory"
    done
    umount -l /mnt
    mount -t tmpfs -o mode=755 tmpfs /run
    mount -t tmpfs -o mode=1777 tmpfs /tmp
    mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm
    mkdir -p /etc/coaming/policy.d /etc/containerd /etc/cni/net.d /run/coaming /usr/libexec/coaming /run/lock /var/log/pods
    # An overlay cannot be the upper layer of another: the snapshots need a file system of their own.
    mkdir -p /var/lib/containerd /var/lib/kubelet/pods
    mount -t tmpfs -o mode=711 tmpfs /var/lib/containerd
    mount -t tmpfs -o mode=755 tmpfs /var/lib/kubelet
    rm -rf /etc/coaming/* /usr/libexec/coaming/* /etc/cni/net.d/* /usr/bin/containerd-shim-coaming-v1
    mkdir -p /etc/coaming/policy.d
    rm -f /etc/resolv.conf
    echo 'nameserver 127.0.0.1' >/etc/resolv.conf
}

# Mounted again from inside the cgroup namespace: the world's own cgroups look like the root, and two worlds may run
# containers of one name. crun (1.8 to 1.28) refuses a hybrid machine, so its v2 hierarchy is not mounted.
furnish_cgroups() {
    if awk '$2 == "/sys/fs/cgroup" && $3 == "cgroup2" { found = 1 } END { exit !found }' /proc/mounts; then
        umount -l /sys/fs/cgroup
        mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup
        # cgroups(7), "no internal processes": controllers are handed on only by a group without processes.
        mkdir /sys/fs/cgroup/init
        echo 1 >/sys/fs/cgroup/init/cgroup.procs
        tries=500
        while [ $tries -gt 0 ] && grep -q . /sys/fs/cgroup/cgroup.procs; do
            tries=$((tries - 1))
            sleep 0.02
        done
        tr ' ' '\n' </sys/fs/cgroup/cgroup.controllers | while read -r controller; do
            echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || true
        done
        return
    fi
    hierarchies=$(awk '$3 == "cgroup" { n = split($2, path, "/"); print path[n] " " $4 }' /proc/mounts)
    umount -R -l /sys/fs/cgroup
    mount -t tmpfs -o mode=755,nosuid,nodev,noexec tmpfs /sys/fs/cgroup
    echo "$hierarchies" | while read -r name options; do
        controllers=$(echo "$options" | tr , '\n' | grep -vE '^(rw|ro|nosuid|nodev|noexec|relatime|xattr|clone_children|release_agent=.*)$' | paste -sd,)
        case $controllers in name=*) controllers=none,$controllers ;; esac
        mkdir "/sys/fs/cgroup/$name"
        mount -t cgroup -o "nosuid,nodev,noexec,$controllers" cgroup "/sys/fs/cgroup/$name"
    done
}

# CRI looks for an address and a default route; nothing ever leaves the bridge.
furnish_network() {
    ip link set lo up
    ip link add coaming0 type bridge
    ip address add 10.88.0.1/24 dev coaming0
    ip link set coaming0 up
    ip route add default via 10.88.0.254 dev coaming0
}

"$@"
