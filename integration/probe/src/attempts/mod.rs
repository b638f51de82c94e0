//! Every attempt: a name, its arguments, what it means, and the function that tries.

mod abi;
mod admin;
mod classics;
mod devices;
mod files;
mod i386;
pub(crate) mod identity;
mod kernel;
mod mounts;
mod namespaces;
mod neighbours;
mod processes;
mod procfs;
mod shape;
mod sockets;
mod tcp;

use std::ffi::CString;

use crate::verdict::{Judged, Stop};

/// One thing that a policy may forbid.
pub(crate) struct Attempt {
    pub(crate) name: &'static str,
    /// The arguments, for people.
    pub(crate) args: &'static str,
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) about: &'static str,
    /// Runs in a child of its own, whose end undoes what is the process's alone.
    pub(crate) run: fn(&[String]) -> Judged,
}

/// Every attempt, by subject.
pub(crate) fn all() -> impl Iterator<Item = &'static Attempt> {
    [
        mounts::ATTEMPTS,
        namespaces::ATTEMPTS,
        processes::ATTEMPTS,
        neighbours::ATTEMPTS,
        kernel::ATTEMPTS,
        abi::ATTEMPTS,
        i386::ATTEMPTS,
        admin::ATTEMPTS,
        identity::ATTEMPTS,
        sockets::ATTEMPTS,
        tcp::ATTEMPTS,
        devices::ATTEMPTS,
        procfs::ATTEMPTS,
        files::ATTEMPTS,
        shape::ATTEMPTS,
        classics::ATTEMPTS,
    ]
    .into_iter()
    .flatten()
}

pub(crate) fn find(name: &str) -> Option<&'static Attempt> {
    all().find(|attempt| attempt.name == name)
}

/// An attempt without arguments.
const fn plain(name: &'static str, about: &'static str, run: fn(&[String]) -> Judged) -> Attempt {
    Attempt { name, args: "", min: 0, max: 0, about, run }
}

/// An attempt with between `min` and `max` arguments.
const fn with(
    name: &'static str,
    args: &'static str,
    (min, max): (usize, usize),
    about: &'static str,
    run: fn(&[String]) -> Judged,
) -> Attempt {
    Attempt { name, args, min, max, about, run }
}

/// Argument `index`, or `default`.
fn text<'a>(args: &'a [String], index: usize, default: &'a str) -> &'a str {
    args.get(index).map_or(default, String::as_str)
}

/// Argument `index` as a number, or `default`.
fn number<T: std::str::FromStr>(args: &[String], index: usize, default: T) -> Result<T, Stop> {
    match args.get(index) {
        None => Ok(default),
        Some(word) => {
            word.parse().map_err(|_| Stop::Usage(format!("{word} is no number for this")))
        }
    }
}

fn c_path(path: &str) -> Result<CString, Stop> {
    CString::new(path).map_err(|_| Stop::Usage("a path holds a NUL byte".to_owned()))
}

/// A precondition: `what` failed, so the attempt says nothing.
fn needed<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> Result<T, Stop> {
    result.map_err(|error| Stop::Unclear(format!("{what}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_arguments_are_described() {
        let mut names: Vec<_> = all().map(|attempt| attempt.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for attempt in all() {
            assert_eq!(attempt.args.is_empty(), attempt.max == 0, "{}", attempt.name);
            assert!(attempt.min <= attempt.max, "{}", attempt.name);
        }
    }
}
