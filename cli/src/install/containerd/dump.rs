//! containerd's own word of what its configuration comes to: `containerd config dump`.

use toml::{Table, Value};

use super::loaded::{parse, table_at};
use crate::install::ask::ask;
use crate::install::kept::ORIGINALS;
use crate::install::tree::{Attributes, Tree};

/// The plugin that has the handlers, as containerd 2.x and 1.x print it whatever the version of the files is.
const PLUGINS: [&str; 2] = ["io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"];

/// What is asked of containerd after a change.
#[derive(Debug)]
pub(crate) struct Check {
    pub(super) program: String,
    /// The main file.
    pub(super) config: String,
    /// What it said before; none where what it said was of an older file of ours.
    pub(super) before: Option<Table>,
    /// What stands in for the main file, where that is made from ours later.
    pub(super) trial: Option<String>,
    pub(super) handler: String,
    pub(super) wrapper: String,
    pub(super) default: bool,
}

impl Check {
    /// Asks.
    ///
    /// # Errors
    /// containerd does not take it, or it comes to something else than what was meant.
    pub(crate) fn ask(&self, tree: &Tree) -> Result<String, String> {
        let after = match &self.trial {
            None => dump(tree, &self.program, &self.config)?,
            Some(text) => {
                let path = format!("{ORIGINALS}/trial.toml");
                let made = tree.write(&path, text.as_bytes(), Attributes::OURS)?;
                let dumped = dump(tree, &self.program, &path);
                tree.remove(&path)?;
                tree.remove_folders(&made);
                dumped?
            }
        };
        self.check_handler(&after)?;
        if let Some(before) = &self.before {
            let lost = differences(&self.rest(before), &self.rest(&after));
            if !lost.is_empty() {
                return Err(format!(
                    "containerd would no longer have, or have otherwise: {}",
                    lost.join(", ")
                ));
            }
        }
        Ok(format!("{} config dump", self.program))
    }

    fn check_handler(&self, after: &Table) -> Result<(), String> {
        let handler = runtimes(after).and_then(|runtimes| {
            runtimes.get(&self.handler)?.get("options")?.get("BinaryName")?.as_str()
        });
        if handler != Some(&self.wrapper) {
            return Err(format!(
                "containerd does not have the handler {} with BinaryName {}, but {}: another file that is read \
                 later says so, or it does not read ours",
                self.handler,
                self.wrapper,
                handler.unwrap_or("none")
            ));
        }
        if self.default && default_name(after) != Some(&self.handler) {
            return Err(format!(
                "containerd's default handler is {} all the same: another file that is read later says so",
                default_name(after).unwrap_or("another")
            ));
        }
        Ok(())
    }

    /// Everything but what is meant to change.
    fn rest(&self, dump: &Table) -> Table {
        let mut rest = dump.clone();
        // Files, of which one more is read.
        rest.remove("imports");
        for plugin in PLUGINS {
            let containerd = rest
                .get_mut("plugins")
                .and_then(|plugins| plugins.get_mut(plugin)?.get_mut("containerd")?.as_table_mut());
            let Some(containerd) = containerd else { continue };
            let is_ours = containerd.get("default_runtime_name").and_then(Value::as_str)
                == Some(&self.handler);
            if self.default || is_ours {
                containerd.remove("default_runtime_name");
            }
            if let Some(runtimes) = containerd.get_mut("runtimes").and_then(Value::as_table_mut) {
                runtimes.remove(&self.handler);
            }
        }
        rest
    }
}

/// What containerd makes of a file.
///
/// # Errors
/// It does not take it.
pub(super) fn dump(tree: &Tree, program: &str, config: &str) -> Result<Table, String> {
    of(tree, program, &["--config", config, "config", "dump"])
}

/// What it has without any file.
///
/// # Errors
/// It does not say.
pub(super) fn defaults(tree: &Tree, program: &str) -> Result<Table, String> {
    of(tree, program, &["config", "default"])
}

fn of(tree: &Tree, program: &str, arguments: &[&str]) -> Result<Table, String> {
    let said = ask(tree, program, arguments)?;
    if !said.success {
        return Err(format!("{program} {} says: {}", arguments.join(" "), said.complaint()));
    }
    parse("what it printed", said.out.as_bytes())
}

/// The first number of its version.
///
/// # Errors
/// It does not say.
pub(super) fn major(tree: &Tree, program: &str) -> Result<u32, String> {
    let said = ask(tree, program, &["--version"])?;
    // containerd github.com/containerd/containerd/v2 2.1.9 HASH; k3s has v in front.
    let number = |word: &str| -> Option<u32> {
        let (major, rest) = word.trim_start_matches('v').split_once('.')?;
        rest.starts_with(|digit: char| digit.is_ascii_digit()).then_some(())?;
        major.parse().ok()
    };
    let major = said.out.split_whitespace().find_map(number).filter(|_| said.success);
    major.ok_or_else(|| format!("{program} --version says no version: {}", said.complaint()))
}

/// The handlers of a dump.
pub(super) fn runtimes(dump: &Table) -> Option<&Table> {
    PLUGINS.iter().find_map(|plugin| table_at(dump, &["plugins", plugin, "containerd", "runtimes"]))
}

fn default_name(dump: &Table) -> Option<&str> {
    let containerd =
        PLUGINS.iter().find_map(|plugin| table_at(dump, &["plugins", plugin, "containerd"]))?;
    containerd.get("default_runtime_name")?.as_str()
}

/// The paths at which two tables differ, some of them.
fn differences(before: &Table, after: &Table) -> Vec<String> {
    const MOST: usize = 5;
    let mut found = Vec::new();
    collect(before, after, "", &mut found);
    let more = found.len().saturating_sub(MOST);
    found.truncate(MOST);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    found
}

fn collect(before: &Table, after: &Table, path: &str, found: &mut Vec<String>) {
    let added = after.keys().filter(|key| !before.contains_key(*key));
    for key in before.keys().chain(added) {
        let here = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (before.get(key), after.get(key)) {
            (Some(Value::Table(before)), Some(Value::Table(after))) => {
                collect(before, after, &here, found);
            }
            (before, after) if before == after => {}
            (before, after) => {
                let shown = |value: Option<&Value>| {
                    value.map_or_else(
                        || "nothing".to_owned(),
                        |value| value.to_string().chars().take(60).collect(),
                    )
                };
                found.push(format!("{here} ({} in place of {})", shown(after), shown(before)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "version = 2\nimports = ['/a']\n[plugins.'io.containerd.grpc.v1.cri']\nx = 1\n\
        [plugins.'io.containerd.grpc.v1.cri'.containerd]\ndefault_runtime_name = 'runc'\n\
        [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]\nruntime_type = 'r'\n";
    const OURS: &str = "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.coaming.options]\nBinaryName = '/w'\n";

    fn check(default: bool) -> Check {
        Check {
            program: String::new(),
            config: String::new(),
            before: None,
            trial: None,
            handler: "coaming".to_owned(),
            wrapper: "/w".to_owned(),
            default,
        }
    }

    #[test]
    fn the_handler_and_nothing_else_may_come() {
        let before: Table = DUMP.parse().unwrap();
        let after: Table =
            format!("{DUMP}{OURS}").replace("['/a']", "['/a', '/b']").parse().unwrap();
        let same =
            |check: &Check, after: &Table| differences(&check.rest(&before), &check.rest(after));
        assert_eq!(same(&check(false), &after), [""; 0]);
        check(false).check_handler(&after).unwrap();
        let problem = check(true).check_handler(&after).unwrap_err();
        assert!(problem.contains("default handler is runc"), "{problem}");
        let other: Table = format!("{DUMP}{OURS}").replace("x = 1", "x = 2").parse().unwrap();
        assert_eq!(
            same(&check(false), &other),
            ["plugins.io.containerd.grpc.v1.cri.x (2 in place of 1)"]
        );
        let gone: Table = OURS.parse().unwrap();
        assert!(same(&check(false), &gone).len() > 1);
        let default: Table =
            format!("{DUMP}{OURS}").replace("'runc'\n[", "'coaming'\n[").parse().unwrap();
        check(true).check_handler(&default).unwrap();
        assert_eq!(same(&check(true), &default), [""; 0]);
        assert!(check(false).check_handler(&before).is_err());
        let around: Table =
            format!("{DUMP}{}", OURS.replace("/w", "/usr/bin/runc")).parse().unwrap();
        assert!(check(false).check_handler(&around).unwrap_err().contains("/usr/bin/runc"));
    }

    #[test]
    fn versions_are_read_as_each_make_says_them() {
        let tree = Tree::open(std::path::Path::new("/")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (said, expected) in [
            (
                "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3",
                Some(1),
            ),
            ("containerd github.com/containerd/containerd/v2 2.1.9+unknown ", Some(2)),
            ("containerd github.com/k3s-io/containerd v1.7.22-k3s1", Some(1)),
            ("containerd", None),
        ] {
            let program = folder.path().join("containerd");
            std::fs::write(folder.path().join("said"), said).unwrap();
            let script = format!("#!/bin/sh\ncat {}/said\n", folder.path().display());
            std::fs::write(folder.path().join("new"), script).unwrap();
            std::process::Command::new("chmod")
                .arg("755")
                .arg(folder.path().join("new"))
                .status()
                .unwrap();
            std::fs::rename(folder.path().join("new"), &program).unwrap();
            assert_eq!(major(&tree, program.to_str().unwrap()).ok(), expected, "{said}");
        }
    }
}
