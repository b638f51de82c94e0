//! One record: its type, when and of which event it is, and its fields.

use serde::Serialize;

use crate::field::{self, Value};

/// The longest text that is read, in bytes: `MAX_AUDIT_MESSAGE_LENGTH` of linux/audit.h is 8970, and a daemon may
/// append names.
pub(crate) const MAX_TEXT: usize = 16 * 1024;

/// Types of records that are read (include/uapi/linux/audit.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `AUDIT_SYSCALL`, 1300: the call in which the other records of the event came about.
    Syscall,
    /// `AUDIT_EOE`, 1320: the event is whole.
    EndOfEvent,
    /// `AUDIT_SECCOMP`, 1326.
    Seccomp,
    /// `AUDIT_AVC`, 1400: of SELinux, and of AppArmor.
    Avc,
    /// `AUDIT_LANDLOCK_ACCESS`, 1423.
    LandlockAccess,
    /// `AUDIT_LANDLOCK_DOMAIN`, 1424.
    LandlockDomain,
    /// `AUDIT_APPARMOR_DENIED`, 1503, of kernels with AppArmor's own types.
    AppArmor,
}

const KINDS: [(u16, &str, Kind); 8] = [
    (1300, "SYSCALL", Kind::Syscall),
    (1320, "EOE", Kind::EndOfEvent),
    (1326, "SECCOMP", Kind::Seccomp),
    (1400, "AVC", Kind::Avc),
    (1423, "LANDLOCK_ACCESS", Kind::LandlockAccess),
    (1424, "LANDLOCK_DOMAIN", Kind::LandlockDomain),
    (1500, "APPARMOR", Kind::AppArmor),
    (1503, "APPARMOR_DENIED", Kind::AppArmor),
];

impl Kind {
    pub(crate) fn of_number(number: u16) -> Option<Kind> {
        KINDS.iter().find(|(known, ..)| *known == number).map(|(.., kind)| *kind)
    }

    /// By the name that audit(8)'s daemon writes, or by number where it knows none.
    pub(crate) fn of_name(name: &str) -> Option<Kind> {
        let unknown = name.strip_prefix("UNKNOWN[").and_then(|rest| rest.strip_suffix(']'));
        match unknown {
            Some(number) => Kind::of_number(number.parse().ok()?),
            None => KINDS.iter().find(|(_, known, _)| *known == name).map(|(.., kind)| *kind),
        }
    }
}

/// When an event was, and its number since the node started. All records of an event have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stamp {
    /// Milliseconds since 1970 (UTC).
    pub millis: u64,
    /// The event's number.
    pub serial: u64,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its type.
    pub kind: Kind,
    /// Its event.
    pub stamp: Stamp,
    text: String,
    fields: Vec<(String, Value)>,
}

impl Record {
    /// `audit(SECONDS.MILLIS:SERIAL): FIELDS`.
    pub(crate) fn read(kind: Kind, text: &str) -> Option<Record> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let (stamp, text) = text.strip_prefix("audit(")?.split_once("):")?;
        Some(Record {
            kind,
            stamp: Stamp::read(stamp)?,
            text: text.to_owned(),
            fields: field::read(text),
        })
    }

    /// The text after the stamp.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The first field of this name.
    fn value(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    pub(crate) fn plain(&self, name: &str) -> Option<&str> {
        self.value(name).map(Value::plain)
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.plain(name)?.parse().ok()
    }

    pub(crate) fn hex(&self, name: &str) -> Option<u64> {
        let text = self.plain(name)?;
        u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
    }

    pub(crate) fn name(&self, name: &str) -> Option<String> {
        self.value(name)?.untrusted()
    }

    /// The process that the record is of.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.number("pid").filter(|pid| *pid > 0)
    }
}

impl Stamp {
    fn read(text: &str) -> Option<Stamp> {
        let digits = |text: &str, longest: usize| -> Option<u64> {
            let sound = (1..=longest).contains(&text.len());
            let sound = sound && text.bytes().all(|byte| byte.is_ascii_digit());
            sound.then(|| text.parse().ok()).flatten()
        };
        let (time, serial) = text.split_once(':')?;
        let (seconds, millis) = time.split_once('.')?;
        if millis.len() != 3 {
            return None;
        }
        let millis = digits(seconds, 12)? * 1000 + digits(millis, 3)?;
        Some(Stamp { millis, serial: digits(serial, 19)? })
    }
}
