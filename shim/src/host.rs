//! What must be asked of this machine before a request can be judged.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use coaming_policy::controls::{Joined, Node};
use coaming_policy::spec::view;
use nix::sys::utsname::uname;
use nix::unistd::Uid;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{origins, ownership, sys};

/// The largest hook binary whose digest is taken, in bytes.
const MAX_HOOK: u64 = 64 * 1024 * 1024;

/// Gathers what the policy needs to know of the machine for this spec.
pub fn examine(spec: &Value) -> Node {
    Node {
        landlock_abi: sys::landlock_abi(),
        lsms: security_modules(),
        kernel: kernel(),
        logs_seccomp: logs_seccomp(),
        joins: joins(spec),
        origins: origins::origins(spec),
        hook_digests: hook_digests(spec),
    }
}

/// The active security modules. securityfs may not be mounted; the modules' own marks are elsewhere.
fn security_modules() -> Vec<String> {
    if let Ok(list) = fs::read_to_string("/sys/kernel/security/lsm") {
        return list.trim().split(',').map(str::to_owned).collect();
    }
    let mut modules = Vec::new();
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if enabled.is_ok_and(|text| text.starts_with('Y')) {
        modules.push("apparmor".to_owned());
    }
    if Path::new("/sys/fs/selinux/enforce").exists() {
        modules.push("selinux".to_owned());
    }
    modules
}

/// Whether the kernel logs what a filter answers with SECCOMP_RET_LOG (seccomp(2), "/proc interfaces").
fn logs_seccomp() -> bool {
    fs::read_to_string("/proc/sys/kernel/seccomp/actions_logged")
        .is_ok_and(|actions| actions.split_ascii_whitespace().any(|action| action == "log"))
}

fn kernel() -> (u32, u32) {
    let release = uname().ok().and_then(|name| name.release().to_str().map(str::to_owned));
    let release = release.unwrap_or_default();
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// What is behind each namespace path: the host's namespaces are ours, since whoever calls the
/// wrapper (containerd's shim, conmon) runs in them.
fn joins(spec: &Value) -> BTreeMap<String, Joined> {
    let identity = |path: &str| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    view::items(spec, "linux.namespaces")
        .iter()
        .filter_map(|namespace| {
            let path = view::text(namespace, "path")?;
            let kind = match view::text(namespace, "type") {
                Some("network") => "net",
                Some("mount") => "mnt",
                Some(kind) => kind,
                None => return None,
            };
            let joined = match (identity(path), identity(&format!("/proc/self/ns/{kind}"))) {
                (Some(theirs), Some(ours)) if theirs == ours => Joined::Host,
                (Some(_), Some(_)) => Joined::Other,
                _ => Joined::Unknown,
            };
            Some((path.to_owned(), joined))
        })
        .collect()
}

/// Digests of the hook binaries that the spec names, where root alone can change them.
fn hook_digests(spec: &Value) -> BTreeMap<String, String> {
    view::entries(spec, "hooks")
        .filter_map(|(_, list)| list.as_array())
        .flatten()
        .filter_map(|hook| {
            let path = view::text(hook, "path")?;
            Some((path.to_owned(), digest(Path::new(path))?))
        })
        .collect()
}

fn digest(path: &Path) -> Option<String> {
    let root = Uid::from_raw(0);
    let resolved = fs::canonicalize(path).ok()?;
    let file = File::open(&resolved).ok()?;
    let meta = file.metadata().ok()?;
    let exposed = ownership::exposed(meta.uid(), meta.mode(), root)
        .or_else(|| ownership::exposed_ancestor(&resolved, root));
    if !path.is_absolute() || !meta.is_file() || meta.len() > MAX_HOOK || exposed.is_some() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_HOOK).read_to_end(&mut bytes).ok()?;
    Some(hex(&Sha256::digest(&bytes)))
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_to_our_own_namespace_is_the_hosts() {
        let spec = json!({"linux": {"namespaces": [
            {"type": "network", "path": "/proc/self/ns/net"},
            {"type": "ipc", "path": "/nonexistent"},
            {"type": "pid"},
        ]}});
        let joins = joins(&spec);
        assert_eq!(joins["/proc/self/ns/net"], Joined::Host);
        assert_eq!(joins["/nonexistent"], Joined::Unknown);
        assert_eq!(joins.len(), 2);
    }

    #[test]
    fn the_kernel_has_a_version() {
        assert!(kernel() > (3, 0));
    }

    #[test]
    fn only_roots_binaries_have_digests() {
        let spec = json!({"hooks": {"poststop": [{"path": "/bin/true"}, {"path": "/dev/null"}]}});
        let digests = hook_digests(&spec);
        assert!(!digests.contains_key("/dev/null"));
        assert!(digests["/bin/true"].len() == 64);
    }
}
