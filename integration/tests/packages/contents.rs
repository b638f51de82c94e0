//! What is in each package: the same files, which are those of `make install`; owners, modes, scripts and needs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use coaming_integration::{Error, can_run};
use sha2::{Digest, Sha256};

use crate::made::{made, make, repository, run, target};

/// The deb has these besides: Debian asks for them.
const OF_DEBIAN: [&str; 2] =
    ["usr/share/doc/coaming/changelog.Debian.gz", "usr/share/lintian/overrides/coaming"];

/// A folder's files: mode, owner, and the digest of what is behind the name, be it by a link.
type Files = BTreeMap<String, (u32, u32, String)>;

#[test]
#[ignore = "by `make test-packages`: it needs what makes packages"]
fn all_hold_the_same_files() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let base = tempfile::tempdir().unwrap();
    let [deb, rpm, tarball, installed] =
        ["deb", "rpm", "tarball", "installed"].map(|name| base.path().join(name));
    for folder in [&rpm, &tarball, &installed] {
        fs::create_dir(folder).unwrap();
    }
    let made = made();
    run(Command::new("dpkg-deb").arg("--extract").arg(made.file(".deb")).arg(&deb))?;
    run(Command::new("sh")
        .args(["-c", "rpm2cpio \"$0\" | cpio -i -d -m --quiet"])
        .arg(made.file(".rpm"))
        .current_dir(&rpm))?;
    run(Command::new("tar").arg("-xzpf").arg(made.file(".tar.gz")).arg("-C").arg(&tarball))?;
    run(Command::new(repository().join("packaging/install.sh"))
        .arg("install")
        .env("DESTDIR", &installed)
        .env("TARGET", target()?))?;

    let expected = files(&tarball);
    assert!(expected.len() > 60, "{expected:#?}");
    assert!(expected.values().all(|(_, owner, _)| *owner == 0));
    for (path, mode) in [
        ("usr/bin/coaming", 0o755),
        ("usr/bin/containerd-shim-coaming-v1", 0o755),
        ("usr/libexec/coaming/coaming-crun", 0o755),
        ("usr/libexec/coaming/coaming-init", 0o755),
        ("usr/lib/systemd/system/coaming-load.service", 0o644),
        ("usr/lib/tmpfiles.d/coaming.conf", 0o644),
        ("usr/share/man/man1/coaming-check.1.gz", 0o644),
        ("usr/share/bash-completion/completions/coaming", 0o644),
        ("usr/share/coaming/coaming.cdx.json", 0o644),
        ("etc/coaming/config.toml", 0o644),
    ] {
        assert_eq!(expected.get(path).map(|(mode, ..)| *mode), Some(mode), "{path}");
    }
    let mut debs = files(&deb);
    for path in OF_DEBIAN {
        assert!(debs.remove(path).is_some(), "the deb has no {path}");
    }
    assert_eq!(debs, expected);
    assert_eq!(files(&rpm), expected);
    let mut own = files(&installed);
    assert!(own.remove("usr/share/coaming/installed-files").is_some());
    // It is of packages alone: `make install` knows no tool for it.
    let mut without = expected.clone();
    assert!(without.remove("usr/share/coaming/coaming.cdx.json").is_some());
    assert_eq!(own, without);
    // The makers of debs and rpms know no empty folders: their scripts make these.
    for folder in [&tarball, &installed] {
        for name in ["policy.d", "break-glass.d"] {
            let made = folder.join("etc/coaming").join(name).metadata().unwrap();
            assert_eq!((made.mode() & 0o7777, made.is_dir()), (0o755, true));
        }
    }
    Ok(())
}

/// Another place, another time of day, another language: the same bytes. And not the same ones whatever they are made of.
#[test]
#[ignore = "by `make test-packages`: it needs what makes packages"]
fn the_same_programs_make_the_same_packages() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let base = tempfile::tempdir().unwrap();
    let tree = base.path().join("elsewhere");
    fs::create_dir(&tree).unwrap();
    let line = "tar -c --exclude=./target --exclude=./.git . | tar -x -C \"$0\"";
    run(Command::new("sh").args(["-c", line]).arg(&tree).current_dir(repository()))?;
    let again = base.path().join("out");
    make(&tree, &again, "1790000000")?;
    for end in [".deb", ".rpm", ".tar.gz", ".cdx.json", "SHA256SUMS"] {
        let (one, two) = (made().file(end), again.join(made().file(end).file_name().unwrap()));
        assert_eq!(digest(&one), digest(&two), "{}", one.display());
    }
    Ok(())
}

#[test]
#[ignore = "by `make test-packages`: it needs what makes packages"]
fn the_deb_is_as_debian_wants_it() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let deb = made().file(".deb");
    let said = run(Command::new("lintian")
        .args(["--allow-root", "--fail-on", "error,warning"])
        .arg(&deb))?;
    assert_eq!(said, "", "lintian has something to say");
    let depends = run(Command::new("dpkg-deb").arg("--field").arg(&deb).arg("Depends"))?;
    assert!(!depends.contains("lib"), "its programs are static: {depends}");
    let conffiles = run(Command::new("dpkg-deb").arg("--info").arg(&deb).arg("conffiles"))?;
    assert_eq!(conffiles.trim(), "/etc/coaming/config.toml");
    for script in ["postinst", "prerm", "postrm"] {
        let text = run(Command::new("dpkg-deb").arg("--info").arg(&deb).arg(script))?;
        assert!(!text.contains('@'), "{script} has a place that nothing was written to: {text}");
        assert!(!text.contains("containerd"), "{script} touches containerd: {text}");
    }
    Ok(())
}

#[test]
#[ignore = "by `make test-packages`: it needs what makes packages"]
fn the_rpm_says_what_it_needs_and_does() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let rpm = made().file(".rpm");
    let base = tempfile::tempdir().unwrap();
    let ask = |arguments: &[&str]| {
        run(Command::new("rpm").arg("--dbpath").arg(base.path()).args(arguments).arg(&rpm))
    };
    assert!(ask(&["--checksig", "--nosignature"])?.contains("digests OK"));
    let needs = ask(&["-qp", "--requires"])?;
    for library in [".so", "rtld("] {
        assert!(!needs.contains(library), "its programs are static: {needs}");
    }
    assert!(needs.contains("/bin/sh"), "its scripts are not: {needs}");
    assert_eq!(ask(&["-qp", "--configfiles"])?.trim(), "/etc/coaming/config.toml");
    // cargo-generate-rpm takes the name of a script that it does not find for the script.
    let scripts = ask(&["-qp", "--scripts"])?;
    for part in ["postinstall", "preuninstall", "postuninstall"] {
        assert!(scripts.contains(part), "{scripts}");
    }
    for part in [
        "in /etc/coaming/policy.d /etc/coaming/break-glass.d; do",
        "systemctl --no-reload preset coaming-load.path",
        "/run/coaming/containers",
    ] {
        assert!(scripts.contains(part), "{scripts}");
    }
    assert!(!scripts.contains("containerd") && !scripts.contains('@'), "{scripts}");
    let flags = ask(&["-qp", "--queryformat", "[%{FILENAMES} %{FILEFLAGS:fflags}\\n]"])?;
    assert!(flags.contains("/etc/coaming/config.toml cn"), "not noreplace: {flags}");
    Ok(())
}

/// The regular files and links below a folder.
fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                open.push(path);
                continue;
            }
            let metadata = path.metadata().unwrap();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            let mode = metadata.permissions().mode() & 0o7777;
            found.insert(name, (mode, metadata.uid(), digest(&path)));
        }
    }
    found
}

fn digest(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
