//! What an attempt says: the outcome, the error number behind it, and how it was told.

use serde_json::{Value, json};

use crate::errno::Errno;
use crate::sys;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The forbidden effect happened, or the kernel answered with what it says only after its permission check.
    Allowed,
    /// Refused.
    Denied,
    /// The attempting process was killed by a signal, as a seccomp filter does.
    Killed,
    /// The kernel or the container has no such thing. A filter that answers ENOSYS can look the same: compare with
    /// the same attempt without the policy.
    Unsupported,
    /// A precondition failed, so nothing can be said.
    Inconclusive,
}

/// An outcome with its evidence.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) errno: Option<Errno>,
    pub(crate) signal: Option<i32>,
    pub(crate) detail: String,
}

/// Why an attempt stopped before it could judge.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The arguments make no sense.
    Usage(String),
    /// Something needed beforehand was not there.
    Unclear(String),
}

/// What every attempt gives back.
pub(crate) type Judged = Result<Verdict, Stop>;

/// A verdict with the name of its attempt.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) attempt: &'static str,
    pub(crate) verdict: Verdict,
}

impl Verdict {
    pub(crate) fn allowed(detail: impl Into<String>) -> Verdict {
        Verdict { outcome: Outcome::Allowed, errno: None, signal: None, detail: detail.into() }
    }

    pub(crate) fn denied(errno: Option<Errno>, detail: impl Into<String>) -> Verdict {
        Verdict { outcome: Outcome::Denied, errno, signal: None, detail: detail.into() }
    }

    pub(crate) fn unsupported(errno: Option<Errno>, detail: impl Into<String>) -> Verdict {
        Verdict { outcome: Outcome::Unsupported, errno, signal: None, detail: detail.into() }
    }

    pub(crate) fn inconclusive(errno: Option<Errno>, detail: impl Into<String>) -> Verdict {
        Verdict { outcome: Outcome::Inconclusive, errno, signal: None, detail: detail.into() }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "outcome": self.outcome.name(),
            "errno": self.errno.map(|errno| errno.to_string()),
            "signal": self.signal.map(sys::signal_name),
            "detail": self.detail,
        })
    }
}

impl Report {
    pub(crate) fn to_json(&self) -> Value {
        let mut value = json!({ "attempt": self.attempt });
        if let (Some(into), Value::Object(from)) = (value.as_object_mut(), self.verdict.to_json()) {
            into.extend(from);
        }
        value
    }
}

impl Outcome {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Outcome::Allowed => "allowed",
            Outcome::Denied => "denied",
            Outcome::Killed => "killed",
            Outcome::Unsupported => "unsupported",
            Outcome::Inconclusive => "inconclusive",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Outcome> {
        [
            Outcome::Allowed,
            Outcome::Denied,
            Outcome::Killed,
            Outcome::Unsupported,
            Outcome::Inconclusive,
        ]
        .into_iter()
        .find(|outcome| outcome.name() == name)
    }
}

/// How the error numbers of one call are read; what no list holds is a denial.
#[derive(Clone, Copy, Default)]
pub(crate) struct Reading {
    /// Given by the kernel only after its permission check passed: the attempt was allowed.
    pub(crate) reached: &'static [i32],
    /// The thing attempted does not exist here. ENOSYS always counts, except under `since`.
    pub(crate) absent: &'static [i32],
    /// Says nothing about permission (a peer that refuses, a path that is there already).
    pub(crate) unclear: &'static [i32],
    /// The call exists since this kernel and cannot be configured away: from there on ENOSYS comes from a filter.
    pub(crate) since: Option<(u32, u32)>,
}

impl Reading {
    /// A call that every kernel has.
    pub(crate) const ALWAYS: Reading =
        Reading { reached: &[], absent: &[], unclear: &[], since: Some((0, 0)) };
    /// A call that a kernel may be built without.
    pub(crate) const OPTIONAL: Reading =
        Reading { reached: &[], absent: &[], unclear: &[], since: None };

    /// The verdict on `what`, a phrase such as "mount tmpfs on /tmp".
    pub(crate) fn judge<T>(&self, what: &str, result: Result<T, Errno>) -> Verdict {
        match result {
            Ok(_) => Verdict::allowed(what),
            Err(errno) => self.judge_errno(what, errno),
        }
    }

    pub(crate) fn judge_errno(&self, what: &str, errno: Errno) -> Verdict {
        let Errno(number) = errno;
        if self.reached.contains(&number) {
            let detail = format!("{what}: {errno}, which comes after the permission check");
            return Verdict { errno: Some(errno), ..Verdict::allowed(detail) };
        }
        if number == libc::ENOSYS {
            return match self.since {
                Some(since) if sys::kernel_version() >= since => Verdict::denied(
                    Some(errno),
                    format!("{what}: ENOSYS, though this kernel has the call: a filter answered"),
                ),
                _ => Verdict::unsupported(
                    Some(errno),
                    format!("{what}: ENOSYS, from the kernel or from a filter: compare with stock"),
                ),
            };
        }
        if self.absent.contains(&number) {
            return Verdict::unsupported(Some(errno), format!("{what}: {errno}, not there"));
        }
        if self.unclear.contains(&number) {
            let detail = format!("{what}: {errno}, which says nothing about permission");
            return Verdict::inconclusive(Some(errno), detail);
        }
        Verdict::denied(Some(errno), format!("{what}: {errno}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(reading: Reading, number: i32) -> Outcome {
        reading.judge_errno("x", Errno(number)).outcome
    }

    #[test]
    fn every_error_number_is_a_denial_unless_listed() {
        let reading = Reading {
            reached: &[libc::EINVAL],
            absent: &[libc::ENOENT],
            unclear: &[libc::ECONNREFUSED],
            since: None,
        };
        assert_eq!(outcome(reading, libc::EPERM), Outcome::Denied);
        assert_eq!(outcome(reading, libc::EINVAL), Outcome::Allowed);
        assert_eq!(outcome(reading, libc::ENOENT), Outcome::Unsupported);
        assert_eq!(outcome(reading, libc::ECONNREFUSED), Outcome::Inconclusive);
    }

    #[test]
    fn enosys_is_a_denial_only_where_the_kernel_must_have_the_call() {
        assert_eq!(outcome(Reading::ALWAYS, libc::ENOSYS), Outcome::Denied);
        assert_eq!(outcome(Reading::OPTIONAL, libc::ENOSYS), Outcome::Unsupported);
        let future = Reading { since: Some((9999, 0)), ..Reading::OPTIONAL };
        assert_eq!(outcome(future, libc::ENOSYS), Outcome::Unsupported);
    }
}
