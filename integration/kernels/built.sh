#!/bin/sh
# Stands in for cargo in the guest: answers a build, as the tests ask for it, with what the machine has built.
TARGET=
STATIC=
case " $* " in
*" coaming-hooks "*) set -- "$STATIC" coaming-init coaming-hook ;;
*" coaming-probe "*) set -- "$STATIC" probe ;;
*" coaming-reaper "*) set -- "$STATIC" reaper ;;
*" coaming-shim "*) set -- "$TARGET" coaming-runc containerd-shim-coaming-v1 coaming ;;
*) echo "not built for the guest: $*" >&2; exit 1 ;;
esac
folder=$1
shift
for program; do echo "{\"executable\":\"$folder/$program\"}"; done
