//! SELinux modules that come with policies, brought into the node's own policy by semodule(8).

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use coaming_config::trust::check_trust;
use coaming_policy::controls::se_linux::module::Modules;
use coaming_policy::document::Directory;
use serde::Serialize;

/// Where distributions have it.
const PROGRAMS: [&str; 2] = ["/usr/sbin/semodule", "/sbin/semodule"];
/// That of local modules (semodule(8), `--priority`): above the distribution's.
const PRIORITY: &str = "400";
/// Root's own, in memory.
const FOLDER: &str = "/run/coaming/modules";

/// What became of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Loaded {
    /// The block's name, with the digest of what the file says.
    module: String,
    state: State,
    /// Why it is not loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum State {
    /// It was there.
    There,
    Installed,
    Failed,
    /// The node has no SELinux.
    NotNeeded,
}

impl Loaded {
    pub(crate) fn is_missing(&self) -> bool {
        self.state == State::Failed
    }
}

impl std::fmt::Display for Loaded {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.state {
            State::There => "is loaded",
            State::Installed => "loaded now",
            State::Failed => "NOT LOADED",
            State::NotNeeded => "not loaded: SELinux is not active here",
        };
        write!(formatter, "SELinux module {} {state}", self.module)?;
        self.why.iter().try_for_each(|why| write!(formatter, ": {why}"))
    }
}

/// Loads the modules of a directory's policies that the node has not.
pub(crate) fn load(directory: &Directory) -> Vec<Loaded> {
    let clauses = directory.floors().flat_map(|(_, floor)| floor.se_linux.clauses());
    let modules: Modules = clauses.flat_map(|clause| clause.rule.modules.clone()).collect();
    if modules.is_empty() {
        return Vec::new();
    }
    if !Path::new("/sys/fs/selinux/enforce").exists() {
        return all(&modules, State::NotNeeded, None);
    }
    let found = PROGRAMS.iter().map(Path::new).find(|path| path.exists());
    let Some(program) = found else {
        let why =
            format!("there is no {} (Debian, Fedora: policycoreutils)", PROGRAMS.join(" or "));
        return all(&modules, State::Failed, Some(&why));
    };
    Store { program: program.to_owned(), folder: FOLDER.into() }.bring(&modules)
}

fn all(modules: &Modules, state: State, why: Option<&str>) -> Vec<Loaded> {
    let of = |name: &String| Loaded { module: name.clone(), state, why: why.map(str::to_owned) };
    modules.keys().map(of).collect()
}

/// The node's store of modules.
struct Store {
    program: PathBuf,
    folder: PathBuf,
}

impl Store {
    fn bring(&self, modules: &Modules) -> Vec<Loaded> {
        let there = match self.there() {
            Ok(there) => there,
            Err(why) => return all(modules, State::Failed, Some(&why)),
        };
        let (old, new): (Modules, Modules) =
            modules.clone().into_iter().partition(|(name, _)| there.contains(name));
        let mut loaded = all(&old, State::There, None);
        if !new.is_empty() {
            // All at once: the node's policy is built anew each time, which takes it many seconds.
            loaded.extend(match self.install(&new) {
                Ok(()) => all(&new, State::Installed, None),
                Err(why) => all(&new, State::Failed, Some(&why)),
            });
        }
        loaded
    }

    /// The modules that are installed and not switched off.
    fn there(&self) -> Result<Vec<String>, String> {
        let listed = self.run(&["--list-modules=full".to_owned()])?;
        let modules = listed.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let (_priority, name, _language) = (words.next()?, words.next()?, words.next()?);
            (words.next() != Some("disabled")).then(|| name.to_owned())
        });
        Ok(modules.collect())
    }

    fn install(&self, modules: &Modules) -> Result<(), String> {
        let failed = |error: std::io::Error| {
            format!("cannot write it below {}: {error}", self.folder.display())
        };
        let _ = fs::remove_dir_all(&self.folder);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(failed)?;
        let mut arguments = vec![format!("--priority={PRIORITY}")];
        let written = modules.iter().try_for_each(|(name, text)| {
            // The module is called what the file is called.
            let path = self.folder.join(format!("{name}.cil"));
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(text.as_bytes())?;
            arguments.push(format!("--install={}", path.display()));
            Ok(())
        });
        let done = written.map_err(failed).and_then(|()| self.run(&arguments).map(drop));
        let _ = fs::remove_dir_all(&self.folder);
        done
    }

    fn run(&self, arguments: &[String]) -> Result<String, String> {
        let program = self.program.display();
        let metadata = fs::metadata(&self.program)
            .map_err(|error| format!("cannot look at {program}: {error}"))?;
        check_trust(&self.program, &metadata).map_err(|error| error.to_string())?;
        let output = Command::new(&self.program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run {program}: {error}"))?;
        if !output.status.success() {
            let said: String =
                String::from_utf8_lossy(&output.stderr).trim().chars().take(2000).collect();
            return Err(format!("{program} ended with {}: {said}", output.status));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// In the place of semodule, which needs a store of a whole distribution.
    fn store(folder: &Path, script: &str) -> Store {
        let program = folder.join("semodule");
        fs::write(&program, format!("#!/bin/sh\ncd {}\n{script}", folder.display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Store { program, folder: folder.join("modules") }
    }

    fn modules() -> Modules {
        ["a", "b"].map(|name| (format!("coaming_{name}_1"), format!("(block {name})"))).into()
    }

    fn states(loaded: &[Loaded]) -> Vec<State> {
        loaded.iter().map(|loaded| loaded.state).collect()
    }

    #[test]
    fn what_is_there_is_not_installed_again_and_what_is_switched_off_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let script = "case $1 in --list-modules=full) printf '100 base pp\\n400 coaming_a_1 cil\\n400 coaming_b_1 cil disabled\\n' ;;\n\
                      *) echo \"$@\" >calls; cat modules/*.cil >texts ;; esac";
        let store = store(folder.path(), script);
        let loaded = store.bring(&modules());
        assert_eq!(states(&loaded), [State::There, State::Installed]);
        let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
        let file = folder.path().join("modules/coaming_b_1.cil");
        assert_eq!(calls.trim(), format!("--priority=400 --install={}", file.display()));
        assert_eq!(fs::read_to_string(folder.path().join("texts")).unwrap(), "(block b)");
        assert!(!folder.path().join("modules").exists(), "it leaves nothing behind");
    }

    #[test]
    fn what_fails_is_told_and_is_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let failing =
            store(folder.path(), "[ $1 = --list-modules=full ] || { echo no type x >&2; exit 1; }");
        let loaded = failing.bring(&modules());
        assert_eq!(states(&loaded), [State::Failed; 2]);
        assert!(
            loaded[0].to_string().contains("no type x") && loaded[0].is_missing(),
            "{}",
            loaded[0]
        );
        fs::set_permissions(&failing.program, fs::Permissions::from_mode(0o777)).unwrap();
        let loaded = failing.bring(&modules());
        assert!(loaded[0].to_string().contains("lets others write it"), "{}", loaded[0]);
        fs::remove_file(&failing.program).unwrap();
        assert_eq!(states(&failing.bring(&modules())), [State::Failed; 2]);
    }
}
