# shellcheck shell=sh
# What the DaemonSet's init container does: puts the programs of its image onto the node below $1, and tells the node's container managers of
# them. Again changes nothing. Nothing is restarted: the answer says which manager has to be. $2 is where the image is, / by default.
set -eu

host=${1:?say where the root file system of the node is}
image=${2:-}
installed=/usr/share/coaming/installed-files

there() {
    if [ -L "$image$1" ]; then
        [ "$(readlink "$image$1")" = "$(readlink "$host$1")" ]
    else
        [ ! -L "$host$1" ] && cmp -s "$image$1" "$host$1"
    fi
}

# Each takes its place by a rename, so that what runs keeps its file.
put() {
    mkdir -p "$host${1%/*}"
    rm -f "$host$1.coaming-new"
    cp -a "$image$1" "$host$1.coaming-new"
    mv -f "$host$1.coaming-new" "$host$1"
}

# In the order of the list: the wrapper comes after what it calls. Folders end with a slash.
grep '^/.*[^/]$' "$image$installed" | while read -r path; do
    there "$path" || put "$path"
done
there "$installed" || put "$installed"

mkdir -p "$host/etc/coaming/policy.d" "$host/etc/coaming/break-glass.d"
[ -e "$host/etc/coaming/config.toml" ] || put /etc/coaming/config.toml

exec coaming install --root "$host"
