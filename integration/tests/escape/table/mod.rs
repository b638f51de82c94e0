//! The table: what each control forbids, and how it shows.
//!
//! Single controls are shown above the floor `node`, which denies next to nothing, so that what fails, fails by them;
//! the floor `baseline` is shown by itself, against containers that ask for all that they can.

mod confinement;
mod floors;
mod shape;
mod surface;

use crate::case::Group;

/// All of it.
pub(crate) fn groups() -> impl Iterator<Item = &'static Group> {
    [surface::GROUPS, confinement::GROUPS, shape::GROUPS, floors::GROUPS].into_iter().flatten()
}
