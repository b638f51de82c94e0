#!/bin/sh
# PID 1 of the guest: puts memory over the machine's files, runs the job, says how it ended, and switches the kernel off.
# The kernel hands the words of its command line that it does not know to its first process, as environment variables.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
: "${coaming_modules:?}" "${coaming_job:?}"
mount -t proc proc /proc
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
busybox insmod "$coaming_modules/overlay.ko"
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
cd /mnt/root || exit 1
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t devtmpfs devtmpfs dev
mkdir -p dev/pts dev/shm
mount -t devpts devpts dev/pts
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/job run/machine
cp -a "$coaming_job/." run/job/
pivot_root . run/machine
cd /run/job || exit 1
for module in llc stp bridge veth; do busybox insmod "$coaming_modules/$module.ko"; done
ip link set lo up
CARGO=/run/job/cargo CI=true sh ./run.sh
echo "coaming job ended with $?"
echo o >/proc/sysrq-trigger
sleep 10
