//! What an image is to hold, what of it is there, and what is in the way.

use std::collections::BTreeMap;

use coaming_shim::baked::FILTERS;

use super::record::Record;
use crate::install::kept::digest;
use crate::install::tree::{Attributes, Tree, above};
use crate::output::count;

/// The largest file of an image that is looked at, in bytes: coaming's programs are the largest.
const MOST: u64 = 256 * 1024 * 1024;

/// Something that an image is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) path: String,
    pub(super) what: What,
}

/// What is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    File {
        bytes: Vec<u8>,
        mode: u32,
    },
    /// A symbolic link, as it is written.
    Link(String),
    Folder,
}

/// What is to be done, and what keeps it from being done.
#[derive(Debug)]
pub(super) struct Plan {
    /// Each with whether something is in its place.
    wanted: Vec<(Wish, bool)>,
    /// What an earlier run wrote and this one does not want.
    stale: Vec<String>,
    /// What the record is to be, and whether it is so.
    record: Record,
    recorded: bool,
    in_the_way: Vec<String>,
    pub(super) refused: Vec<String>,
}

impl Wish {
    pub(super) fn file(path: &str, bytes: Vec<u8>, mode: u32) -> Wish {
        Wish { path: path.to_owned(), what: What::File { bytes, mode } }
    }

    /// Whether it is there already; or what is.
    fn is_there(&self, tree: &Tree) -> Result<Option<bool>, String> {
        match &self.what {
            What::Folder => Ok(tree.exists(&self.path).then_some(true)),
            What::Link(target) => {
                Ok(tree.link(&self.path)?.map(|found| found.as_deref() == Some(target.as_str())))
            }
            What::File { bytes, mode } => {
                let found = tree.read_own_of(&self.path, MOST)?;
                Ok(found.map(|seen| seen.bytes == *bytes && seen.attributes.mode == *mode))
            }
        }
    }

    fn digest(&self) -> Option<String> {
        match &self.what {
            What::File { bytes, .. } => Some(digest(bytes)),
            What::Link(target) => Some(format!("-> {target}")),
            What::Folder => None,
        }
    }
}

impl Plan {
    /// Looks at a root. What is there otherwise than it is wanted, and was written by no earlier run, is in the way.
    ///
    /// What is `left` to the image stays as it is, whoever wrote it.
    pub(super) fn of(
        tree: &Tree,
        wishes: Vec<Wish>,
        left: impl Fn(&str) -> bool,
    ) -> Result<Plan, String> {
        let before = Record::read(tree)?;
        let kept = before.files.iter().filter(|(path, _)| left(path));
        let mut files: BTreeMap<String, String> =
            kept.map(|(path, digest)| (path.clone(), digest.clone())).collect();
        let (mut wanted, mut in_the_way) = (Vec::new(), Vec::new());
        for wish in wishes {
            let there = wish.is_there(tree)?;
            let ours = before.files.contains_key(&wish.path);
            // What a package brought stays the package's.
            if let Some(digest) = wish.digest().filter(|_| ours || there != Some(true)) {
                files.insert(wish.path.clone(), digest);
            }
            if there == Some(false) && !ours {
                in_the_way.push(format!(
                    "{} is there and is not as it is to be; remove it, or say --force to have it replaced",
                    wish.path
                ));
            }
            if there != Some(true) {
                wanted.push((wish, there.is_some()));
            }
        }
        let stale: Vec<String> =
            before.files.keys().filter(|path| !files.contains_key(*path)).cloned().collect();
        let record = Record { files, ..Record::default() };
        let recorded = record == before;
        let refused = in_the_way.clone();
        Ok(Plan { wanted, stale, record, recorded, in_the_way, refused })
    }

    /// Takes the place of what is there.
    pub(super) fn allow_all(&mut self) {
        self.refused.retain(|why| !self.in_the_way.contains(why));
    }

    /// Writes what is wanted, and removes what is not any more. The record comes first, so that a run that was stopped can be
    /// repeated.
    pub(super) fn carry_out(&self, tree: &Tree) -> Result<(), String> {
        if !self.recorded {
            let mut all = self.record.clone();
            let stale = self.stale.iter().map(|path| (path.clone(), String::new()));
            all.files.extend(stale);
            all.write(tree)?;
        }
        for path in &self.stale {
            tree.remove(path)?;
        }
        // Of another build there was a folder of its own. Those that packages make stay.
        let folders = self.stale.iter().map(|path| above(path).to_owned());
        let ours = format!("{FILTERS}/");
        tree.remove_folders(&folders.filter(|path| path.starts_with(&ours)).collect::<Vec<_>>());
        for (Wish { path, what }, _) in &self.wanted {
            match what {
                What::File { bytes, mode } => {
                    let attributes = Attributes { mode: *mode, ..Attributes::OURS };
                    tree.write(path, bytes, attributes).map(drop)?;
                }
                What::Link(target) => tree.put_link(path, target)?,
                What::Folder => tree.make_folders_of(&format!("{path}/x")).map(drop)?,
            }
        }
        if self.recorded { Ok(()) } else { self.record.write(tree) }
    }

    /// What was, or would be, done.
    pub(super) fn changes(&self, written: bool) -> Vec<String> {
        let would = if written { "" } else { "to be " };
        let wanted = self.wanted.iter().map(|(wish, there)| {
            let done = if *there { "replaced" } else { "written" };
            format!("{}: {would}{done}", wish.path)
        });
        let stale = self.stale.iter().map(|path| format!("{path}: {would}removed"));
        wanted.chain(stale).collect()
    }
}

/// A number of changes in words.
pub(super) fn number(changes: &[String]) -> String {
    count(changes.len(), "change", "changes")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn root() -> (tempfile::TempDir, Tree) {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::open(folder.path()).unwrap();
        (folder, tree)
    }

    fn wishes(text: &str) -> Vec<Wish> {
        vec![
            Wish::file("/usr/bin/x", text.into(), 0o755),
            Wish { path: "/usr/bin/y".to_owned(), what: What::Link("x".to_owned()) },
            Wish { path: "/etc/coaming/break-glass.d".to_owned(), what: What::Folder },
        ]
    }

    fn done(tree: &Tree, wishes: Vec<Wish>) -> Vec<String> {
        let plan = Plan::of(tree, wishes, |_| false).unwrap();
        assert_eq!(plan.refused, Vec::<String>::new());
        plan.carry_out(tree).unwrap();
        plan.changes(true)
    }

    #[test]
    fn what_is_wanted_is_there_and_a_second_run_changes_nothing() {
        let (folder, tree) = root();
        assert_eq!(done(&tree, wishes("1")).len(), 3);
        let record = fs::read(folder.path().join("usr/lib/coaming/baked.json")).unwrap();
        assert_eq!(done(&tree, wishes("1")), Vec::<String>::new());
        assert_eq!(fs::read(folder.path().join("usr/lib/coaming/baked.json")).unwrap(), record);
        assert_eq!(done(&tree, wishes("2")), ["/usr/bin/x: replaced"]);
        let mut fewer = wishes("2");
        fewer.remove(1);
        assert_eq!(done(&tree, fewer), ["/usr/bin/y: removed"]);
        assert!(!folder.path().join("usr/bin/y").is_symlink());
    }

    #[test]
    fn what_others_put_there_is_not_replaced_unless_that_is_said() {
        let (folder, tree) = root();
        fs::create_dir_all(folder.path().join("usr/bin")).unwrap();
        fs::write(folder.path().join("usr/bin/x"), "theirs").unwrap();
        fs::write(folder.path().join("usr/bin/y"), "no link").unwrap();
        let mut plan = Plan::of(&tree, wishes("1"), |_| false).unwrap();
        assert_eq!(plan.refused.len(), 2, "{:?}", plan.refused);
        plan.allow_all();
        assert!(plan.refused.is_empty());
        plan.carry_out(&tree).unwrap();
        assert_eq!(done(&tree, wishes("1")), Vec::<String>::new());
    }

    #[test]
    fn what_a_package_brought_stays_when_it_is_wanted_no_more() {
        let (folder, tree) = root();
        tree.write("/usr/bin/x", b"1", Attributes { mode: 0o755, ..Attributes::OURS }).unwrap();
        done(&tree, wishes("1"));
        done(&tree, Vec::new());
        assert!(folder.path().join("usr/bin/x").exists());
        assert!(!folder.path().join("usr/bin/y").is_symlink());
    }

    #[test]
    fn a_run_that_was_stopped_is_repeated() {
        let (_folder, tree) = root();
        done(&tree, wishes("1"));
        let plan = Plan::of(&tree, wishes("2"), |_| false).unwrap();
        plan.record.write(&tree).unwrap();
        assert_eq!(done(&tree, wishes("2")), ["/usr/bin/x: replaced"]);
    }
}
