//! Waivers of two sets: what may be waived in the new one only where it was in the old one.

use super::scope::Scope;
use crate::document::{Moment, WaiverDocument};

/// A waiver of a set.
#[derive(Debug)]
pub(super) struct Waiver<'a> {
    pub(super) file: &'a str,
    pub(super) document: &'a WaiverDocument,
    pub(super) scope: Scope,
}

/// A control as a waiver sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waivable<'a> {
    pub(super) policy: &'a str,
    pub(super) built_in: bool,
    /// The field in the policy, `spec.landlock`.
    pub(super) field: &'a str,
}

impl<'a> Waiver<'a> {
    pub(super) fn of(file: &'a str, document: &'a WaiverDocument) -> Waiver<'a> {
        Waiver { file, document, scope: Scope::of(&document.spec.selector.value) }
    }

    pub(super) fn name(&self) -> &'a str {
        &self.document.metadata.value.name
    }

    /// Whether it is about the control: as [`WaiverDocument::take_from`] decides.
    fn waives(&self, what: Waivable<'_>) -> bool {
        let spec = &self.document.spec;
        let named = match &spec.policies {
            Some(policies) => policies.contains(what.policy),
            None => !what.built_in,
        };
        let control = what.field.strip_prefix("spec.");
        named && control.is_some_and(|control| spec.waives.value.contains(control))
    }

    /// The moments at which it counts: from the first, before the second.
    pub(super) fn period(&self) -> (Moment, Moment) {
        let begins = self.document.spec.starts.as_ref().map_or(Moment(0), |starts| starts.value);
        (begins, self.document.end())
    }

    /// What it says, in words.
    pub(super) fn in_words(&self) -> String {
        let spec = &self.document.spec;
        let waives: Vec<&str> = spec.waives.value.iter().map(String::as_str).collect();
        let of = match &spec.policies {
            Some(policies) => policies.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
            None => "every policy".to_owned(),
        };
        let (begins, ends) = self.period();
        let begins = match begins {
            Moment(0) => String::new(),
            begins => format!(" from {begins}"),
        };
        format!(
            "waives {} of {of} for {}{begins} until {ends}",
            waives.join(", "),
            self.scope.in_words()
        )
    }
}

/// The first of the new waivers that may waive `new` for some container of `part`, at some moment at which
/// no old one waives `old` for it.
///
/// A waiver counts for a container of which all annotations are within its selector, so that what two
/// waivers select together is more than what each does; an old one is taken only if it selects by itself
/// all that the new one does.
pub(super) fn beyond(
    old_waivers: &[Waiver<'_>],
    old: Waivable<'_>,
    new_waivers: &[Waiver<'_>],
    new: Waivable<'_>,
    part: &Scope,
) -> Option<usize> {
    new_waivers.iter().position(|waiver| {
        let (begins, ends) = waiver.period();
        if begins >= ends || !waiver.waives(new) || waiver.scope.is_apart_from(part) {
            return false;
        }
        let mut known: Vec<(Moment, Moment)> = old_waivers
            .iter()
            .filter(|known| known.waives(old) && known.scope.includes(&waiver.scope))
            .map(Waiver::period)
            .collect();
        known.sort();
        // The moment up to which everything is waived already.
        let mut reached = begins;
        for (begins, ends) in known {
            if begins <= reached {
                reached = reached.max(ends);
            }
        }
        reached < ends
    })
}
