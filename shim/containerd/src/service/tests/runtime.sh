#!/bin/sh
# A runtime by runc's command line. The bundle is its working directory; what a test wants differently it puts into
# `on-VERB`, which is read before the verb is carried out.
set -u
log=
while [ $# -gt 0 ]; do
    case $1 in
    --root | --log-format) shift 2 ;;
    --log) log=$2; shift 2 ;;
    --systemd-cgroup) shift ;;
    *) break ;;
    esac
done
verb=$1
echo "$*" >>calls
shift

fail() {
    printf '{"level":"error","msg":"%s","time":"now"}\n' "$1" >>"$log"
    echo "$1" >&2
    exit 1
}

pid_file= process= all= force=
while [ $# -gt 0 ]; do
    case $1 in
    --bundle | --console-socket | --format | --image-path | --work-path) shift 2 ;;
    --pid-file) pid_file=$2; shift 2 ;;
    --process) process=$2; shift 2 ;;
    --all) all=1; shift ;;
    --force) force=1; shift ;;
    --*) shift ;;
    *) break ;;
    esac
done

# A child of the subreaper, not of this script, whose shell might reap it: the one that starts it ends at once.
run() {
    rm -f "$pid_file"
    (sh -c 'echo $$ >>pids; printf %s $$ >"$0.new"; mv "$0.new" "$0"; exec "$@"' "$pid_file" "$@" &)
    until [ -e "$pid_file" ]; do sleep 0.01; done
}

if [ -e "on-$verb" ]; then
    . "./on-$verb"
fi

case $verb in
create)
    run sh -c 'until [ -e started ]; do sleep 0.02; done; exec sh ./init'
    ;;
start)
    touch started
    ;;
exec)
    command=$(sed -n 's/.*"command":"\([^"]*\)".*/\1/p' "$process")
    run sh -c "$command"
    ;;
kill)
    if [ -n "$all" ]; then
        while read -r pid; do kill -"$2" "$pid" 2>/dev/null; done <pids
    else
        kill -"$2" "$(cat init.pid)" 2>/dev/null || fail "container not running"
    fi
    ;;
delete)
    # What waits for its start is ended (runc, delete.go).
    [ -e started ] || kill -9 "$(cat init.pid)" 2>/dev/null
    [ -e started ] && kill -0 "$(cat init.pid)" 2>/dev/null && [ -z "$force" ] && fail "cannot delete container that is not stopped: running"
    touch deleted
    ;;
ps)
    printf '['
    comma=
    while read -r pid; do
        kill -0 "$pid" 2>/dev/null && printf '%s%s' "$comma" "$pid" && comma=,
    done <pids
    printf ']'
    ;;
update)
    cat >resources
    ;;
esac
exit 0
