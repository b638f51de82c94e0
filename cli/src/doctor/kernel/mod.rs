//! What this kernel gives, tried and not guessed from its version, and what that means for each control.

mod child;
mod controls;
mod sys;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use coaming_policy::controls::Node;
use coaming_shim::host;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use child::run as run_child;
pub(super) use controls::{Control, State, Unmet, controls, unmet};

/// The trials that a child of ours makes, since what it loads stays with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Trial {
    /// Everything that a process lives through.
    Features,
    /// A filter that kills.
    Kill,
    /// A mount with its ids mapped.
    Idmap,
    /// A user namespace, until standard input ends.
    UserNamespace,
}

/// What a child found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Trials {
    /// Filters: that one can be loaded, and that its answer is what a call then gets.
    pub(super) seccomp_filter: bool,
    /// Each flag of seccomp(2), by whether a filter with it can be loaded.
    pub(super) seccomp_flags: BTreeMap<String, bool>,
    /// Each answer of a filter, by whether the kernel knows it.
    pub(super) seccomp_actions: BTreeMap<String, bool>,
    /// The kernel's own number; 0 without Landlock.
    pub(super) landlock_abi: u32,
    /// Each right, by whether a ruleset with it can be made.
    pub(super) landlock_rights: BTreeMap<String, bool>,
    /// Whether a file that a ruleset keeps from a process is kept from it.
    pub(super) landlock_effect: bool,
    pub(super) no_new_privileges: bool,
    /// Why no user namespace can be made; none where one can.
    pub(super) user_namespaces: Option<String>,
    /// Why the kernel's audit records cannot be followed; none where they can.
    pub(super) audit: Option<String>,
}

/// What is known of the kernel.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kernel {
    release: String,
    security_modules: Vec<String>,
    pub(super) trials: Trials,
    /// Whether a filter that kills does.
    seccomp_kills: bool,
    /// Why a mount's ids cannot be mapped, which pods in user namespaces need; none where they can.
    idmapped_mounts: Option<String>,
    /// Why the trials could not be made; then their answers mean nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) untried: Option<String>,
    /// What a policy's `support` is asked with.
    #[serde(skip)]
    pub(super) node: Node,
    /// `v1`, `v2` or `hybrid`.
    cgroups: &'static str,
    last_capability: Option<u32>,
    /// What the kernel logs of filters' answers (`kernel.seccomp.actions_logged`).
    actions_logged: Vec<String>,
    /// Whether SELinux enforces; none without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    se_linux_enforces: Option<bool>,
}

impl Kernel {
    pub(super) fn examine() -> Kernel {
        let (trials, untried) = match tried() {
            Ok(trials) => (trials, None),
            Err(why) => (Trials::default(), Some(why)),
        };
        let node = host::examine(&Value::Null);
        let text = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        Kernel {
            release: text("/proc/sys/kernel/osrelease").unwrap_or_default(),
            security_modules: node.lsms.clone(),
            trials,
            seccomp_kills: kills(),
            idmapped_mounts: idmapped(),
            untried,
            node,
            cgroups: cgroups(),
            last_capability: text("/proc/sys/kernel/cap_last_cap")
                .and_then(|text| text.parse().ok()),
            actions_logged: text("/proc/sys/kernel/seccomp/actions_logged")
                .map(|text| text.split(' ').map(str::to_owned).collect())
                .unwrap_or_default(),
            se_linux_enforces: text("/sys/fs/selinux/enforce").map(|text| text == "1"),
        }
    }
}

/// Runs the trials in a child: ourselves, so that no other program need be there.
fn tried() -> Result<Trials, String> {
    let failed = |error: std::io::Error| format!("cannot run the trials: {error}");
    let output = trial("features").output().map_err(failed)?;
    if !output.status.success() {
        return Err(format!("the trials ended with {}", output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("the trials' answer: {error}"))
}

/// Why no mount's ids can be mapped.
fn idmapped() -> Option<String> {
    let failed = |error: std::io::Error| Some(format!("cannot run the trial: {error}"));
    match trial("idmap").output() {
        Ok(output) if output.status.success() => serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| Some(format!("the trial's answer: {error}"))),
        Ok(output) => Some(format!("the trial ended with {}", output.status)),
        Err(error) => failed(error),
    }
}

/// Whether `SECCOMP_RET_KILL_PROCESS` does: the child must die of SIGSYS.
fn kills() -> bool {
    const SIGSYS: i32 = 31;
    let status = trial("kill").stdout(Stdio::null()).status();
    status.is_ok_and(|status| status.signal() == Some(SIGSYS))
}

fn trial(name: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["doctor", "--trial", name])
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// By what is mounted at `/sys/fs/cgroup` (systemd's three layouts).
fn cgroups() -> &'static str {
    let has = |path: &str| Path::new(path).exists();
    match (
        has("/sys/fs/cgroup/cgroup.controllers"),
        has("/sys/fs/cgroup/unified/cgroup.controllers"),
    ) {
        (true, _) => "v2",
        (false, true) => "hybrid",
        (false, false) => "v1",
    }
}
