//! containerd's configuration as containerd reads it: a file, then what it imports, then what those import
//! (cmd/containerd/server/config/config.go, LoadConfig).

use std::collections::{BTreeSet, VecDeque};

use coaming_policy::controls::glob::Glob;
use toml::{Table, Value};

use super::super::plan::Obstacle;
use super::super::tree::{Tree, above};

/// How many files may import each other.
const MOST_FILES: usize = 64;

/// The files, in the order in which each counts over those before it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) files: Vec<(String, Table)>,
    /// The version of the main file.
    pub(super) version: i64,
}

/// What a section of a later file does to that of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merge {
    /// containerd 1.x: it takes the place of all of it.
    Replaces,
    /// containerd 2.x: each key by itself.
    Deep,
}

impl Loaded {
    /// Reads `main` and what it imports, but for one file: that of ours.
    ///
    /// # Errors
    /// What containerd would not take either.
    pub(super) fn read(tree: &Tree, main: &str, but: Option<&str>) -> Result<Loaded, Obstacle> {
        let mut loaded = Loaded { files: Vec::new(), version: 1 };
        let mut pending = VecDeque::from([main.to_owned()]);
        let mut seen = BTreeSet::new();
        while let Some(path) = pending.pop_front() {
            if Some(path.as_str()) == but || !seen.insert(path.clone()) {
                continue;
            }
            if seen.len() > MOST_FILES {
                return Err(format!("{main} imports more than {MOST_FILES} files").into());
            }
            let found = tree.read(&path)?.ok_or_else(|| {
                format!("{path} is imported by containerd's configuration and is not there: containerd will not start")
            })?;
            let table = parse(&path, &found.bytes)?;
            if loaded.files.is_empty() {
                loaded.version =
                    table.get("version").and_then(Value::as_integer).unwrap_or(1).max(1);
            }
            for (pattern, _) in imports(&path, &table) {
                pending.extend(matching(tree, &pattern)?);
            }
            loaded.files.push((path, table));
        }
        Ok(loaded)
    }

    /// The name of the plugin that has the handlers, by the version of the main file.
    pub(super) fn plugin(&self) -> &'static str {
        plugin(self.version)
    }

    /// The section of that plugin as all files together come to it.
    pub(super) fn section(&self, merge: Merge) -> Table {
        let mut section = Table::new();
        for (_, table) in &self.files {
            let Some(own) = table_at(table, &["plugins", self.plugin()]) else { continue };
            match merge {
                Merge::Replaces => section = own.clone(),
                Merge::Deep => lay_over(&mut section, own),
            }
        }
        section
    }

    /// A folder from which the main file imports what has this name. One that is named from the root comes first:
    /// containerd 1.6 takes others with a wildcard as below its own working directory.
    pub(super) fn imported_folder(&self, name: &str) -> Option<String> {
        let (main, table) = self.files.first()?;
        let mut patterns = imports(main, table);
        patterns.sort_by_key(|(_, is_relative)| *is_relative);
        patterns.into_iter().find_map(|(pattern, _)| {
            let (folder, last) = pattern.rsplit_once('/')?;
            let glob = last.parse::<Glob>().ok().filter(|_| last.contains('*'))?;
            (glob.matches(name) && !folder.contains('*')).then(|| folder.to_owned())
        })
    }

    /// Whether pods are not this containerd's to start.
    pub(super) fn cri_is_disabled(&self) -> Option<&str> {
        self.files.iter().find_map(|(path, table)| {
            let disabled = table.get("disabled_plugins")?.as_array()?;
            let is_cri = |name: &Value| {
                matches!(
                    name.as_str(),
                    Some("cri" | "io.containerd.grpc.v1.cri" | "io.containerd.cri.v1.runtime")
                )
            };
            disabled.iter().any(is_cri).then_some(path.as_str())
        })
    }

    /// The file that says something of a handler.
    pub(super) fn file_with_handler(&self, name: &str) -> &str {
        let has = |table: &Table| {
            table_at(table, &["plugins", self.plugin(), "containerd", "runtimes", name]).is_some()
        };
        let with = self.files.iter().rev().find(|(_, table)| has(table)).or(self.files.first());
        with.map_or("its configuration", |(path, _)| path)
    }
}

/// The name of the plugin that has the handlers.
pub(super) fn plugin(version: i64) -> &'static str {
    match version {
        ..=1 => "cri",
        2 => "io.containerd.grpc.v1.cri",
        _ => "io.containerd.cri.v1.runtime",
    }
}

pub(in crate::install) fn parse(path: &str, bytes: &[u8]) -> Result<Table, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{path} is not UTF-8"))?;
    text.parse::<Table>().map_err(|error| {
        format!("{path} is not TOML: {}", error.to_string().trim_end().replace('\n', " "))
    })
}

/// The table at this path.
pub(super) fn table_at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Table> {
    path.iter().try_fold(table, |table, key| table.get(*key)?.as_table())
}

/// The patterns that a file imports, and whether each is written as one below the file's own folder.
fn imports(path: &str, table: &Table) -> Vec<(String, bool)> {
    let list = table.get("imports").and_then(Value::as_array);
    let absolute = |import: &str| match import.starts_with('/') {
        true => (import.to_owned(), false),
        false => (format!("{}/{import}", above(path).trim_end_matches('/')), true),
    };
    list.into_iter().flatten().filter_map(Value::as_str).map(absolute).collect()
}

fn matching(tree: &Tree, pattern: &str) -> Result<Vec<String>, String> {
    let Some((folder, last)) = pattern.rsplit_once('/') else { return Ok(Vec::new()) };
    if !pattern.contains('*') {
        return Ok(vec![pattern.to_owned()]);
    }
    let glob = last.parse::<Glob>().ok().filter(|_| !folder.contains('*'));
    let glob = glob.ok_or_else(|| format!("the import {pattern} is not understood here"))?;
    let names = tree.names(folder)?.into_iter().filter(|name| glob.matches(name));
    Ok(names.map(|name| format!("{folder}/{name}")).collect())
}

/// mergo.Merge with WithOverride: what is there counts, tables key by key.
fn lay_over(below: &mut Table, above: &Table) {
    for (key, value) in above {
        match (below.get_mut(key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay_over(below, above),
            _ => drop(below.insert(key.clone(), value.clone())),
        }
    }
}
