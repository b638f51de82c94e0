//! The units of systemd that read their configuration when they start.

use super::ask::ask;
use super::report::{Done, FileDone};
use super::tree::Tree;
use crate::doctor::handlers::Manager;

/// Restarts the first of the units that is active, or says what must be restarted.
pub(super) fn after(asked: bool, tree: &Tree, units: &[&str], done: &mut Done) {
    if units.is_empty() || !tree.is_machine() {
        return;
    }
    let one_of = units.join(" or ");
    if !asked {
        done.notes.push(format!("not restarted: what runs has read its configuration before this; systemctl restart {one_of}"));
        return;
    }
    let is_active = |unit: &&&str| {
        ask(tree, "/usr/bin/systemctl", &["is-active", "--quiet", unit])
            .is_ok_and(|said| said.success)
    };
    let Some(unit) = units.iter().find(is_active) else {
        done.notes.push(format!("not restarted: {one_of} is not active"));
        return;
    };
    match ask(tree, "/usr/bin/systemctl", &["restart", unit]) {
        Ok(said) if said.success => done.restarted = Some((*unit).to_owned()),
        Ok(said) => done.fail(format!("systemctl restart {unit} says: {}", said.complaint())),
        Err(problem) => done.fail(problem),
    }
}

/// Those that have read these files of a manager.
pub(super) fn units_of(manager: Manager, files: &[FileDone]) -> &'static [&'static str] {
    let has = |part: &str| files.iter().any(|file| file.path.contains(part));
    match manager {
        Manager::Containerd if has("/rancher/k3s/") => &["k3s.service", "k3s-agent.service"],
        Manager::Containerd if has("/rancher/rke2/") => {
            &["rke2-server.service", "rke2-agent.service"]
        }
        Manager::Containerd => &["containerd.service"],
        Manager::Crio => &["crio.service"],
        Manager::Docker => &["docker.service"],
        Manager::Podman => &[],
    }
}
