//! What is measured of a container. Every measure only falls when the container is confined further.

pub(super) mod capabilities;
pub(super) mod confinement;
pub(super) mod host;
pub(super) mod identity;
pub(super) mod seccomp;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Measured {
    /// How exposed it is, in per cent.
    pub(super) exposure: u32,
    /// Why, in words.
    pub(super) found: String,
}

impl Measured {
    pub(super) fn new(exposure: u32, found: impl Into<String>) -> Measured {
        Measured { exposure, found: found.into() }
    }

    /// All or nothing.
    pub(super) fn open(is: bool, open: &str, closed: &str) -> Measured {
        if is { Measured::new(100, open) } else { Measured::new(0, closed) }
    }

    /// As much as there is of a list; the first few are named.
    pub(super) fn part(found: &[&str], of: usize, none: &str) -> Measured {
        const NAMED: usize = 6;
        if found.is_empty() {
            return Measured::new(0, none);
        }
        let found_number = u32::try_from(found.len()).unwrap_or(u32::MAX);
        let of = u32::try_from(of).unwrap_or(u32::MAX);
        let exposure =
            found_number.saturating_mul(100).checked_div(of).unwrap_or(100).clamp(1, 100);
        let named = found.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let more = found.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        Measured::new(exposure, format!("{named}{more}"))
    }

    /// Less, where there is a user namespace: the kernel then grants it over what is the container's own.
    pub(super) fn in_user_namespace(self, is: bool) -> Measured {
        if !is || self.exposure == 0 {
            return self;
        }
        let found = format!("{}, within a user namespace", self.found);
        Measured::new(self.exposure * 3 / 10, found)
    }
}
