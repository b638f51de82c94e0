//! Types of processes that are known not to confine them.

/// Types that confine nothing, or that are the node's own programs, which do what containers must not:
/// those of container-selinux (`container.te`), of refpolicy's `container`, `docker`, `podman`, `crio` and
/// `kubernetes` modules, and of the base policy. Aliases are types too. `container_engine_t`, which the Pod
/// Security Standards allow, confines.
const PRIVILEGED: [&str; 26] = [
    "spc_t",
    "spc_user_t",
    "container_runtime_t",
    "container_runtime_user_t",
    "docker_t",
    "dockerd_t",
    "dockerd_user_t",
    "dockerc_t",
    "dockerc_user_t",
    "podman_t",
    "podman_user_t",
    "crio_t",
    "conmon_t",
    "rootlesskit_t",
    "kubelet_t",
    "kubeadm_t",
    "kubectl_t",
    "kernel_t",
    "init_t",
    "initrc_t",
    "sysadm_t",
    "secadm_t",
    "systemd_nspawn_t",
    "virtd_t",
    "virtd_lxc_t",
    "rpm_script_t",
];

/// Whether processes of a type are known not to be confined. Of a type that nobody here knows, only the
/// node's kernel can tell.
pub(super) fn is_privileged(kind: &str) -> bool {
    PRIVILEGED.contains(&kind) || kind.starts_with("unconfined_")
}
