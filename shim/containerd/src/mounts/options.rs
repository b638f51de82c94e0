//! Mount options: flags, data for the file system, and what must fit into a page.

use std::path::{Component, Path, PathBuf};

use nix::mount::MsFlags;

use super::MountError;

/// What stays free of a page, as in containerd.
const RESERVE: usize = 512;

/// Options read.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) flags: MsFlags,
    /// To be set by a call of its own (mount(2)).
    pub(crate) propagation: MsFlags,
    pub(crate) data: Vec<String>,
    pub(crate) map: Option<OwnerMap>,
}

/// Whose files are whose: `uidmap=` and `gidmap=`, lists of container-id:host-id:size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnerMap {
    pub(crate) uids: Vec<Range>,
    pub(crate) gids: Vec<Range>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) inside: u32,
    pub(crate) outside: u32,
    pub(crate) size: u32,
}

enum Meaning {
    Set(MsFlags),
    Clear(MsFlags),
    Propagation(MsFlags),
}

fn meaning(option: &str) -> Option<Meaning> {
    use Meaning::{Clear, Propagation, Set};

    Some(match option {
        "async" => Clear(MsFlags::MS_SYNCHRONOUS),
        "atime" => Clear(MsFlags::MS_NOATIME),
        "bind" => Set(MsFlags::MS_BIND),
        "dev" => Clear(MsFlags::MS_NODEV),
        "diratime" => Clear(MsFlags::MS_NODIRATIME),
        "dirsync" => Set(MsFlags::MS_DIRSYNC),
        "exec" => Clear(MsFlags::MS_NOEXEC),
        "mand" => Set(MsFlags::MS_MANDLOCK),
        "noatime" => Set(MsFlags::MS_NOATIME),
        "nodev" => Set(MsFlags::MS_NODEV),
        "nodiratime" => Set(MsFlags::MS_NODIRATIME),
        "noexec" => Set(MsFlags::MS_NOEXEC),
        "nomand" => Clear(MsFlags::MS_MANDLOCK),
        "norelatime" => Clear(MsFlags::MS_RELATIME),
        "nostrictatime" => Clear(MsFlags::MS_STRICTATIME),
        "nosuid" => Set(MsFlags::MS_NOSUID),
        "rbind" => Set(MsFlags::MS_BIND.union(MsFlags::MS_REC)),
        "relatime" => Set(MsFlags::MS_RELATIME),
        "remount" => Set(MsFlags::MS_REMOUNT),
        "ro" => Set(MsFlags::MS_RDONLY),
        "rw" => Clear(MsFlags::MS_RDONLY),
        "strictatime" => Set(MsFlags::MS_STRICTATIME),
        "suid" => Clear(MsFlags::MS_NOSUID),
        "sync" => Set(MsFlags::MS_SYNCHRONOUS),
        "private" => Propagation(MsFlags::MS_PRIVATE),
        "rprivate" => Propagation(MsFlags::MS_PRIVATE.union(MsFlags::MS_REC)),
        "shared" => Propagation(MsFlags::MS_SHARED),
        "rshared" => Propagation(MsFlags::MS_SHARED.union(MsFlags::MS_REC)),
        "slave" => Propagation(MsFlags::MS_SLAVE),
        "rslave" => Propagation(MsFlags::MS_SLAVE.union(MsFlags::MS_REC)),
        "unbindable" => Propagation(MsFlags::MS_UNBINDABLE),
        "runbindable" => Propagation(MsFlags::MS_UNBINDABLE.union(MsFlags::MS_REC)),
        _ => return None,
    })
}

impl Options {
    pub(crate) fn parse(options: &[String]) -> Result<Self, MountError> {
        let mut parsed = Options {
            flags: MsFlags::empty(),
            propagation: MsFlags::empty(),
            data: Vec::new(),
            map: None,
        };
        let (mut uids, mut gids) = (None, None);
        for option in options {
            match meaning(option) {
                Some(Meaning::Set(flags)) => parsed.flags.insert(flags),
                Some(Meaning::Clear(flags)) => parsed.flags.remove(flags),
                // The last one counts; the kernel takes one at a time.
                Some(Meaning::Propagation(flags)) => parsed.propagation = flags,
                None => {
                    if let Some(list) = option.strip_prefix("uidmap=") {
                        uids = Some(ranges(option, list)?);
                    } else if let Some(list) = option.strip_prefix("gidmap=") {
                        gids = Some(ranges(option, list)?);
                    } else {
                        parsed.data.extend(other(option)?);
                    }
                }
            }
        }
        // As in containerd: one alone means nothing.
        parsed.map = uids.zip(gids).map(|(uids, gids)| OwnerMap { uids, gids });
        Ok(parsed)
    }

    /// The options for the file system, and the directory in which to mount. An overlay whose options would fill a page
    /// names its layers relative to the directory that they have in common.
    pub(crate) fn fitted(&self, fstype: &str, page: usize) -> (Option<PathBuf>, String) {
        let data = self.data.join(",");
        if fstype != "overlay" || data.len() < page.saturating_sub(RESERVE) {
            return (None, data);
        }
        match compacted(&self.data) {
            Some((directory, options)) => (Some(directory), options.join(",")),
            None => (None, data),
        }
    }
}

/// An option that is no flag: data for the file system, or none.
fn other(option: &str) -> Result<Option<String>, MountError> {
    let refuse = |reason| Err(MountError::Option { option: option.to_owned(), reason });
    if option.contains('\0') {
        return refuse("contains a NUL byte");
    }
    if option.starts_with("X-containerd.") {
        return refuse("is for containerd's own mount manager, which has left it over");
    }
    match option {
        "defaults" | "" => Ok(None),
        "loop" => {
            refuse("needs a loop device, which this shim does not make; use another snapshotter")
        }
        // For programs that read mount tables, as in mount(8).
        _ if option.starts_with("X-") || option.starts_with("x-") => Ok(None),
        _ => Ok(Some(option.to_owned())),
    }
}

fn ranges(option: &str, list: &str) -> Result<Vec<Range>, MountError> {
    let wrong = || MountError::Option {
        option: option.to_owned(),
        reason: "is not a list of container-id:host-id:size",
    };
    let ranges: Option<Vec<Range>> = list
        .split(',')
        .map(|range| {
            let mut numbers = range.split(':').map(|number| number.parse::<u32>().ok());
            let (inside, outside, size) = (numbers.next()??, numbers.next()??, numbers.next()??);
            numbers.next().is_none().then_some(Range { inside, outside, size })
        })
        .collect();
    // More than the kernel takes (user_namespaces(7)).
    ranges.filter(|ranges| ranges.len() <= 340).ok_or_else(wrong)
}

/// The layers of an overlay, and where among the options they stand.
pub(crate) fn layers(options: &[String]) -> Option<(usize, Vec<&str>)> {
    options.iter().enumerate().find_map(|(index, option)| {
        Some((index, option.strip_prefix("lowerdir=")?.split(':').collect()))
    })
}

/// The deepest directory that all these are below. Parts of names are no directories: 1/fs and 12/fs have nothing in
/// common but what is above.
pub(crate) fn common_directory(paths: &[&str]) -> Option<PathBuf> {
    let (first, rest) = paths.split_first()?;
    let mut common: Vec<Component<'_>> = Path::new(first).parent()?.components().collect();
    for path in rest {
        let above = Path::new(path).parent()?.components();
        let shared = common.iter().zip(above).take_while(|(one, other)| *one == other).count();
        common.truncate(shared);
    }
    let common: PathBuf = common.iter().collect();
    (common.is_absolute() && common != Path::new("/")).then_some(common)
}

pub(crate) fn compacted(options: &[String]) -> Option<(PathBuf, Vec<String>)> {
    let (index, layers) = layers(options)?;
    // A backslash makes the next character plain to overlayfs: splitting at colons would be wrong.
    if layers.len() < 2 || layers.iter().any(|layer| layer.contains('\\')) {
        return None;
    }
    let directory = common_directory(&layers)?;
    let short = layers
        .iter()
        .map(|layer| Path::new(layer).strip_prefix(&directory).ok()?.to_str())
        .collect::<Option<Vec<&str>>>()?;
    let mut options = options.to_vec();
    *options.get_mut(index)? = format!("lowerdir={}", short.join(":"));
    Some((directory, options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Result<Options, MountError> {
        Options::parse(&options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn flags_and_data_are_told_apart() {
        let parsed = parse(&[
            "rbind",
            "ro",
            "nosuid",
            "nodev",
            "noexec",
            "rw",
            "ro",
            "suid",
            "rslave",
            "defaults",
            "x-systemd.y",
            "X-mount.z",
            "index=off",
            "lowerdir=/a:/b",
        ])
        .unwrap();
        let expected = MsFlags::MS_BIND
            | MsFlags::MS_REC
            | MsFlags::MS_RDONLY
            | MsFlags::MS_NODEV
            | MsFlags::MS_NOEXEC;
        assert_eq!(parsed.flags, expected);
        assert_eq!(parsed.propagation, MsFlags::MS_SLAVE | MsFlags::MS_REC);
        assert_eq!(parsed.fitted("overlay", 4096), (None, "index=off,lowerdir=/a:/b".to_owned()));
        assert!(parse(&["X-containerd.mkdir"]).is_err());
        assert!(parse(&["loop"]).is_err());
        assert!(parse(&["a\0b"]).is_err());
    }

    #[test]
    fn owners_are_lists_of_ranges() {
        let range = |inside, outside, size| Range { inside, outside, size };
        let map = parse(&["uidmap=0:1000:10,10:5000:5", "gidmap=0:2000:10"]).unwrap().map.unwrap();
        assert_eq!(map.uids, [range(0, 1000, 10), range(10, 5000, 5)]);
        assert_eq!(map.gids, [range(0, 2000, 10)]);
        assert_eq!(parse(&["uidmap=0:1000:10"]).unwrap().map, None);
        for wrong in ["uidmap=", "uidmap=0:1", "uidmap=0:1:2:3", "gidmap=0:-1:2", "uidmap=a:b:c"] {
            assert!(parse(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn many_layers_are_named_from_where_they_are() {
        let layers: Vec<String> =
            (1..=200).map(|number| format!("/var/lib/containerd/snapshots/{number}/fs")).collect();
        let lower = format!("lowerdir={}", layers.join(":"));
        let parsed = parse(&["upperdir=/u", &lower, "workdir=/w"]).unwrap();
        let (directory, data) = parsed.fitted("overlay", 4096);
        assert_eq!(directory.unwrap(), Path::new("/var/lib/containerd/snapshots"));
        assert!(
            data.starts_with("upperdir=/u,lowerdir=1/fs:2/fs:")
                && data.ends_with(":200/fs,workdir=/w")
        );
        assert!(data.len() < 4096);
        assert_eq!(parsed.fitted("ext4", 4096).0, None);
    }

    #[test]
    fn layers_with_nothing_in_common_stay() {
        for layers in [
            vec!["/a/1", "/b/2"],
            vec!["/1", "/2"],
            vec!["a/1", "a/2"],
            vec!["/a/1"],
            vec!["/a/1\\:x", "/a/2"],
        ] {
            let options = vec![format!("lowerdir={}", layers.join(":"))];
            assert!(compacted(&options).is_none(), "{layers:?}");
        }
        assert_eq!(common_directory(&["/a/b/1/fs", "/a/b/12/fs"]).unwrap(), Path::new("/a/b"));
        assert_eq!(common_directory(&["/a/b/c", "/a/b"]).unwrap(), Path::new("/a"));
    }
}
