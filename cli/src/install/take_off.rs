//! `coaming install --uninstall`: every file as it was before, and nothing of ours left.

use super::kept::{Entry, Kept, digest};
use super::report::{Done, FileDone, State};
use super::tree::Tree;
use crate::doctor::handlers::Manager;

/// Takes away what was written for these managers.
///
/// # Errors
/// The record cannot be kept in order, in words.
pub(super) fn take_off(
    tree: &Tree,
    kept: &mut Kept,
    managers: &[Manager],
    dry_run: bool,
) -> Result<Vec<Done>, String> {
    let mut all: Vec<Done> = Vec::new();
    let entries: Vec<Entry> =
        kept.files.iter().filter(|entry| managers.contains(&entry.manager)).cloned().collect();
    // The last first: a file that others import goes after that which imports it.
    for entry in entries.iter().rev() {
        let at = all.iter().position(|done| done.manager == entry.manager).unwrap_or_else(|| {
            all.push(Done::new(entry.manager, State::Removed));
            all.len().saturating_sub(1)
        });
        let Some(done) = all.get_mut(at) else { continue };
        match one(tree, entry, dry_run) {
            Ok(file) => {
                done.files.push(file);
                if !dry_run {
                    kept.forget(tree, &entry.path)?;
                }
            }
            Err(why) => {
                done.state = State::Refused;
                done.reasons.push(why);
            }
        }
    }
    if !dry_run {
        kept.settle(tree)?;
    }
    Ok(all)
}

fn one(tree: &Tree, entry: &Entry, dry_run: bool) -> Result<FileDone, String> {
    let path = entry.path.as_str();
    let present = tree.read_own(path)?;
    let is =
        |digest_of: &str| present.as_ref().is_some_and(|seen| digest(&seen.bytes) == digest_of);
    let Some(original) = &entry.original else {
        return match &present {
            None => Ok(FileDone::new(path, "gone already", None, None)),
            Some(seen) if is(&entry.sha256) => {
                if !dry_run {
                    tree.remove(path)?;
                }
                Ok(FileDone::new(path, "removed", Some(&seen.bytes), None))
            }
            Some(_) => Err(format!(
                "{path} has been changed since coaming wrote it, and is left as it is; move it elsewhere and run this \
                 again"
            )),
        };
    };
    if is(&original.sha256) && !is(&entry.sha256) {
        return Ok(FileDone::new(path, "as it was already", None, None));
    }
    let seen = present.as_ref().filter(|_| is(&entry.sha256)).ok_or_else(|| {
        format!(
            "{path} has been changed since coaming replaced it, and is left as it is; take what is coaming's out of it, or \
             put back what was there before ({}), and run this again",
            original.path()
        )
    })?;
    let before = original.read(tree)?;
    if !dry_run {
        tree.write(path, &before.bytes, before.attributes)?;
    }
    Ok(FileDone::new(path, "put back", Some(&seen.bytes), Some(&before.bytes)))
}
