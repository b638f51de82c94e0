# The life cycle on pure cgroup v2, beside the stock shim: metrics, exhausted memory, pauses, limits, and that no cgroup
# stays. With runc: crun (1.21), under the stock shim, leaves cgroups behind there.
. ./tests
exec "$lifecycle" --nocapture containerd_2
