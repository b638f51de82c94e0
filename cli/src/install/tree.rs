//! Files of the node, or of a root directory that is not running yet: found without leaving it, written whole.

use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use coaming_config::trust::check_trust;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// The largest file that is read, in bytes.
const MOST: u64 = 4 * 1024 * 1024;

/// What is below a root.
#[derive(Debug)]
pub(crate) struct Tree {
    path: PathBuf,
    folder: OwnedFd,
}

/// A file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) bytes: Vec<u8>,
    pub(crate) attributes: Attributes,
}

/// What a file has besides its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// The bits of chmod(2).
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// When its content was changed; none where that is not to be kept.
    pub(crate) modified: Option<SystemTime>,
}

impl Tree {
    /// # Errors
    /// The root is no directory that can be opened.
    pub(crate) fn open(root: &Path) -> io::Result<Tree> {
        let path = root.canonicalize()?;
        let folder = File::open(&path)?;
        if !folder.metadata()?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        Ok(Tree { path, folder: folder.into() })
    }

    /// Whether it is the running machine's.
    pub(crate) fn is_machine(&self) -> bool {
        self.path == Path::new("/")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is locked by whoever changes the tree: a folder that each has for itself, and that nobody removes.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn lockable(&self) -> io::Result<File> {
        let folder = self
            .open_below("/var/lib", OFlag::O_DIRECTORY)
            .or_else(|_| self.open_below("/", OFlag::O_DIRECTORY))?;
        Ok(File::from(folder))
    }

    /// Reads a file, through links that stay below the root; none where it is not there.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn read(&self, path: &str) -> Result<Option<Seen>, String> {
        self.read_by(path, OFlag::empty())
    }

    /// Reads a file that is to be written: one in whose place there is a link is refused.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn read_own(&self, path: &str) -> Result<Option<Seen>, String> {
        self.read_by(path, OFlag::O_NOFOLLOW)
    }

    /// The same of a file that may be larger.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn read_own_of(&self, path: &str, most: u64) -> Result<Option<Seen>, String> {
        self.read_to(path, OFlag::O_NOFOLLOW, most)
    }

    /// Where a link leads, as it is written; nothing of that, where something else is in its place.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn link(&self, path: &str) -> Result<Option<Option<String>>, String> {
        if !self.exists(above(path)) {
            return Ok(None);
        }
        match fs::read_link(self.place(path)?) {
            Ok(target) => Ok(Some(target.to_str().map(str::to_owned))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(Some(None)),
            Err(error) => Err(format!("cannot look at {path}: {error}")),
        }
    }

    /// Makes a link beside and renames it.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn put_link(&self, path: &str, target: &str) -> Result<(), String> {
        self.make_folders_of(path)?;
        let place = self.place(path)?;
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let temporary = place.with_file_name(format!(".{name}.coaming{}", std::process::id()));
        let _ = fs::remove_file(&temporary);
        std::os::unix::fs::symlink(target, &temporary)
            .and_then(|()| fs::rename(&temporary, &place))
            .map_err(|error| {
                let _ = fs::remove_file(&temporary);
                format!("cannot make the link {path}: {error}")
            })
    }

    /// Where a folder of the tree is, as this process names it; where it would be, if it is not there.
    ///
    /// # Errors
    /// Others than root could change it.
    pub(crate) fn real(&self, folder: &str) -> Result<PathBuf, String> {
        if !self.exists(folder) {
            return Ok(self.path.join(folder.trim_start_matches('/')));
        }
        let inside = self.place(&format!("{}/x", folder.trim_end_matches('/')))?;
        Ok(inside.parent().map(Path::to_owned).unwrap_or_default())
    }

    /// Whether a path of this process is this very folder, by another name.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub(crate) fn is_same_folder(&self, other: &Path) -> io::Result<bool> {
        let (own, other) = (fs::metadata(&self.path)?, fs::metadata(other)?);
        Ok((own.dev(), own.ino()) == (other.dev(), other.ino()))
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.open_below(path, OFlag::O_PATH).is_ok()
    }

    /// The names in a folder, sorted; none where it is not there.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn names(&self, folder: &str) -> Result<Vec<String>, String> {
        let opened = match self.open_below(folder, OFlag::O_PATH | OFlag::O_DIRECTORY) {
            Ok(opened) => opened,
            Err(Errno::ENOENT) => return Ok(Vec::new()),
            Err(error) => return Err(format!("cannot open {folder}: {error}")),
        };
        let entries = fs::read_dir(magic(&opened))
            .map_err(|error| format!("cannot list {folder}: {error}"))?;
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Writes a file beside and renames it, so that a reader sees all of it or what was there before. Folders that
    /// it needs are made, and their paths given back.
    ///
    /// # Errors
    /// Why not, in words; nothing is left of it then.
    pub(crate) fn write(
        &self,
        path: &str,
        bytes: &[u8],
        attributes: Attributes,
    ) -> Result<Vec<String>, String> {
        let made = self.make_folders_of(path)?;
        let place = self.place(path)?;
        let told = |error: io::Error| {
            self.remove_folders(&made);
            format!("cannot write {path}: {error}")
        };
        put(&place, bytes, attributes).map_err(told)?;
        Ok(made)
    }

    /// # Errors
    /// Why not, in words. What is not there is removed.
    pub(crate) fn remove(&self, path: &str) -> Result<(), String> {
        if !self.exists(above(path)) {
            return Ok(());
        }
        match fs::remove_file(self.place(path)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(format!("cannot remove {path}: {error}"))
            }
            _ => Ok(()),
        }
    }

    /// Removes those that are empty, the deepest first. Others stay: what is in them is not ours.
    pub(crate) fn remove_folders(&self, folders: &[String]) {
        let mut folders: Vec<&String> = folders.iter().collect();
        folders.sort_by_key(|folder| std::cmp::Reverse(folder.len()));
        for folder in folders {
            if let Ok(place) = self.place(folder) {
                let _ = fs::remove_dir(place);
            }
        }
    }

    /// Makes the folders above a path that are not there.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn make_folders_of(&self, path: &str) -> Result<Vec<String>, String> {
        let mut made = Vec::new();
        let mut missing: Vec<&str> = Vec::new();
        let mut folder = above(path);
        while folder != "/" && !self.exists(folder) {
            missing.push(folder);
            folder = above(folder);
        }
        for folder in missing.into_iter().rev() {
            let make = || -> Result<(), String> {
                let place = self.place(folder)?;
                let told = |error| format!("cannot make {folder}: {error}");
                DirBuilder::new().mode(0o755).create(&place).map_err(told)?;
                // Whatever the umask.
                fs::set_permissions(&place, Permissions::from_mode(0o755)).map_err(told)
            };
            made.push(folder.to_owned());
            make().inspect_err(|_| self.remove_folders(&made))?;
        }
        Ok(made)
    }

    /// Where a path is, as this process names it: its folder without any link, and every folder on the way there
    /// root's alone to change.
    fn place(&self, path: &str) -> Result<PathBuf, String> {
        let name = path.rsplit('/').next().filter(|name| !matches!(*name, "" | "." | ".."));
        let name = name.ok_or_else(|| format!("{path} names no file"))?;
        let folder = self
            .open_below(above(path), OFlag::O_PATH | OFlag::O_DIRECTORY)
            .map_err(|error| format!("cannot open the folder of {path}: {error}"))?;
        let place = fs::read_link(magic(&folder))
            .map_err(|error| format!("cannot tell where the folder of {path} is: {error}"))?;
        for part in place.ancestors().take_while(|part| part.starts_with(&self.path)) {
            let metadata = fs::symlink_metadata(part)
                .map_err(|error| format!("cannot look at {}: {error}", part.display()))?;
            check_trust(part, &metadata).map_err(|error| {
                format!("{path} is not written where others than root could change it: {error}")
            })?;
        }
        Ok(place.join(name))
    }

    fn read_by(&self, path: &str, flags: OFlag) -> Result<Option<Seen>, String> {
        self.read_to(path, flags, MOST)
    }

    fn read_to(&self, path: &str, flags: OFlag, most: u64) -> Result<Option<Seen>, String> {
        let told = |error: &dyn std::fmt::Display| format!("cannot read {path}: {error}");
        let file = match self.open_below(path, flags | OFlag::O_NONBLOCK) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(Errno::ELOOP) => {
                return Err(told(
                    &"a symbolic link is in its place; put a file there, or remove it",
                ));
            }
            Err(error) => return Err(told(&error)),
        };
        let metadata = file.metadata().map_err(|error| told(&error))?;
        if !metadata.is_file() || metadata.len() > most {
            return Err(told(&format!("it is not a file of at most {most} bytes")));
        }
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes).map_err(|error| told(&error))?;
        let attributes = Attributes {
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            modified: metadata.modified().ok(),
        };
        Ok(Some(Seen { bytes, attributes }))
    }

    /// openat2(2): absolute paths and links are those below the root, whatever it is.
    fn open_below(&self, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.folder, path, how)
    }
}

impl Attributes {
    /// A file that all may read and root alone may write.
    pub(crate) const OURS: Attributes = Attributes { mode: 0o644, uid: 0, gid: 0, modified: None };
}

fn put(place: &Path, bytes: &[u8], attributes: Attributes) -> io::Result<()> {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    // No pattern by which managers import their folders' files matches it.
    let temporary = place.with_file_name(format!(".{name}.coaming{}", std::process::id()));
    let write = || {
        // What another process of this number left behind.
        let _ = fs::remove_file(&temporary);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        let metadata = file.metadata()?;
        if (metadata.uid(), metadata.gid()) != (attributes.uid, attributes.gid) {
            // In a tree of one's own, as one who is not root builds an image, all is that one's.
            match fchown(&file, Some(attributes.uid), Some(attributes.gid)) {
                Err(error) if nix::unistd::geteuid().is_root() => return Err(error),
                _ => {}
            }
        }
        file.set_permissions(Permissions::from_mode(attributes.mode))?;
        if let Some(modified) = attributes.modified {
            file.set_times(FileTimes::new().set_modified(modified))?;
        }
        file.sync_all()?;
        fs::rename(&temporary, place)?;
        place.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// The folder above a path that begins with a slash.
pub(crate) fn above(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some((folder, _)) if !folder.is_empty() => folder,
        _ => "/",
    }
}

fn magic(file: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn own() -> Attributes {
        let metadata = fs::metadata("/proc/self").unwrap();
        Attributes { uid: metadata.uid(), gid: metadata.gid(), ..Attributes::OURS }
    }

    fn tree() -> (tempfile::TempDir, Tree) {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::open(folder.path()).unwrap();
        (folder, tree)
    }

    #[test]
    fn folders_are_made_and_go_again_unless_others_use_them() {
        let (folder, tree) = tree();
        let made = tree.write("/etc/a/b/c.toml", b"1", own()).unwrap();
        assert_eq!(made, ["/etc", "/etc/a", "/etc/a/b"]);
        assert_eq!(tree.read_own("/etc/a/b/c.toml").unwrap().unwrap().bytes, b"1");
        fs::write(folder.path().join("etc/a/other"), "x").unwrap();
        tree.remove("/etc/a/b/c.toml").unwrap();
        tree.remove("/etc/a/b/c.toml").unwrap();
        tree.remove_folders(&made);
        assert!(!tree.exists("/etc/a/b") && tree.exists("/etc/a/other"));
        assert!(tree.make_folders_of("/etc/a/other/below/x").is_err(), "a file is in the way");
    }

    #[test]
    fn links_lead_no_further_than_the_root() {
        let (folder, tree) = tree();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), folder.path().join("etc")).unwrap();
        assert!(tree.write("/etc/x.toml", b"1", own()).is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        symlink("/real", folder.path().join("link")).unwrap();
        fs::create_dir(folder.path().join("real")).unwrap();
        tree.write("/link/x.toml", b"1", own()).unwrap();
        assert!(folder.path().join("real/x.toml").exists());
        symlink("/real/x.toml", folder.path().join("real/y.toml")).unwrap();
        assert_eq!(tree.read("/real/y.toml").unwrap().unwrap().bytes, b"1");
        let problem = tree.read_own("/real/y.toml").unwrap_err();
        assert!(problem.contains("a symbolic link"), "{problem}");
    }

    #[test]
    fn nothing_is_written_where_others_may() {
        let (folder, tree) = tree();
        fs::create_dir(folder.path().join("etc")).unwrap();
        fs::set_permissions(folder.path().join("etc"), Permissions::from_mode(0o777)).unwrap();
        let problem = tree.write("/etc/x.toml", b"1", own()).unwrap_err();
        assert!(problem.contains("777"), "{problem}");
    }

    #[test]
    fn mode_and_time_are_those_that_are_asked() {
        let (folder, tree) = tree();
        let modified = Some(SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000, 5));
        let attributes = Attributes { mode: 0o640, modified, ..own() };
        tree.write("/x", b"1", attributes).unwrap();
        assert_eq!(tree.read("/x").unwrap().unwrap().attributes, attributes);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
