//! The programs of a version, and how a package manager puts them into place.

use std::path::{Path, PathBuf};

use coaming_integration::{Error, Node, SHIM, binaries};

/// By their places on a node.
pub(crate) struct Programs(Vec<(PathBuf, String)>);

impl Programs {
    /// Those of the folder that `COAMING_OLDER` names; nothing, said loudly, where it names none.
    pub(crate) fn older() -> Result<Option<Programs>, Error> {
        let Some(folder) = std::env::var_os("COAMING_OLDER") else {
            if std::env::var_os("CI").is_some_and(|ci| ci == "true") {
                let why = "COAMING_OLDER names no folder with the programs of an older version; `make test-upgrade` builds them";
                return Err(Error::Unavailable(why.to_owned()));
            }
            eprintln!(
                "skipped: COAMING_OLDER names no folder with the programs of an older version"
            );
            return Ok(None);
        };
        let folder = Path::new(&folder);
        let place = |name: &str| format!("/usr/libexec/coaming/{name}");
        let mut programs = Vec::new();
        for name in [
            "coaming-init",
            "coaming-validator",
            "coaming-labels",
            "coaming-hook",
            "coaming-hook-test",
            "coaming",
        ] {
            // Not every version has all of them.
            if folder.join(name).exists() {
                programs.push((folder.join(name), place(name)));
            }
        }
        for name in ["coaming-runc", "coaming-crun"] {
            programs.push((folder.join("coaming-runc"), place(name)));
        }
        programs.push((folder.join("containerd-shim-coaming-v1"), SHIM.to_owned()));
        Ok(Some(Programs(programs)))
    }

    /// This version's.
    pub(crate) fn built() -> Result<Programs, Error> {
        let built = binaries::binaries()?;
        let place = |name: &str| format!("/usr/libexec/coaming/{name}");
        Ok(Programs(vec![
            (built.launcher.clone(), place("coaming-init")),
            (built.validator.clone(), place("coaming-validator")),
            (built.labels.clone(), place("coaming-labels")),
            (built.hook.clone(), place("coaming-hook")),
            (built.hook_test.clone(), place("coaming-hook-test")),
            (built.cli.clone(), place("coaming")),
            (built.wrapper.clone(), place("coaming-runc")),
            (built.wrapper.clone(), place("coaming-crun")),
            (built.shim.clone(), SHIM.to_owned()),
        ]))
    }

    /// Each file is written beside the one that is there, all of them first, and then takes its place, as dpkg does it; with time
    /// between for what runs meanwhile to meet every mixture.
    pub(crate) fn replace(&self, node: &Node) -> Result<(), Error> {
        for (from, to) in &self.0 {
            node.world().install(from, format!("{to}.dpkg-new"), 0o755)?;
        }
        for (_, to) in &self.0 {
            node.world().run(["mv", "-f", &format!("{to}.dpkg-new"), to])?.ok("mv")?;
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        Ok(())
    }
}
