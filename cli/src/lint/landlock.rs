//! Lints of `landlock`: rules under which hardly any program starts.

use std::collections::BTreeSet;
use std::path::Path;

use coaming_config::trust::read_root_owned;
use coaming_policy::controls::landlock::{AbsolutePath, LandlockDocument, parse_profile};
use coaming_policy::document::Match;
use coaming_policy::facts::ContainerType;

use super::Lints;

/// Where distributions keep the dynamic loader: glibc's on Debian is a link from /lib64 to /lib,
/// on Fedora it is in /lib64, musl's is in /lib; and /lib is a link to /usr/lib on most.
const LOADER_FOLDERS: [&str; 4] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"];

pub(super) fn lint(lints: &mut Lints<'_>) {
    let document = lints.document;
    let Some(at) = &document.spec.landlock else {
        return;
    };
    let (line, rules) = (at.line, &at.value);
    let types =
        document.spec.selector.as_ref().map(|Match { container_types, .. }| container_types);
    if types.is_some_and(|types| types.contains(&ContainerType::Sandbox)) {
        lints.warn(
            line,
            "spec.landlock applies to the pod's sandbox too (spec.match.containerTypes): the pause \
             program must be among what may be executed, or no pod starts",
        );
    }
    lint_lists(lints, line, rules, "spec.landlock.");
    // What the profile says was read before, and is sound.
    let folder = Path::new(lints.file).parent().unwrap_or(Path::new("."));
    if let Some(name) = &rules.profile
        && let Ok(bytes) = read_root_owned(&folder.join(name))
        && let Ok(profile) = parse_profile(name, &bytes)
    {
        lint_lists(lints, line, &profile, &format!("{name}: "));
    }
}

/// `what`: what stands before the name of a field: the field that it is of, or the profile.
fn lint_lists(lints: &mut Lints<'_>, line: u64, rules: &LandlockDocument, what: &str) {
    for (name, list) in [("read", &rules.read), ("write", &rules.write)] {
        if list.as_ref().is_some_and(|list| !covers(list, "/dev/null")) {
            lints.warn(
                line,
                format!(
                    "{what}{name} has neither /dev nor /dev/null: most programs open /dev/null"
                ),
            );
        }
    }
    lint_execute(lints, line, rules, what);
}

fn lint_execute(lints: &mut Lints<'_>, line: u64, rules: &LandlockDocument, what: &str) {
    let Some(execute) = &rules.execute else {
        return;
    };
    let loader = LOADER_FOLDERS.iter().any(|folder| covers(execute, folder))
        || execute.iter().any(|path| is_below(&path.0, &LOADER_FOLDERS));
    if !loader && !execute.is_empty() {
        lints.warn(
            line,
            format!(
                "{what}execute has no folder of the dynamic loader (/lib, /lib64, /usr/lib): only static \
                 programs start"
            ),
        );
    }
    // landlock_add_rule(2): opening a file to execute it asks for READ_FILE besides EXECUTE.
    if let Some(read) = &rules.read {
        let unreadable: Vec<&str> =
            execute.iter().map(|path| path.0.as_str()).filter(|path| !covers(read, path)).collect();
        if !unreadable.is_empty() && rules.rights.is_empty() {
            lints.warn(
                line,
                format!(
                    "{what}execute lists {}, not below any path of {what}read: the kernel executes only what \
                     may be read as well",
                    unreadable.join(", ")
                ),
            );
        }
    }
}

/// Whether some path of the list is `path` or above it.
fn covers(list: &BTreeSet<AbsolutePath>, path: &str) -> bool {
    list.iter().any(|listed| is_below(path, &[&listed.0]))
}

/// Whether `path` is one of these or below one.
pub(super) fn is_below(path: &str, above: &[&str]) -> bool {
    above.iter().any(|folder| {
        path.strip_prefix(folder.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_is_by_component() {
        assert!(is_below("/lib/x", &["/lib"]) && is_below("/lib", &["/lib"]));
        assert!(is_below("/anything", &["/"]));
        assert!(!is_below("/lib64", &["/lib"]) && !is_below("/", &["/lib"]));
    }
}
