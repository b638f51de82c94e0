//! Which package of dpkg's brought a runtime, and which CVEs its changelog says are mended.
//!
//! Debian and Ubuntu mend old versions: `1.1.5+ds1-1+deb12u1` is 1.1.5 with the fix of CVE-2024-21626, which is
//! said nowhere but in the package's changelog. It counts only where the file is, by dpkg's own checksum, the one
//! that the package brought, and where changelog and database speak of the same version: amidst an upgrade they do
//! not. Other distributions keep theirs in databases that take a library of theirs to read; there the operator says
//! it (`fixed` in the configuration).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use coaming_config::trust::check_trust;
use coaming_policy::runtime_versions::{Version, cves_in};
use flate2::read::GzDecoder;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use super::Identity;
use crate::host::hex;

/// The largest database, list or changelog that is read, in bytes; the database of a large installation has 10 MB.
const MOST: u64 = 64 * 1024 * 1024;

/// A package, as it is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The CVEs that its changelog names.
    pub fixed: BTreeSet<String>,
    /// The changelog, which another version of the package changes.
    changelog: Identity,
}

impl Package {
    /// The package of a runtime of this version; none where dpkg knows none, the file is not as the package
    /// brought it, or it cannot be told.
    pub(super) fn of(program: &Path, version: &Version) -> Option<Package> {
        Database::at(Path::new("/")).package(program, version)
    }

    /// Whether the changelog is the one that was read.
    pub(super) fn is_as_it_was(&self) -> bool {
        Identity::of(&self.changelog.path).is_ok_and(|now| now == self.changelog)
    }
}

/// dpkg's database (dpkg(1), "FILES"; deb-changelog(5)) below a root.
struct Database {
    root: PathBuf,
}

impl Database {
    fn at(root: &Path) -> Database {
        Database { root: root.to_owned() }
    }

    fn package(&self, program: &Path, told: &Version) -> Option<Package> {
        let (name, md5sums) = self.owner(program)?;
        let checksum = checksum_of(&md5sums, program)?;
        if md5(&self.below(program))? != checksum {
            return None;
        }
        let version = self.installed(&name)?;
        // 1.1.5+ds1-1+deb12u1 is a 1.1.5: else what runs is not what the package says.
        let upstream = version.split_once(':').map_or(version.as_str(), |(_, rest)| rest);
        if Version::parse(upstream)? != *told {
            return None;
        }
        let path = self.root.join(format!("usr/share/doc/{name}/changelog.Debian.gz"));
        let text = gunzip(&path)?;
        let first = text.lines().next()?;
        let named = first.split_once('(')?.1.split_once(')')?.0;
        // A build of the same source again (`+b4`) has no entry here.
        let same = version == named
            || version.strip_prefix(named).is_some_and(|rest| rest.starts_with("+b"));
        same.then_some(())?;
        let changelog = Identity::of(&path).ok()?;
        Some(Package { name, version, fixed: cves_in(&text), changelog })
    }

    /// The package whose list of files has this one, and its checksums.
    fn owner(&self, program: &Path) -> Option<(String, PathBuf)> {
        let info = self.root.join("var/lib/dpkg/info");
        let wanted = spellings(program);
        for entry in fs::read_dir(&info).ok()?.flatten() {
            let path = entry.path();
            let file_name = entry.file_name();
            let Some(name) = file_name.to_str().and_then(|name| name.strip_suffix(".list")) else {
                continue;
            };
            let Some(list) = open(&path) else { continue };
            let has = BufReader::new(list.take(MOST))
                .lines()
                .map_while(Result::ok)
                .any(|line| wanted.contains(&line));
            if has {
                // `libc6:amd64.list` is of the package libc6.
                let package = name.split(':').next().unwrap_or(name).to_owned();
                return Some((package, info.join(format!("{name}.md5sums"))));
            }
        }
        None
    }

    /// The version in which a package is installed, and wholly so.
    fn installed(&self, package: &str) -> Option<String> {
        let status = open(&self.root.join("var/lib/dpkg/status"))?;
        let (mut ours, mut installed, mut version) = (false, false, None);
        for line in BufReader::new(status.take(MOST)).lines() {
            let line = line.ok()?;
            if line.is_empty() {
                if ours {
                    break;
                }
                (installed, version) = (false, None);
            } else if let Some(name) = line.strip_prefix("Package: ") {
                ours = name == package;
            } else if let Some(status) = line.strip_prefix("Status: ") {
                installed = status.ends_with(" installed");
            } else if let Some(found) = line.strip_prefix("Version: ") {
                version = Some(found.to_owned());
            }
        }
        version.filter(|_| ours && installed)
    }

    fn below(&self, path: &Path) -> PathBuf {
        path.strip_prefix("/").map_or_else(|_| path.to_owned(), |path| self.root.join(path))
    }
}

/// How lists may spell a path: with /usr merged into /, packages say either.
fn spellings(program: &Path) -> Vec<String> {
    let path = program.display().to_string();
    let short = path.strip_prefix("/usr").map(str::to_owned);
    [Some(path), short].into_iter().flatten().collect()
}

/// The checksum of a file in a list of them: `MD5  path`, without the first slash.
fn checksum_of(md5sums: &Path, program: &Path) -> Option<String> {
    let wanted = spellings(program);
    BufReader::new(open(md5sums)?.take(MOST)).lines().map_while(Result::ok).find_map(|line| {
        let (checksum, path) = line.split_once("  ")?;
        wanted
            .iter()
            .any(|wanted| wanted.strip_prefix('/') == Some(path))
            .then(|| checksum.to_owned())
    })
}

/// Whether a file is what was packed; that nobody meant to deceive is the package's promise and not this sum's.
fn md5(program: &Path) -> Option<String> {
    let mut file = open(program)?.take(MOST);
    let mut digest = Md5::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(hex(&digest.finalize())),
            read => digest.update(buffer.get(..read)?),
        }
    }
}

fn gunzip(path: &Path) -> Option<String> {
    let mut text = Vec::new();
    GzDecoder::new(open(path)?.take(MOST)).take(MOST).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// A regular file that root alone can write.
fn open(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    (metadata.is_file() && check_trust(path, &metadata).is_ok()).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    const RUNC: &str = "#!/bin/sh\nthe program\n";

    /// A system with one package.
    struct System(tempfile::TempDir);

    impl System {
        fn new(status: &str, version: &str, changelog: &str) -> System {
            let system = System(tempfile::tempdir().unwrap());
            let other = "Package: runcx\nStatus: install ok installed\nVersion: 9\n\n";
            let ours = format!(
                "Package: runc\nStatus: {status}\nArchitecture: amd64\nVersion: {version}\n"
            );
            system.write("var/lib/dpkg/status", format!("{other}{ours}\n").as_bytes());
            system.write("var/lib/dpkg/info/runc.list", b"/.\n/usr\n/usr/sbin\n/usr/sbin/runc\n");
            let sum = hex(&Md5::digest(RUNC));
            system.write(
                "var/lib/dpkg/info/runc.md5sums",
                format!("{sum}  usr/sbin/runc\n").as_bytes(),
            );
            system.write("usr/sbin/runc", RUNC.as_bytes());
            let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
            gz.write_all(changelog.as_bytes()).unwrap();
            system.write("usr/share/doc/runc/changelog.Debian.gz", &gz.finish().unwrap());
            system
        }

        fn write(&self, path: &str, bytes: &[u8]) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }

        fn package(&self) -> Option<Package> {
            let told = Version::parse("1.1.5+ds1").unwrap();
            Database::at(self.0.path()).package(Path::new("/usr/sbin/runc"), &told)
        }
    }

    const VERSION: &str = "1.1.5+ds1-1+deb12u1";
    const INSTALLED: &str = "install ok installed";

    fn changelog(version: &str) -> String {
        format!(
            "runc ({version}) bookworm-security; urgency=high\n\n  * CVE-2024-21626: fds\n\n -- x\n\nrunc (1.1.5+ds1-1) unstable\n\n  * CVE-2023-25809\n"
        )
    }

    #[test]
    fn a_changelog_says_what_is_mended() {
        let package = System::new(INSTALLED, VERSION, &changelog(VERSION)).package().unwrap();
        assert_eq!((package.name.as_str(), package.version.as_str()), ("runc", VERSION));
        assert_eq!(package.fixed, ["CVE-2023-25809", "CVE-2024-21626"].map(str::to_owned).into());
        let rebuilt = System::new(INSTALLED, "1.1.5+ds1-1+b4", &changelog("1.1.5+ds1-1"));
        assert!(rebuilt.package().is_some(), "a build of the same source");
        let epoch = System::new(INSTALLED, "1:1.1.5-1", &changelog("1:1.1.5-1"));
        assert!(epoch.package().is_some(), "an epoch is no part of the version");
    }

    #[test]
    fn it_counts_only_where_all_agree() {
        let cases = [
            (
                "half-installed",
                System::new("install ok half-installed", VERSION, &changelog(VERSION)),
            ),
            ("amidst an upgrade", System::new(INSTALLED, VERSION, &changelog("1.1.5+ds1-2"))),
            (
                "another upstream version",
                System::new(INSTALLED, "1.1.12-1", &changelog("1.1.12-1")),
            ),
        ];
        for (what, system) in cases {
            assert_eq!(system.package(), None, "{what}");
        }
        let replaced = System::new(INSTALLED, VERSION, &changelog(VERSION));
        replaced.write("usr/sbin/runc", b"put here by hand");
        assert_eq!(replaced.package(), None, "another program in its place");
        let not_ours = System::new(INSTALLED, VERSION, &changelog(VERSION));
        not_ours.write("var/lib/dpkg/info/runc.list", b"/usr/sbin/other\n");
        assert_eq!(not_ours.package(), None, "no package has it");
        let no_words = System::new(INSTALLED, VERSION, &changelog(VERSION));
        no_words.write("usr/share/doc/runc/changelog.Debian.gz", b"not gzip");
        assert_eq!(no_words.package(), None);
    }

    #[test]
    fn a_changelog_that_changes_is_read_again() {
        let system = System::new(INSTALLED, VERSION, &changelog(VERSION));
        let package = system.package().unwrap();
        assert!(package.is_as_it_was());
        system.write("usr/share/doc/runc/changelog.Debian.gz", b"another");
        assert!(!package.is_as_it_was());
    }
}
