//! Who runs this program: root, or an ordinary user, who owns his containers and could start them without coaming.
//!
//! The kernel says it, and nothing that a caller could set: the effective uid, the user namespace's map, and whose the
//! files are that nobody can give away. In the first user namespace root is uid 0. In another, uid 0 may be an ordinary
//! user outside (rootless Podman and Docker), or the root of a machine that is itself in a user namespace. Who is
//! root is never taken for a user, whatever namespaces he made: what is not clear is refused.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::DocumentError;

/// What the kernel writes for the first user namespace (user_namespaces(7)).
const WHOLE: Extent = Extent { inside: 0, outside: 0, length: u32::MAX };
/// The most lines that a map has (user_namespaces(7)).
const MAX_EXTENTS: usize = 340;

/// Who runs this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Root of this machine.
    Root,
    /// An ordinary user.
    User(User),
}

/// An ordinary user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// His uid on the machine; within his user namespace he may be another.
    pub uid: u32,
    /// The uid that the machine's root has in his eyes. Within his user namespace it is the overflow uid, which all have
    /// that are not mapped: whose a file is of these cannot be told.
    root: u32,
}

impl Caller {
    /// Whoever runs this process.
    ///
    /// # Errors
    /// [`DocumentError::Untrusted`] where it cannot be told: a uid that the user namespace does not map, or a root who
    /// goes by another uid there.
    pub fn of_this_process() -> Result<Caller, DocumentError> {
        static CALLER: OnceLock<Result<Caller, String>> = OnceLock::new();
        let caller = CALLER.get_or_init(|| View::now().and_then(|view| view.caller()));
        caller.clone().map_err(|problem| DocumentError::Untrusted {
            path: "/proc/self/uid_map".to_owned(),
            problem,
        })
    }

    /// The user, where it is one.
    #[must_use]
    pub fn user(self) -> Option<User> {
        match self {
            Caller::Root => None,
            Caller::User(user) => Some(user),
        }
    }
}

impl User {
    /// The folder of his that lives as long as he is logged in (pam_systemd(8)): by his uid, and not by a variable.
    #[must_use]
    pub fn runtime_directory(self) -> PathBuf {
        Path::new("/run/user").join(self.uid.to_string())
    }
}

/// Whether files of this uid are root's.
pub(crate) fn is_root(uid: u32) -> bool {
    match Caller::of_this_process() {
        Ok(Caller::User(user)) => uid == user.root || uid == 0,
        _ => uid == 0,
    }
}

/// A line of uid_map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    inside: u32,
    outside: u32,
    length: u32,
}

/// What the kernel shows a process of itself.
#[derive(Debug, Clone)]
struct View {
    /// The effective uid.
    uid: u32,
    map: Vec<Extent>,
    /// What uids are shown as that are not mapped.
    overflow: u32,
    /// The owner of /proc/sys/kernel: of the first namespace's uid 0, in whatever namespace one is.
    first_root: u32,
    /// The owner of `/`.
    tree: u32,
}

impl View {
    fn now() -> Result<View, String> {
        let text = match fs::read_to_string("/proc/self/uid_map") {
            Ok(text) => text,
            // A kernel without user namespaces has the first one alone.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "0 0 4294967295".into(),
            Err(error) => return Err(format!("cannot be read: {error}")),
        };
        let map = parse(&text).ok_or_else(|| format!("is not understood: {text:?}"))?;
        let uid = own_uid()?;
        if map == [WHOLE] {
            return Ok(View { uid, map, overflow: 0, first_root: 0, tree: 0 });
        }
        let owner = |path: &str| {
            fs::symlink_metadata(path).map(|meta| meta.uid()).map_err(|error| {
                format!("within a user namespace, who is root is told by {path}: {error}")
            })
        };
        let overflow = fs::read_to_string("/proc/sys/kernel/overflowuid")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .ok_or("within a user namespace, /proc/sys/kernel/overflowuid cannot be read")?;
        Ok(View { uid, map, overflow, first_root: owner("/proc/sys/kernel")?, tree: owner("/")? })
    }

    fn caller(&self) -> Result<Caller, String> {
        let View { uid, overflow, first_root, .. } = *self;
        if self.map == [WHOLE] {
            return Ok(match uid {
                0 => Caller::Root,
                uid => Caller::User(User { uid, root: 0 }),
            });
        }
        let outside = self.map.iter().find_map(|extent| {
            let distance = uid.checked_sub(extent.inside)?;
            (distance < extent.length).then(|| extent.outside.checked_add(distance))?
        });
        // A root who entered a namespace that does not map him looks like this.
        let outside = outside.filter(|_| uid != overflow).ok_or_else(|| {
            format!("who calls cannot be told: uid {uid} is not mapped in this user namespace")
        })?;
        if first_root == uid && first_root != overflow || outside == 0 {
            return match uid {
                0 => Ok(Caller::Root),
                uid => Err(format!(
                    "the machine's root is uid {uid} in this user namespace; map uid 0 to 0"
                )),
            };
        }
        // A machine, or a container that is one, within a user namespace: its files are its own root's.
        if self.tree == 0 {
            return Ok(match uid {
                0 => Caller::Root,
                uid => Caller::User(User { uid, root: 0 }),
            });
        }
        Ok(Caller::User(User { uid: outside, root: first_root }))
    }
}

/// The effective uid, as field 2 of `Uid:` in /proc/self/status has it (proc_pid_status(5)).
fn own_uid() -> Result<u32, String> {
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|error| format!("/proc/self/status cannot be read: {error}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .ok_or_else(|| "/proc/self/status tells no uid".to_owned())
}

fn parse(text: &str) -> Option<Vec<Extent>> {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let extent = Extent {
            inside: numbers.next()?.ok()?,
            outside: numbers.next()?.ok()?,
            length: numbers.next()?.ok()?,
        };
        numbers.next().is_none().then_some(extent)
    };
    let map: Vec<Extent> = text.lines().take(MAX_EXTENTS + 1).map(line).collect::<Option<_>>()?;
    (!map.is_empty() && map.len() <= MAX_EXTENTS).then_some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(uid: u32, map: &str, first_root: u32, tree: u32) -> Result<Caller, String> {
        let map = parse(map).unwrap();
        View { uid, map, overflow: 65534, first_root, tree }.caller()
    }

    fn user(uid: u32, root: u32) -> Result<Caller, String> {
        Ok(Caller::User(User { uid, root }))
    }

    const FIRST: &str = "         0          0 4294967295\n";
    const ROOTLESS: &str = "0 1000 1\n1 100000 65536\n";

    #[test]
    fn in_the_first_namespace_the_uid_says_it() {
        assert_eq!(seen(0, FIRST, 0, 0), Ok(Caller::Root));
        assert_eq!(seen(1000, FIRST, 0, 0), user(1000, 0));
    }

    #[test]
    fn a_users_namespace_leads_back_to_his_uid() {
        assert_eq!(seen(0, ROOTLESS, 65534, 65534), user(1000, 65534));
        assert_eq!(seen(7, ROOTLESS, 65534, 65534), user(100_006, 65534));
        assert_eq!(seen(0, "0 1000 1", 65534, 65534), user(1000, 65534));
    }

    #[test]
    fn root_is_never_a_user() {
        // Mapped as himself, alone or with others; and in a namespace within one where he was called otherwise.
        assert_eq!(seen(0, "0 0 1", 0, 0), Ok(Caller::Root));
        assert_eq!(seen(0, "0 0 1\n1 1000 1", 0, 65534), Ok(Caller::Root));
        assert_eq!(seen(0, "0 7 1", 0, 65534), Ok(Caller::Root));
        // Under another name, or none.
        assert!(seen(7, "7 0 1", 7, 7).unwrap_err().contains("uid 7"));
        assert!(seen(65534, ROOTLESS, 65534, 65534).unwrap_err().contains("not mapped"));
        assert!(seen(65534, "0 1000 1", 65534, 65534).is_err());
        assert!(seen(5, "0 1000 1", 65534, 65534).is_err());
        // As it looks from a namespace that a user made within his own: no user that is known.
        assert_eq!(seen(0, "0 0 1", 65534, 65534), Ok(Caller::Root));
    }

    #[test]
    fn a_machine_within_a_user_namespace_has_a_root_of_its_own() {
        assert_eq!(seen(0, "0 100000 65536", 65534, 0), Ok(Caller::Root));
        assert_eq!(seen(1000, "0 100000 65536", 65534, 0), user(1000, 0));
    }

    #[test]
    fn what_is_no_map_is_none() {
        for text in ["", "0 0", "0 0 1 2", "a b c", "0 0 -1"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&"0 0 1\n".repeat(341)), None);
    }

    #[test]
    fn the_folder_is_named_by_the_uid() {
        let User { uid, root } = User { uid: 1000, root: 65534 };
        assert_eq!(User { uid, root }.runtime_directory(), Path::new("/run/user/1000"));
    }
}
