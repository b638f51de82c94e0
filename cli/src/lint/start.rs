//! The system calls that a runtime makes between loading a container's filter and the workload's execve.
//!
//! Measured with runc 1.1.5, 1.1.15 and 1.3.6 and crun 1.8.1, 1.21 and 1.28 on Linux 6.18: the calls after
//! `seccomp(SECCOMP_SET_MODE_FILTER)` were read off with strace, each was then denied with EPERM, and those
//! are here without which no container was started by any version of the runtime. Both load the filter last where
//! `no_new_privs` is set, and before they change credentials where it is not, since it then needs
//! CAP_SYS_ADMIN (runc: libcontainer/standard_init_linux.go; crun: libcrun/container.c).

/// Calls that a runtime needs, and what comes of denying them.
pub(super) struct Need {
    pub(super) calls: &'static [&'static str],
    pub(super) because: &'static str,
}

/// runc closes descriptors and waits on its FIFO after the filter, whatever is set.
const RUNC: Need = Need {
    calls: &["openat", "close", "write", "fstatfs", "getdents64"],
    because: "runc makes these calls after it has loaded the filter, so that it starts no container to \
              which this applies; crun does without",
};

/// Without `no_new_privs`, runc finishes the container under the filter.
const RUNC_WITHOUT: Need = Need {
    calls: &[
        "read",
        "getppid",
        "fstat",
        "chdir",
        "getcwd",
        "capget",
        "setgroups",
        "setgid",
        "setuid",
    ],
    because: "runc makes these calls under the filter where no_new_privs is not set, and then starts no \
              container to which this applies; spec.noNewPrivileges: true has them made before",
};

/// Without `no_new_privs`, both change credentials under the filter.
const BOTH_WITHOUT: Need = Need {
    calls: &["capset", "prctl"],
    because: "runc and crun make these calls under the filter where no_new_privs is not set, and then start \
              no container to which this applies; spec.noNewPrivileges: true has them made before",
};

/// The same, with calls that crun alone makes.
const CRUN_WITHOUT: Need = Need {
    calls: &["setresuid", "setresgid", "rt_sigaction", "rt_sigprocmask"],
    because: "crun makes these calls under the filter where no_new_privs is not set, and then starts no \
              container to which this applies; spec.noNewPrivileges: true has them made before",
};

/// What is needed of a filter, where every container has `no_new_privs` or where one may be without.
pub(super) fn needs(no_new_privileges: bool) -> &'static [Need] {
    const ALL: [Need; 4] = [RUNC, RUNC_WITHOUT, BOTH_WITHOUT, CRUN_WITHOUT];
    const FEW: [Need; 1] = [RUNC];
    if no_new_privileges { &FEW } else { &ALL }
}
