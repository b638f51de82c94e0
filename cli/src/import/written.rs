//! What is written: policies, the profiles that they name, and what could not be carried over.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::object::Object;
use crate::error::CommandError;
use crate::output::printable;

/// What an import comes to.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) policies: Vec<Policy>,
    /// Profiles by their paths below the policies.
    pub(super) profiles: Vec<(String, Vec<u8>)>,
    pub(super) notes: Vec<String>,
    seen: BTreeSet<String>,
}

/// A policy.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) name: String,
    /// What it comes from.
    pub(super) from: String,
    pub(super) namespaces: Vec<String>,
    pub(super) images: Vec<String>,
    /// Whether it is for sandboxes too.
    pub(super) sandboxes: bool,
    /// The lines of its spec after `match`.
    pub(super) spec: String,
}

impl Written {
    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// An object that was looked at.
    pub(super) fn seen(&mut self, object: &Object) {
        self.seen.insert(object.title());
    }

    /// Notes the objects of which nothing was taken.
    pub(super) fn pass_over(&mut self, objects: &[Object]) {
        for object in objects.iter().filter(|object| !self.seen.contains(&object.title())) {
            self.notes.push(format!("{}: not looked at", object.title()));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.profiles.is_empty()
    }

    /// Prints the policies.
    pub(super) fn print(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        self.print_notes(out)?;
        for (file, _) in &self.profiles {
            writeln!(out, "# {file} is not written: say --output-dir")?;
        }
        for policy in &self.policies {
            write!(out, "---\n{}", policy.text())?;
        }
        Ok(())
    }

    fn print_notes(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        for note in &self.notes {
            writeln!(out, "# {}", printable(note))?;
        }
        Ok(())
    }

    /// Writes everything into a folder, or nothing where something is there already.
    pub(super) fn store(&self, folder: &Path, out: &mut dyn Write) -> Result<(), CommandError> {
        let mut files: Vec<(String, Vec<u8>)> = self.profiles.clone();
        for policy in &self.policies {
            files.push((format!("{}.yaml", policy.name), policy.text().into_bytes()));
        }
        let mut names = BTreeSet::new();
        for (name, _) in &files {
            let path = folder.join(name);
            let failed = |error| CommandError::Write { path: path.clone(), error };
            // Two things may come to one name, too.
            if !names.insert(name) || fs::symlink_metadata(&path).is_ok() {
                let there = "there is such a file already, and it is not overwritten; remove it, or name another --output-dir";
                return Err(failed(std::io::Error::other(there)));
            }
        }
        for (name, bytes) in &files {
            let path = folder.join(name);
            let failed = |error| CommandError::Write { path: path.clone(), error };
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(failed)?;
            }
            // Nodes refuse policies that others than their owner can write.
            let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
            file.and_then(|mut file| file.write_all(bytes)).map_err(failed)?;
            writeln!(out, "{}", path.display())?;
        }
        self.print_notes(out)
    }
}

impl Policy {
    fn text(&self) -> String {
        let list = |names: &[String]| {
            // Strings of JSON are strings of YAML.
            let names: Vec<String> = names
                .iter()
                .map(|name| serde_json::Value::from(name.as_str()).to_string())
                .collect();
            format!("[{}]", names.join(", "))
        };
        let mut selector = Vec::new();
        if !self.namespaces.is_empty() {
            selector.push(format!("    namespaces: {}\n", list(&self.namespaces)));
        }
        if !self.images.is_empty() {
            selector.push(format!("    images: {}\n", list(&self.images)));
        }
        if self.sandboxes {
            selector.push("    containerTypes: [sandbox, container]\n".to_owned());
        }
        let selector = match selector.is_empty() {
            true => String::new(),
            false => format!("  match:\n{}", selector.concat()),
        };
        format!(
            "# From {}.\napiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata:\n  name: {}\nspec:\n{selector}{}",
            printable(&self.from),
            self.name,
            self.spec
        )
    }
}

/// A name as policies and files have it: lower-case letters, digits, - and . alone.
pub(super) fn file_name(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let name: String =
        text.to_lowercase().chars().map(|c| if allowed(c) { c } else { '-' }).take(200).collect();
    let name = name.trim_matches(['-', '.']);
    if name.is_empty() { "imported".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        assert_eq!(file_name("../../etc/Pass_wd"), "etc-pass-wd");
        assert_eq!(file_name("web.v1"), "web.v1");
        assert_eq!(file_name("../.."), "imported");
    }
}
