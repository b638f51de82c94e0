//! Whether one `match` is known to select whatever another does.

use std::collections::BTreeSet;

use super::{Globs, Match};

impl Match {
    /// Whether this is known to select every container, through every door, that the other selects.
    ///
    /// It goes by what is written: of two expressions, one may follow from the other without this being
    /// told.
    pub fn covers(&self, other: &Match) -> bool {
        let lists = self.lists().into_iter().zip(other.lists());
        let exemptions = self.exemptions().into_iter().zip(other.exemptions());
        self.container_types.is_superset(&other.container_types)
            && lists.into_iter().all(|((_, wide), (_, narrow))| within(wide, narrow))
            && exemptions.into_iter().all(|((_, wide, _), (_, narrow, _))| {
                // What the first exempts, the second must exempt too.
                wide.is_none_or(|wide| {
                    wide.is_empty() || within(narrow, Some(wide)) && narrow.is_some()
                })
            })
            && among(self.pod_uids.as_ref(), other.pod_uids.as_ref())
            && among(self.image_digests.as_ref(), other.image_digests.as_ref())
            && among(self.doors.as_ref(), other.doors.as_ref())
            && same(&self.user_namespace, &other.user_namespace)
            && same(&self.privileged, &other.privileged)
            && same(&self.host_network, &other.host_network)
            && same(&self.host_pid, &other.host_pid)
            && same(&self.host_ipc, &other.host_ipc)
            && same(&self.annotations, &other.annotations)
            && same(&self.labels, &other.labels)
            && same(&self.expression, &other.expression)
    }

    /// Whether there may be a container that it selects, as far as its lists tell.
    pub fn selects_any(&self) -> bool {
        let keyed = [&self.annotations, &self.labels];
        !self.container_types.is_empty()
            && !self.lists().into_iter().any(|(_, list)| list.is_some_and(Vec::is_empty))
            && !self.pod_uids.as_ref().is_some_and(BTreeSet::is_empty)
            && !self.image_digests.as_ref().is_some_and(BTreeSet::is_empty)
            && !self.doors.as_ref().is_some_and(BTreeSet::is_empty)
            && !keyed.into_iter().flatten().flat_map(|map| map.values()).any(Vec::is_empty)
    }
}

/// Whether every glob of the narrow list is covered by one of the wide.
fn within(wide: Globs<'_>, narrow: Globs<'_>) -> bool {
    match (wide, narrow) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => {
            narrow.iter().all(|narrow| wide.iter().any(|wide| wide.covers(narrow)))
        }
    }
}

fn among<T: Ord>(wide: Option<&BTreeSet<T>>, narrow: Option<&BTreeSet<T>>) -> bool {
    match (wide, narrow) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => wide.is_superset(narrow),
    }
}

fn same<T: PartialEq>(wide: &Option<T>, narrow: &Option<T>) -> bool {
    wide.is_none() || wide == narrow
}
