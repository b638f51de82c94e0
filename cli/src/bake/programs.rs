//! coaming's own files, as packages bring them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use coaming_config::Configuration;

use super::plan::{What, Wish};

/// What a node needs; the wrapper after what it calls. Manual pages and the like are a package's.
const PROGRAMS: [&str; 8] = [
    "/usr/libexec/coaming/coaming-init",
    "/usr/libexec/coaming/coaming-validator",
    "/usr/libexec/coaming/coaming-labels",
    "/usr/libexec/coaming/coaming-hook",
    "/usr/libexec/coaming/coaming-hook-test",
    "/usr/bin/coaming",
    "/usr/libexec/coaming/coaming-runc",
    "/usr/bin/containerd-shim-coaming-v1",
];
const UNITS: [(&str, &str); 3] = [
    (
        "/usr/lib/systemd/system/coaming-load.service",
        include_str!("../../../packaging/systemd/coaming-load.service"),
    ),
    (
        "/usr/lib/systemd/system/coaming-load.path",
        include_str!("../../../packaging/systemd/coaming-load.path"),
    ),
    ("/usr/lib/tmpfiles.d/coaming.conf", include_str!("../../../packaging/tmpfiles.conf")),
];
/// Where units are enabled by whoever makes the image; /etc may be empty.
const WANTS: &str = "/usr/lib/systemd/system/multi-user.target.wants";

/// The programs of `from`, units, and what enables these.
///
/// # Errors
/// What is not there; that `from` is of another build than this program, whose snapshot and filters it would not take.
pub(super) fn wishes(from: &Path) -> Result<Vec<Wish>, String> {
    let mut wishes = Vec::new();
    for path in PROGRAMS {
        let file = from.join(path.trim_start_matches('/'));
        let shown = file.display();
        let failed = |error| {
            format!(
                "cannot read {shown}: {error}; --programs names the root of an installation, or of an unpacked tarball"
            )
        };
        let bytes = fs::read(&file).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode();
        if mode & 0o111 == 0 {
            return Err(format!("{shown} is not executable; chmod 755 it"));
        }
        if path == "/usr/bin/coaming" && !is_this_program(&bytes)? {
            return Err(format!(
                "{shown} is another build than the coaming that you called, and would not take what this one \
                 compiles: call that one"
            ));
        }
        wishes.push(Wish::file(path, bytes, 0o755));
    }
    let link = |path: String, target: &str| Wish { path, what: What::Link(target.to_owned()) };
    wishes.push(link("/usr/libexec/coaming/coaming-crun".to_owned(), "coaming-runc"));
    for (path, text) in UNITS {
        wishes.push(Wish::file(path, text.as_bytes().to_vec(), 0o644));
    }
    for unit in ["coaming-load.service", "coaming-load.path"] {
        wishes.push(link(format!("{WANTS}/{unit}"), &format!("../{unit}")));
    }
    Ok(wishes)
}

fn is_this_program(bytes: &[u8]) -> Result<bool, String> {
    // By the link itself: the program may have been replaced by another since it was started.
    let own = fs::read("/proc/self/exe")
        .map_err(|error| format!("cannot read this program (/proc/self/exe): {error}"))?;
    Ok(own == bytes)
}

/// The folders that packages make.
pub(super) fn folders(configuration: &Configuration) -> Vec<Wish> {
    let policies = configuration.policy_directory.display().to_string();
    [policies, "/etc/coaming/break-glass.d".to_owned()]
        .into_iter()
        .map(|path| Wish { path, what: What::Folder })
        .collect()
}
