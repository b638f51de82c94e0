//! Where coaming's shim is known not to do as the stock one does, and why.

use coaming_integration::{Containerd, Runtime};

use crate::transcript::ABSENT;

/// One fact of one scenario.
pub(crate) struct Difference {
    pub(crate) scenario: &'static str,
    /// The fact's name, or [`WHOLE`].
    pub(crate) what: &'static str,
    pub(crate) stock: &'static str,
    pub(crate) ours: &'static str,
    /// Where it is so.
    pub(crate) on: fn(Containerd, Runtime) -> bool,
    pub(crate) why: &'static str,
}

/// All facts of a scenario: it goes another way from some point on.
pub(crate) const WHOLE: &str = "*";

pub(crate) const ALL: &[Difference] = &[
    Difference {
        scenario: "what-a-bundle-holds",
        what: "bundle holds address",
        stock: "100644",
        ours: "100600",
        on: |containerd, _| containerd != Containerd::V2,
        why: "a socket's address is nobody's business but root's; containerd reads it as root",
    },
    Difference {
        scenario: "what-a-bundle-holds",
        what: "bundle holds address",
        stock: ABSENT,
        ours: "100600",
        on: |containerd, _| containerd == Containerd::V2,
        why: "containerd 1.6 and 1.7 find a running shim again by it; the same shim serves all",
    },
    Difference {
        scenario: "created-and-deleted",
        what: WHOLE,
        stock: "",
        ours: "",
        on: everywhere,
        why: "the stock shim answers a status of 0 for what it has just killed, and tells of the end after the deletion, \
              before it, or never",
    },
    Difference {
        scenario: "exec-started-twice",
        what: WHOLE,
        stock: "",
        ours: "",
        on: |containerd, _| containerd != Containerd::V1_6,
        why: "the stock shim of these versions counts the exec's end twice, and dies of it",
    },
    Difference {
        scenario: "what-a-bundle-holds",
        what: "bundle holds log.json",
        stock: "100644",
        ours: ABSENT,
        on: everywhere,
        why: "what the runtime logged is read and removed with each call",
    },
    Difference {
        scenario: "a-spec-that-is-none",
        what: WHOLE,
        stock: "",
        ours: "",
        on: |containerd, _| containerd == Containerd::V2,
        why: "the stock shim starts, and containerd forgets it when it cannot read the spec itself; ours refuses to start",
    },
    Difference {
        scenario: "update-with-nonsense",
        what: "update",
        stock: "Unknown",
        ours: "InvalidArgument",
        on: everywhere,
        why: "the code for what it is",
    },
    deletes_what_runs("delete-while-running", "delete a"),
    deletes_what_runs("delete-while-paused", "delete a"),
    deletes_what_runs("exec-deleted-while-running", "delete a x"),
    exits_last("processes-of-the-node", "last exit of a"),
    exits_last("pod-sharing-processes", "last exit of b"),
    one_stream("output-alone"),
    one_stream("errors-alone"),
    leaves_its_socket("shim-killed"),
    leaves_its_socket("shim-killed-with-an-exec"),
];

fn everywhere(_: Containerd, _: Runtime) -> bool {
    true
}

const fn deletes_what_runs(scenario: &'static str, what: &'static str) -> Difference {
    Difference {
        scenario,
        what,
        stock: "Unknown",
        ours: "FailedPrecondition",
        on: everywhere,
        why: "the code for what it is; nobody reads the text of an unknown error",
    }
}

/// containerd 1.6.20 is older than the rule that a container's own exit is told last (containerd 1.7.19, 2.0).
const fn exits_last(scenario: &'static str, what: &'static str) -> Difference {
    Difference {
        scenario,
        what,
        stock: "an exec's",
        ours: "init's",
        on: |containerd, _| containerd == Containerd::V1_6,
        why: "the rule of later versions holds on every version",
    }
}

const fn one_stream(scenario: &'static str) -> Difference {
    Difference {
        scenario,
        what: WHOLE,
        stock: "",
        ours: "",
        on: everywhere,
        why: "the stock shim opens the empty path of the other output, and fails",
    }
}

const fn leaves_its_socket(scenario: &'static str) -> Difference {
    Difference {
        scenario,
        what: "left",
        stock: "socket",
        ours: "",
        on: everywhere,
        why: "the delete verb removes the socket of the shim that it cleans up after",
    }
}
