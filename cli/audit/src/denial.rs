//! Denials: what an event says was refused, by which part of the kernel.

use serde::Serialize;

use crate::event::Event;
use crate::record::{Kind, Record, Stamp};

/// One access that was denied, or would have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// When.
    pub stamp: Stamp,
    /// The process, by its pid in the node's own pid namespace. Landlock's records have it only beside a
    /// record of the system call.
    pub pid: Option<u32>,
    /// Its parent then, where there is a record of the system call.
    pub parent: Option<u32>,
    /// The name that the process goes by, which it chooses.
    pub comm: Option<String>,
    /// Its program, as it sees it.
    pub exe: Option<String>,
    /// What was denied.
    pub subject: Subject,
}

/// What was denied, and by what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase", tag = "by", rename_all_fields = "camelCase")]
pub enum Subject {
    /// A system call, by a seccomp filter.
    Seccomp {
        /// `AUDIT_ARCH_*`.
        arch: u32,
        /// The call's number on that architecture.
        syscall: u32,
        /// What the filter answered.
        answer: Answer,
    },
    /// By Landlock.
    Landlock {
        /// The domain that denied it; 0 where that is of no account.
        #[serde(skip_serializing_if = "is_zero")]
        domain: u64,
        /// The rights that were missing: `fs.read_file`, `net.connect_tcp`, `scope.signal`, `ptrace`.
        blockers: Vec<String>,
        /// The file, as the process sees it.
        path: Option<String>,
        /// The TCP port.
        port: Option<u16>,
    },
    /// By AppArmor.
    AppArmor {
        /// The profile.
        profile: Option<String>,
        /// What was done: `open`, `mount`.
        operation: String,
        /// To what: a path, another process's profile, or a kind of socket.
        name: Option<String>,
        /// What the profile lacks: `r`, `w`, a capability's name.
        denied: Option<String>,
    },
    /// By SELinux.
    SeLinux {
        /// The process's context.
        source: String,
        /// The object's.
        target: String,
        /// Its class: `file`.
        class: String,
        /// What was denied: `read`, `open`.
        permissions: Vec<String>,
        /// The object's name or path.
        path: Option<String>,
    },
}

/// What a filter answers a call with (linux/seccomp.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// The process was killed.
    KillProcess,
    /// The thread was.
    KillThread,
    /// It got SIGSYS.
    Trap,
    /// It got an error; which one the record does not say.
    Errno,
    /// It was left to a tracer.
    Trace,
    /// It was left to an agent.
    Notify,
    /// It was made, and logged for an audited policy.
    Log,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(domain: &u64) -> bool {
    *domain == 0
}

impl Answer {
    fn of(code: u64) -> Option<Answer> {
        Some(match code {
            0x8000_0000 => Answer::KillProcess,
            0 => Answer::KillThread,
            0x0003_0000 => Answer::Trap,
            0x0005_0000 => Answer::Errno,
            0x7ff0_0000 => Answer::Trace,
            0x7fc0_0000 => Answer::Notify,
            0x7ffc_0000 => Answer::Log,
            _ => return None,
        })
    }
}

impl Event {
    /// The denials that the event tells of.
    #[must_use]
    pub fn denials(&self) -> Vec<Denial> {
        let call = self.of(Kind::Syscall).next();
        self.records.iter().filter_map(|record| denial(record, call)).collect()
    }
}

fn denial(record: &Record, call: Option<&Record>) -> Option<Denial> {
    let subject = match record.kind {
        Kind::Seccomp => seccomp(record)?,
        Kind::LandlockAccess => landlock(record)?,
        Kind::Avc | Kind::AppArmor if record.plain("apparmor").is_some() => app_armor(record)?,
        Kind::Avc => se_linux(record)?,
        _ => return None,
    };
    let of = |name: &str| record.name(name).or_else(|| call?.name(name));
    Some(Denial {
        stamp: record.stamp,
        pid: record.pid().or_else(|| call?.pid()),
        parent: call.and_then(|call| call.number("ppid")).filter(|pid| *pid > 0),
        comm: of("comm"),
        exe: of("exe"),
        subject,
    })
}

fn seccomp(record: &Record) -> Option<Subject> {
    Some(Subject::Seccomp {
        arch: u32::try_from(record.hex("arch")?).ok()?,
        syscall: record.number::<u32>("syscall")?,
        answer: Answer::of(record.hex("code")?)?,
    })
}

fn landlock(record: &Record) -> Option<Subject> {
    let blockers = record.plain("blockers")?;
    let known =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte);
    let blockers: Vec<String> = blockers.split(',').take(32).map(str::to_owned).collect();
    if blockers.iter().any(|name| name.is_empty() || !name.bytes().all(known)) {
        return None;
    }
    let port = if blockers.iter().any(|name| name == "net.bind_tcp") { "src" } else { "dest" };
    Some(Subject::Landlock {
        domain: record.hex("domain")?,
        blockers,
        path: record.name("path"),
        port: record.number(port),
    })
}

fn app_armor(record: &Record) -> Option<Subject> {
    // ALLOWED is a profile that complains, AUDIT a rule that audits.
    if record.plain("apparmor") != Some("DENIED") {
        return None;
    }
    Some(Subject::AppArmor {
        profile: record.name("profile"),
        operation: record.plain("operation")?.to_owned(),
        name: record.name("name").or_else(|| record.name("peer")).or_else(|| socket(record)),
        denied: record.plain("denied_mask").or_else(|| record.plain("capname")).map(str::to_owned),
    })
}

/// A socket has neither a name nor a peer: `inet stream`.
fn socket(record: &Record) -> Option<String> {
    let parts: Vec<&str> =
        ["family", "sock_type"].into_iter().filter_map(|part| record.plain(part)).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn se_linux(record: &Record) -> Option<Subject> {
    let (before, rest) = record.text().split_once('{')?;
    if !before.split_ascii_whitespace().eq(["avc:", "denied"])
        || record.plain("permissive") == Some("1")
    {
        return None;
    }
    let (permissions, _) = rest.split_once('}')?;
    Some(Subject::SeLinux {
        source: record.plain("scontext")?.to_owned(),
        target: record.plain("tcontext")?.to_owned(),
        class: record.plain("tclass")?.to_owned(),
        permissions: permissions.split_ascii_whitespace().take(32).map(str::to_owned).collect(),
        path: record.name("path").or_else(|| record.name("name")),
    })
}

#[cfg(test)]
mod tests;
