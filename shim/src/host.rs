//! What must be asked of this machine before a request can be judged.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use coaming_config::Caller;
use coaming_policy::controls::se_linux::SeLinuxNode;
use coaming_policy::controls::{Joined, Node};
use coaming_policy::denial_log::LOGGING_ABI;
use coaming_policy::spec::view;
use nix::libc::O_NONBLOCK;
use nix::sys::utsname::uname;
use nix::unistd::Uid;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::selinux::kernel::Kernel;
use crate::{origins, ownership, sys};

/// The largest hook binary whose digest is taken, in bytes.
const MAX_HOOK: u64 = 64 * 1024 * 1024;

/// Whether the kernel stacks AppArmor profiles.
const STACKS: &str = "/sys/kernel/security/apparmor/features/domain/stack";

/// Gathers what the policy needs to know of the machine for this spec.
pub fn examine(spec: &Value) -> Node {
    let programs = hook_programs(spec);
    let lsms = security_modules();
    let permissive = lsms.iter().any(|module| module == "selinux")
        && !Kernel::here().is_some_and(|kernel| kernel.enforces());
    let not_roots = programs.iter().filter(|(_, program)| program.owner != 0);
    Node {
        landlock_abi: sys::landlock_abi(),
        lsms,
        se_linux: SeLinuxNode { permissive, ..SeLinuxNode::default() },
        stacks_app_armor: fs::read_to_string(STACKS).is_ok_and(|says| says.trim() == "yes"),
        kernel: kernel(),
        logs_seccomp: logs_seccomp("log"),
        logs_denied_calls: logs_seccomp("errno"),
        joins: joins(spec),
        rootless: Caller::of_this_process().is_ok_and(|caller| caller.user().is_some()),
        origins: origins::origins(spec),
        hook_owners: not_roots.map(|(path, program)| (path.clone(), program.owner)).collect(),
        hook_digests: programs.into_iter().map(|(path, program)| (path, program.digest)).collect(),
        // Of the runtime itself: `runtime_probe::admit` adds them.
        unsafe_annotations: Vec::new(),
        // Of containerd, where a policy goes by them: `pod_labels`.
        pod_labels: None,
    }
}

/// A hook's program.
struct Program {
    digest: String,
    owner: u32,
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

/// Whether the kernel logs what a filter answers with an action (seccomp(2), "/proc interfaces").
fn logs_seccomp(action: &str) -> bool {
    fs::read_to_string("/proc/sys/kernel/seccomp/actions_logged")
        .is_ok_and(|actions| actions.split_ascii_whitespace().any(|logged| logged == action))
}

/// Whether the kernel logs what Landlock denies, where it is asked to.
pub(crate) fn logs_landlock() -> bool {
    sys::landlock_abi() >= LOGGING_ABI
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

/// The hook binaries that the spec names, where root and their owner alone can change them.
fn hook_programs(spec: &Value) -> BTreeMap<String, Program> {
    view::entries(spec, "hooks")
        .filter_map(|(_, list)| list.as_array())
        .flatten()
        .filter_map(|hook| {
            let path = view::text(hook, "path")?;
            Some((path.to_owned(), program(Path::new(path))?))
        })
        .collect()
}

fn program(path: &Path) -> Option<Program> {
    let resolved = fs::canonicalize(path).ok()?;
    // O_NONBLOCK: a FIFO must not keep us waiting.
    let file = File::options().read(true).custom_flags(O_NONBLOCK).open(&resolved).ok()?;
    let meta = file.metadata().ok()?;
    let owner = Uid::from_raw(meta.uid());
    let exposed = ownership::exposed(meta.uid(), meta.mode(), owner)
        .or_else(|| ownership::exposed_ancestor(&resolved, owner));
    if !path.is_absolute() || !meta.is_file() || meta.len() > MAX_HOOK || exposed.is_some() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_HOOK).read_to_end(&mut bytes).ok()?;
    Some(Program { digest: hex(&Sha256::digest(&bytes)), owner: meta.uid() })
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
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

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
    fn only_binaries_that_their_owner_alone_can_change_have_digests() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("hook");
        fs::write(&own, "#!").unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
        let own = own.display().to_string();
        let spec = json!({"hooks": {"poststop": [
            {"path": "/bin/true"}, {"path": "/dev/null"}, {"path": own}]}});
        let node = examine(&spec);
        assert!(!node.hook_digests.contains_key("/dev/null"));
        assert_eq!(node.hook_digests["/bin/true"].len(), 64);
        assert!(!node.hook_owners.contains_key("/bin/true"));
        let uid = nix::unistd::geteuid().as_raw();
        assert_eq!(node.hook_owners.get(&own).copied().unwrap_or(0), uid);
        if uid == 0 {
            std::os::unix::fs::chown(&own, Some(4321), None).unwrap();
            assert_eq!(examine(&spec).hook_owners[&own], 4321);
        }
        // Writable by others: whose it is does not matter.
        fs::set_permissions(&own, fs::Permissions::from_mode(0o757)).unwrap();
        assert!(!examine(&spec).hook_digests.contains_key(&own));
    }
}
