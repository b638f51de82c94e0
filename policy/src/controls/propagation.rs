//! How mounts and unmounts travel between mount namespaces (mount_namespaces(7), shared subtrees).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// A propagation, by the name that the OCI spec gives it.
///
/// `shared` passes mounts both ways (Kubernetes `Bidirectional`), `slave` from the host into the
/// container (`HostToContainer`); `private` and `unbindable` pass none (`None`). The forms with `r`
/// are for a mount and everything below it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Passes none.
    Private,
    /// Passes none, everything below included.
    Rprivate,
    /// Passes from the host to the container.
    Slave,
    /// Passes from the host to the container, everything below included.
    Rslave,
    /// Passes both ways.
    Shared,
    /// Passes both ways, everything below included.
    Rshared,
    /// Passes none and cannot be bind-mounted elsewhere.
    Unbindable,
    /// Passes none and cannot be bind-mounted elsewhere, everything below included.
    Runbindable,
}

use Propagation::{Private, Rprivate, Rshared, Rslave, Runbindable, Shared, Slave, Unbindable};

impl Propagation {
    /// The allowed propagation that is nearest to this one and passes no more than it.
    pub fn lowered(self, allow: &BTreeSet<Propagation>) -> Propagation {
        let candidates: &[Propagation] = match self {
            Shared => &[Shared, Slave, Private],
            Rshared => &[Rshared, Rslave, Rprivate],
            Slave => &[Slave, Private],
            Rslave => &[Rslave, Rprivate],
            Private | Rprivate | Unbindable | Runbindable => return self,
        };
        candidates.iter().copied().find(|candidate| candidate.is_allowed(allow)).unwrap_or(Rprivate)
    }

    /// Whether `allow` allows it. What passes nothing needs no permission.
    pub fn is_allowed(self, allow: &BTreeSet<Propagation>) -> bool {
        !matches!(self, Shared | Rshared | Slave | Rslave) || allow.contains(&self)
    }

    /// The OCI name.
    pub fn name(self) -> &'static str {
        match self {
            Private => "private",
            Rprivate => "rprivate",
            Slave => "slave",
            Rslave => "rslave",
            Shared => "shared",
            Rshared => "rshared",
            Unbindable => "unbindable",
            Runbindable => "runbindable",
        }
    }
}

/// The set with what passes less than its members: whoever may pass mounts both ways may pass them one
/// way. Only closed sets intersect to what both allow.
pub(super) fn closed(allow: impl IntoIterator<Item = Propagation>) -> BTreeSet<Propagation> {
    allow
        .into_iter()
        .flat_map(|propagation| match propagation {
            Shared => vec![Shared, Slave],
            Rshared => vec![Rshared, Rslave],
            other => vec![other],
        })
        .collect()
}

/// Reads a list into a [`closed`] set.
pub(super) fn deserialize_closed<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeSet<Propagation>, D::Error> {
    BTreeSet::deserialize(deserializer).map(|allow: BTreeSet<Propagation>| closed(allow))
}

/// The same where the list may be left out.
pub(super) fn deserialize_maybe_closed<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeSet<Propagation>>, D::Error> {
    Option::deserialize(deserializer).map(|allow: Option<BTreeSet<Propagation>>| allow.map(closed))
}

impl FromStr for Propagation {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        // Both runtimes take the names in lower case only (runc specconv, mountPropagationMapping;
        // crun src/libcrun/mount_flags.perf).
        [Private, Rprivate, Slave, Rslave, Shared, Rshared, Unbindable, Runbindable]
            .into_iter()
            .find(|propagation| propagation.name() == name)
            .ok_or(())
    }
}

impl fmt::Display for Propagation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What is allowed, in words.
pub(super) fn in_words(allow: &BTreeSet<Propagation>) -> String {
    let passing: Vec<&str> = allow
        .iter()
        .filter(|propagation| !propagation.is_allowed(&BTreeSet::new()))
        .map(|propagation| propagation.name())
        .collect();
    if passing.is_empty() {
        "private".to_owned()
    } else {
        format!("private, {}", passing.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowers_to_the_nearest_that_passes_no_more() {
        assert_eq!(Rshared.lowered(&[Rslave].into()), Rslave);
        assert_eq!(Rshared.lowered(&[Slave].into()), Rprivate);
        assert_eq!(Shared.lowered(&[Rshared].into()), Private);
        assert_eq!(Unbindable.lowered(&[].into()), Unbindable);
        assert_eq!(closed([Rshared]), [Rslave, Rshared].into());
        assert_eq!("rslave".parse(), Ok(Rslave));
        assert_eq!("RSLAVE".parse::<Propagation>(), Err(()));
    }
}
