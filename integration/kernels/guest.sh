#!/bin/sh
# PID 1 of a guest: puts memory over the machine's files, starts what the security module needs, does the job, says how it
# ended, and switches the kernel off.
# The kernel hands the words of its command line that it does not know to its first process, as environment variables.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
: "${coaming_mac:?}" "${coaming_job:?}"
mount -t proc proc /proc
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
# QEMU's kernels have their modules loaded before.
[ -z "$coaming_modules" ] || busybox insmod "$coaming_modules/overlay.ko"
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
cd /mnt/root || exit 1
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t devtmpfs devtmpfs dev
mkdir -p dev/pts dev/shm
mount -t devpts devpts dev/pts
mount -t cgroup2 cgroup2 sys/fs/cgroup
# As systemd does: a group has the controllers that the one above hands on.
for controller in $(cat sys/fs/cgroup/cgroup.controllers); do echo "+$controller" >sys/fs/cgroup/cgroup.subtree_control; done
mount -t securityfs securityfs sys/kernel/security
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/job run/machine
cp -a "$coaming_job/." run/job/
pivot_root . run/machine
cd /run/job || exit 1
[ -z "$coaming_modules" ] || for module in llc stp bridge veth; do busybox insmod "$coaming_modules/$module.ko"; done
ip link set lo up
# Records of denials come by the thousand at times, and none may be dropped.
echo 0 >/proc/sys/kernel/printk_ratelimit
# As installed, in the places of Debian's packages. parser.conf: without one the parser warns, and containerd 1.6 takes the
# warning for its version.
cp "$coaming_mac"/bin/* /usr/sbin/
cp -a "$coaming_mac/apparmor.d" /etc/
mkdir -p /etc/apparmor && : >/etc/apparmor/parser.conf
if [ -e policy ]; then
    mount -t selinuxfs selinuxfs /sys/fs/selinux
    # In one write: the kernel takes no part of a policy.
    dd if=policy of=/sys/fs/selinux/load bs=64M status=none && echo 1 >/sys/fs/selinux/enforce ||
        echo "the SELinux policy was not loaded"
fi
sh ./run.sh
echo "coaming job ended with $?"
echo o >/proc/sysrq-trigger
sleep 10
