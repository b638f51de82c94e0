//! The launch plan: what happens inside the container in the last instant before the workload's
//! execve, and where the launcher stands in the spec.
//!
//! The launcher is used where there are Landlock layers, and then it loads the seccomp filter too,
//! compiled ahead of time, so that the runtime need not. Without Landlock the runtime loads the exact
//! merged profile itself: between the launcher's execve and its filter, a process of the same
//! container could ptrace it and keep what the filter takes away (the runtime's own init is not
//! dumpable until it execs, and has no such gap). A process in a Landlock domain cannot trace one
//! outside it, so with Landlock the gap is closed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::controls::Rule;
use crate::controls::landlock::{Landlock, Layer};
use crate::decide::Door;
use crate::seccomp::{Profile, SeccompError, deny_profile};
use crate::spec::edit::Edit;
use crate::spec::view;
use crate::verdict::Reason;

/// Where the launcher and its plan are mounted: on the tmpfs that every container has at /dev, so
/// that nothing is created in an image or on a read-only root.
pub const PLACE: &str = "/dev/.coaming";
/// The launcher inside the container.
pub const LAUNCHER: &str = "/dev/.coaming/init";

/// What the launcher does; nothing where it is not used.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Launch {
    /// Landlock layers, applied in order.
    pub layers: Vec<Layer>,
    /// Seccomp profiles, loaded in order, each a filter of its own: the kernel takes the strictest
    /// answer. The last is the container's, taken out of the spec.
    pub filters: Vec<Profile>,
    /// Whether the kernel is to log what the layers deny. It changes nothing of what they deny.
    pub log_denials: bool,
}

impl Launch {
    /// Whether the launcher is used at all.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty() && self.filters.is_empty()
    }

    /// What the layers leave open, for the record.
    pub(crate) fn open_ends(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.layers.iter().any(Layer::restricts_tcp) {
            notes.push(
                "Landlock's rules over TCP ports do not cover UDP, raw sockets, or listen without \
                 a bind (a free port is taken)"
                    .to_owned(),
            );
        }
        notes
    }
}

/// Whether a mount's destination is the launcher's place or below it, however it is spelled.
pub fn is_reserved(destination: &str) -> bool {
    let mut parts: Vec<&str> = Vec::new();
    for part in destination.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    matches!(parts.as_slice(), ["dev", place, ..] if *place == ".coaming")
}

/// Splits an enforced request into what the runtime does and what the launcher does.
///
/// # Errors
/// A reason to refuse, where the launcher is needed and cannot be placed.
pub(crate) fn plan(
    door: Door,
    spec: Value,
    layers: BTreeSet<Layer>,
) -> Result<(Value, Launch), Box<Reason>> {
    if layers.is_empty() {
        return Ok((spec, Launch::default()));
    }
    let mut spec = spec;
    let refuse = |field: &str, asked: Value, allowed: String| {
        Box::new(Reason {
            control: Landlock::CONTROL.to_owned(),
            field: field.to_owned(),
            asked,
            allowed,
            policy: None,
        })
    };
    // A container that runs has the launcher's mounts or has not; an exec's request has no mounts.
    if door == Door::Create && !has_dev_tmpfs(&spec) {
        return Err(refuse(
            "mounts",
            Value::String("no tmpfs at /dev".to_owned()),
            format!("a tmpfs at /dev, on which the launcher is placed at {PLACE}"),
        ));
    }
    let unusable = |error: SeccompError| {
        refuse("linux.seccomp", Value::Null, format!("a profile that can be compiled: {error}"))
    };
    let mut filters = Vec::new();
    if layers.iter().any(Layer::restricts_tcp) {
        filters.push(tcp_beside_landlock().map_err(unusable)?);
    }
    if let Some(section) = view::at(&spec, "linux.seccomp") {
        filters.push(Profile::from_oci(section).map_err(unusable)?);
    }
    Edit::Remove("linux.seccomp".to_owned()).apply(&mut spec);
    Ok((spec, Launch { layers: layers.into_iter().collect(), filters, log_denials: false }))
}

/// Denies what carries TCP past Landlock's checks of bind and connect (measured on Linux 6.18): MPTCP
/// sockets (IPPROTO_MPTCP, 262), SMC sockets (AF_SMC, 43), which fall back to TCP, data sent with
/// MSG_FASTOPEN, which connects, and io_uring, which does all of these without the calls. A filter of its own: met with a profile that allows `socket` by its
/// family, the conditions on two arguments would multiply.
fn tcp_beside_landlock() -> Result<Profile, SeccompError> {
    let masked = |names: &[&str], index: u32, mask: u64, value: u64| {
        json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EACCES,
               "args": [{"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}]})
    };
    const INT: u64 = 0xffff_ffff;
    const MSG_FASTOPEN: u64 = 0x2000_0000;
    let architectures: Vec<&str> =
        deny_profile(&[], &[])?.architectures().iter().map(|arch| arch.oci()).collect();
    Profile::from_oci(&json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": architectures,
        "syscalls": [
            {"names": ["io_uring_enter", "io_uring_register", "io_uring_setup"],
             "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM},
            masked(&["socket"], 0, INT, 43),
            masked(&["socket"], 2, INT, 262),
            masked(&["sendto", "sendmmsg"], 3, MSG_FASTOPEN, MSG_FASTOPEN),
            masked(&["sendmsg"], 2, MSG_FASTOPEN, MSG_FASTOPEN),
        ],
    }))
}

fn has_dev_tmpfs(spec: &Value) -> bool {
    // The last mount at /dev is the one that shows.
    view::items(spec, "mounts")
        .iter()
        .rev()
        .find(|mount| {
            view::text(mount, "destination").is_some_and(|at| at.trim_end_matches('/') == "/dev")
        })
        .is_some_and(|mount| view::text(mount, "type") == Some("tmpfs"))
}

/// Puts the launcher into a spec: its two mounts and the process's arguments.
///
/// `directory` is the host folder that holds the plan and an empty file `init`; `binary` is the
/// launcher on the host.
pub fn install(spec: &mut Value, directory: &str, binary: &str, plan: &str) {
    let bind = |source: &str, destination: &str, options: &[&str]| json!({"destination": destination, "type": "bind", "source": source, "options": options});
    let mut mounts: Vec<Value> = view::items(spec, "mounts").to_vec();
    // noexec: /run is so on Debian, and in a user namespace the flag is locked (mount_namespaces(7)).
    mounts.push(bind(directory, PLACE, &["bind", "ro", "nosuid", "nodev", "noexec"]));
    mounts.push(bind(binary, LAUNCHER, &["bind", "ro", "nosuid", "nodev"]));
    Edit::Set("mounts".to_owned(), Value::Array(mounts)).apply(spec);
    wrap_arguments(spec, "process.args", plan);
}

/// Puts the launcher before a process's arguments; `field` is their place.
pub fn wrap_arguments(tree: &mut Value, field: &str, plan: &str) {
    let mut args = vec![json!(LAUNCHER), json!(plan)];
    args.extend(view::items(tree, field).iter().cloned());
    Edit::Set(field.to_owned(), Value::Array(args)).apply(tree);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::{Arch, Function, Reading};

    #[test]
    fn the_reserved_place_is_known_in_every_spelling() {
        for at in
            ["/dev/.coaming", "/dev//.coaming/", "dev/.coaming/init", "/x/../dev/./.coaming/a"]
        {
            assert!(is_reserved(at), "{at}");
        }
        for at in ["/dev", "/dev/.coaming2", "/mnt/dev/.coaming", "/"] {
            assert!(!is_reserved(at), "{at}");
        }
    }

    #[test]
    fn the_launcher_needs_the_topmost_dev_to_be_a_tmpfs() {
        let tmpfs = json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs"});
        let host = json!({"destination": "/dev/", "type": "bind", "source": "/dev"});
        assert!(has_dev_tmpfs(&json!({"mounts": [tmpfs]})));
        assert!(!has_dev_tmpfs(&json!({"mounts": [tmpfs, host]})));
        assert!(!has_dev_tmpfs(&json!({"mounts": []})));
    }

    #[test]
    fn tcp_beside_landlock_is_closed_and_plain_tcp_is_not() {
        let after = Function::of(&tcp_beside_landlock().unwrap(), Reading::Policy).unwrap();
        let socket = |args: [u64; 6]| after.eval(Arch::native(), "socket", args).is_refusal();
        assert!(socket([2, 1, 262, 0, 0, 0]) && socket([10, 1, 262, 0, 0, 0]));
        assert!(socket([43, 1, 0, 0, 0, 0]) && !socket([2, 1, 0, 0, 0, 0]));
        let send =
            |flags| after.eval(Arch::native(), "sendto", [3, 0, 0, flags, 0, 0]).is_refusal();
        assert!(after.always("io_uring_setup").is_some_and(|action| action.is_refusal()));
        assert!(send(0x2000_0000) && send(0x2000_4000) && !send(0x4000));
    }

    #[test]
    fn the_32_bit_way_around_the_flags_is_closed_too() {
        use crate::seccomp::{SeccompData, compile};
        if Arch::native() != Arch::X86_64 {
            return;
        }
        let program = compile(&tcp_beside_landlock().unwrap()).unwrap();
        // socketcall(2) passes the arguments behind a pointer: what is refused by its arguments
        // elsewhere is refused whole here.
        let socketcall = |call| {
            program.eval(&SeccompData {
                nr: 102,
                arch: Arch::X86.token(),
                instruction_pointer: 0,
                args: [call, 0, 0, 0, 0, 0],
            })
        };
        const ALLOW: u32 = 0x7fff_0000;
        let (socket, sendto, sendmsg, sendmmsg) = (1, 11, 16, 20);
        for call in [socket, sendto, sendmsg, sendmmsg] {
            assert_ne!(socketcall(call), ALLOW, "socketcall({call})");
        }
    }
}
