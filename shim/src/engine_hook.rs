//! The hook by which Docker hands a container's network namespace to its network library.
//!
//! dockerd adds it itself (daemon/oci_linux.go, up to 27 at least), as `/proc/<its pid>/exe` called `libnetwork-setkey`; its clients cannot
//! add any. Without it no container of Docker's has a network. It is no client's wish, so policy does not judge it; but only if it
//! truly is dockerd, a program that root alone can change, and then by that program's own path: what a
//! number in /proc leads to may change before the runtime runs it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use coaming_policy::spec::edit::Edit;
use coaming_policy::spec::view;
use nix::unistd::Uid;
use serde_json::{Value, json};

use crate::ownership;

const LIST: &str = "hooks.prestart";
const NAME: &str = "libnetwork-setkey";
const DAEMON: &str = "dockerd";

/// Takes Docker's own hook out of a spec, as it is to be run; `None` where there is none that surely is Docker's.
pub(crate) fn take(spec: &mut Value) -> Option<Value> {
    let hooks = view::items(spec, LIST).to_vec();
    let (index, program) =
        hooks.iter().enumerate().find_map(|(index, hook)| Some((index, dockers(hook)?)))?;
    let mut others = hooks;
    let mut hook = others.remove(index);
    if let Some(path) = hook.get_mut("path") {
        *path = json!(program);
    }
    Edit::Set(LIST.to_owned(), Value::Array(others)).apply(spec);
    Some(hook)
}

/// Puts it back, before all others: the network is there when they run.
pub(crate) fn put_back(spec: &mut Value, hook: Value) {
    let mut hooks = vec![hook];
    hooks.extend_from_slice(view::items(spec, LIST));
    Edit::Set(LIST.to_owned(), Value::Array(hooks)).apply(spec);
}

/// The program behind Docker's hook.
fn dockers(hook: &Value) -> Option<String> {
    if view::strings(hook, "args").next() != Some(NAME) {
        return None;
    }
    let path = view::text(hook, "path")?;
    let number = path.strip_prefix("/proc/")?.strip_suffix("/exe")?;
    number.parse::<u32>().ok()?;
    // A program that was replaced meanwhile is shown as deleted, and is none that can be looked at.
    let program = fs::read_link(path).ok()?;
    is_daemon(&program).then(|| program.display().to_string())
}

fn is_daemon(program: &Path) -> bool {
    let root = Uid::from_raw(0);
    let Ok(meta) = fs::symlink_metadata(program) else { return false };
    program.file_name().is_some_and(|name| name == DAEMON)
        && meta.is_file()
        && ownership::exposed(meta.uid(), meta.mode(), root).is_none()
        && ownership::exposed_ancestor(program, root).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_dockers_own_stays_to_be_judged() {
        let own = format!("/proc/{}/exe", std::process::id());
        for (path, name) in [
            (own.as_str(), NAME),
            ("/proc/self/exe", NAME),
            ("/usr/bin/dockerd", NAME),
            ("/proc/1/../1/exe", NAME),
            (own.as_str(), "sh"),
        ] {
            let asked = json!({"hooks": {"prestart": [{"path": path, "args": [name, "x"]}]}});
            let mut spec = asked.clone();
            assert_eq!(take(&mut spec), None, "{path} {name}");
            assert_eq!(spec, asked);
        }
    }

    #[test]
    fn a_daemon_is_a_file_of_that_name_that_root_alone_can_change() {
        assert!(!is_daemon(Path::new("/bin/sh")));
        let folder = tempfile::tempdir().unwrap();
        let daemon = folder.path().join(DAEMON);
        fs::write(&daemon, "").unwrap();
        let with_mode = |mode| {
            fs::set_permissions(&daemon, std::os::unix::fs::PermissionsExt::from_mode(mode))
                .unwrap();
            is_daemon(&daemon)
        };
        assert!(!with_mode(0o777));
        if nix::unistd::geteuid().is_root() {
            assert!(with_mode(0o755));
            std::os::unix::fs::chown(&daemon, Some(1000), None).unwrap();
            assert!(!is_daemon(&daemon));
        }
    }

    #[test]
    fn it_comes_back_before_the_others() {
        let mut spec = json!({"hooks": {"prestart": [{"path": "/b"}]}});
        put_back(&mut spec, json!({"path": "/a"}));
        assert_eq!(spec["hooks"]["prestart"], json!([{"path": "/a"}, {"path": "/b"}]));
        let mut spec = json!({});
        put_back(&mut spec, json!({"path": "/a"}));
        assert_eq!(spec["hooks"]["prestart"], json!([{"path": "/a"}]));
    }
}
