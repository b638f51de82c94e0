#!/bin/bash
# Runs jobs on another kernel than this machine's, as root: User-Mode Linux, which is a program. Its root file system is this
# machine's, with memory over it, so that nothing is built or installed for it, and nothing that it does stays.
#
#   integration/kernels/run.sh [JOB...]     the jobs named, or all in integration/kernels/jobs/
#
# It has no cgroup v1, no Landlock and one CPU, and takes a few times as long as the machine itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

HERE=$PWD/integration/kernels
KERNEL=${COAMING_INTEGRATION_CACHE:-/var/cache/coaming-integration}/kernel
TARGET=$(realpath -m "${CARGO_TARGET_DIR:-target}")
CARGO=${CARGO:-cargo}
LIMIT=45m

main() {
    integration/install.sh --kernel
    work=$(mktemp -d /tmp/uml.XXXXXX)
    trap 'rm -rf "$work"' EXIT
    mkdir "$work/job" "$work/home"
    build
    loadable
    [[ $# -gt 0 ]] || set -- "$HERE"/jobs/*.sh
    local job failed=0
    for job; do
        run "$(basename "$job" .sh)" || failed=1
    done
    exit "$failed"
}

# As the tests build it; the guest has no cargo, and finds it built.
build() {
    "$CARGO" build --quiet --release --locked --bins -p coaming-shim -p containerd-shim-coaming -p coaming-cli
    "$CARGO" build --quiet --release --locked --bins --target x86_64-unknown-linux-musl -p coaming-hooks -p coaming-probe -p coaming-reaper
    "$CARGO" test --quiet --locked --no-run --message-format=json-render-diagnostics -p coaming-integration --test lifecycle |
        sed -nE 's/.*"executable":"([^"]*\/(lifecycle)-[0-9a-f]+)".*/\2=\1/p' >"$work/job/tests"
    sed "s|^TARGET=.*|TARGET='$TARGET/release'|; s|^STATIC=.*|STATIC='$TARGET/x86_64-unknown-linux-musl/release'|" \
        "$HERE/built.sh" >"$work/job/cargo"
    chmod 755 "$work/job/cargo"
}

# The kernel is linked against a newer libc than stable Debian's. What loads it is named in it, in 27 bytes; to start the
# loader by hand does not do, since the kernel maps memory where that would lie.
loadable() {
    local default=/lib64/ld-linux-x86-64.so.2 own=$work/ld padding
    local nul='\x00'
    ln -s "$KERNEL/lib/ld-linux-x86-64.so.2" "$own"
    printf -v padding '%*s' $((${#default} - ${#own})) ''
    LC_ALL=C sed "s|$default|$own${padding// /"$nul"}|" "$KERNEL/linux" >"$work/linux"
    chmod 755 "$work/linux"
}

run() {
    local job=$1 status
    [[ -e $HERE/jobs/$job.sh ]] || { echo "there is no job $job in $HERE/jobs" >&2; return 1; }
    echo "$job on $(cat "$KERNEL/versions")"
    cp "$HERE/jobs/$job.sh" "$work/job/run.sh"
    # One CPU: on several, each switch between the kernel and a process of its wakes another. seccomp=on: twice as fast as
    # by ptrace, and no protection against its own processes, which are the tests.
    timeout --kill-after=10 "$LIMIT" taskset -c "$(($(nproc) - 1))" \
        env "HOME=$work/home" TMPDIR=/dev/shm "LD_LIBRARY_PATH=$KERNEL/lib" "$work/linux" mem=3G seccomp=on quiet con=null con0=fd:0,fd:1 root=/dev/root rootfstype=hostfs rootflags=/ ro \
        "init=$HERE/guest.sh" "coaming_modules=$KERNEL/modules" "coaming_job=$work/job" </dev/null 2>&1 | tee "$work/console" || true
    status=$(sed -nE 's/^coaming job ended with ([0-9]+)\r?$/\1/p' "$work/console" | tail -n1)
    [[ $status == 0 ]] || { echo "$job failed: ${status:-no status}" >&2; return 1; }
}

main "$@"
