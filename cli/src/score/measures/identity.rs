//! Who its processes are, and whether they can become more.

use coaming_policy::spec::view;

use super::Measured;
use crate::score::subject::Subject;

pub(crate) fn no_new_privileges(subject: &Subject) -> Measured {
    let set = view::flag(subject.spec(), "process.noNewPrivileges");
    Measured::open(!set, "not set", "set")
}

pub(crate) fn root(subject: &Subject) -> Measured {
    let uid = view::at(subject.spec(), "process.user.uid").and_then(|uid| uid.as_u64());
    Measured::open(uid.unwrap_or(0) == 0, "uid 0", "another user")
        .in_user_namespace(subject.has_user_namespace())
}

pub(crate) fn groups(subject: &Subject) -> Measured {
    let gid = view::at(subject.spec(), "process.user.gid").and_then(|gid| gid.as_u64());
    let further = view::items(subject.spec(), "process.user.additionalGids");
    let root = gid.unwrap_or(0) == 0 || further.iter().any(|gid| gid.as_u64() == Some(0));
    Measured::open(root, "gid 0", "other groups").in_user_namespace(subject.has_user_namespace())
}
