#!/bin/sh
# Runs a command, such as cargo, so that what it builds for x86_64-unknown-linux-gnu is static, libseccomp included: a
# program that starts for every container has nothing to look up or to relocate first. In effect only with --target, so
# that cargo keeps what it builds for itself apart.
#
#   packaging/static.sh cargo build --target x86_64-unknown-linux-gnu ...
set -eu

library=$(cc -print-file-name=libseccomp.a)
case $library in
/*) ;;
*)
    echo "packaging/static.sh: there is no libseccomp.a; install libseccomp-dev (Debian) or libseccomp-static (Fedora)" >&2
    exit 1
    ;;
esac
export LIBSECCOMP_LINK_TYPE=static LIBSECCOMP_LIB_PATH="${library%/*}"
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static"
exec "$@"
