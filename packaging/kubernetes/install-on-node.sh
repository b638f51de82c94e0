#!/bin/sh
# What the DaemonSet's init container does: puts the programs of its image onto the node below $1, and tells the node's container managers of
# them. Again changes nothing. Nothing is restarted: the answer says which manager has to be.
set -eu

host=${1:?say where the node\'s root file system is}
installed=/usr/share/coaming/installed-files

# In the order of the list: the wrapper comes after what it calls. Each takes its place by a rename, so that what runs keeps its file.
grep '^/[^ ]*[^/]$' "$installed" | while read -r path; do
    if cmp -s "$path" "$host$path" && [ ! -L "$path" ]; then
        continue
    fi
    mkdir -p "$host${path%/*}"
    cp -a "$path" "$host$path.coaming-new"
    mv -f "$host$path.coaming-new" "$host$path"
done
cp "$installed" "$host$installed"

mkdir -p "$host/etc/coaming/policy.d" "$host/etc/coaming/break-glass.d"
[ -e "$host/etc/coaming/config.toml" ] || cp -a /etc/coaming/config.toml "$host/etc/coaming/config.toml"

exec coaming install --root "$host"
