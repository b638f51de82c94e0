//! What a function answers to one syscall of one architecture, for all arguments at once: the runtime's ENOSYS and the
//! fate of other architectures included.

use std::borrow::Cow;

use super::action::ENOSYS;
use super::function::Function;
use super::syscalls;
use super::table::Table;
use super::{Action, Arch};

/// A table that is there, or one made for the question.
pub(super) type Answers<'a> = Cow<'a, Table<Action>>;

impl Function {
    /// What a container sees.
    pub(super) fn answers(&self, arch: Arch, nr: u32) -> Answers<'_> {
        let listed = self.listed(arch, syscalls::name(nr, arch));
        let beyond = self.arches.contains(&arch) && self.is_beyond_number(arch, nr);
        match listed {
            Some(table) if beyond => {
                Cow::Owned(table.map(|action| action.min(Action::Errno(ENOSYS))))
            }
            Some(table) => table,
            None if beyond => constant(Action::Errno(ENOSYS)),
            None => constant(self.default),
        }
    }

    /// What counts when functions are compared: the runtime's ENOSYS above the highest named syscall stands for the
    /// default there, but what the profile lists above it is no more than ENOSYS.
    pub(super) fn bounds(&self, arch: Arch, name: &str) -> Answers<'_> {
        match self.listed(arch, Some(name)) {
            Some(table) if self.is_beyond(arch, name) => {
                Cow::Owned(table.map(|action| action.min(Action::Errno(ENOSYS))))
            }
            Some(table) => table,
            None => constant(self.default),
        }
    }

    /// What the profile says, without the runtime's ENOSYS. An architecture that is not covered has the strictest
    /// answer there is: [`Function::le`] takes its kill for that, whether it is of the thread or of the process.
    pub(super) fn says(&self, arch: Arch, name: &str) -> Answers<'_> {
        if !self.arches.contains(&arch) {
            return constant(Action::KillProcess);
        }
        self.listed(arch, Some(name)).unwrap_or_else(|| constant(self.default))
    }

    /// [`Self::answers`], with the strictest answer on architectures that are not covered.
    pub(super) fn answers_if_covered(&self, arch: Arch, nr: u32) -> Answers<'_> {
        if self.arches.contains(&arch) {
            self.answers(arch, nr)
        } else {
            constant(Action::KillProcess)
        }
    }

    /// `None` where the default applies.
    fn listed(&self, arch: Arch, name: Option<&str>) -> Option<Answers<'_>> {
        if !self.arches.contains(&arch) {
            // libseccomp's action for other architectures (SCMP_FLTATR_ACT_BADARCH).
            return Some(constant(Action::KillThread));
        }
        let call = self.calls.get(name?)?;
        Some(Cow::Borrowed(if arch.is_narrow() { &call.narrow } else { &call.wide }))
    }
}

fn constant<'a>(action: Action) -> Answers<'a> {
    Cow::Owned(Table::constant(action))
}
