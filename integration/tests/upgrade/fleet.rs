//! Containers of several pods, by the stock shim and by coaming's own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coaming_integration::cri::{ContainerSpec, Pod, Sandbox, State};
use coaming_integration::{Door, Error, Node, images, residue, wait_for};
use serde_json::Value;

/// What any version reads.
pub(crate) const POLICY: &str = "\
apiVersion: coaming.dev/v1alpha1
kind: Policy
metadata: {name: payments}
spec:
  match: {namespaces: [payments]}
  capabilities: {allow: [CHOWN]}
  noNewPrivileges: true
  seccomp: {default: runtime-default}
";

/// The ways in, in turns.
pub(crate) const DOORS: [Door; 2] = [Door::Wrapper, Door::ShimType];

pub(crate) struct Fleet<'a> {
    node: &'a Node,
    pods: Vec<Sandbox>,
    containers: Vec<String>,
}

impl<'a> Fleet<'a> {
    /// As many containers, two in each pod.
    pub(crate) fn start(node: &'a Node, containers: usize) -> Result<Fleet<'a>, Error> {
        let cri = node.cri()?;
        let mut fleet = Fleet { node, pods: Vec::new(), containers: Vec::new() };
        for number in 0..containers.div_ceil(2) {
            let handler = DOORS[number % DOORS.len()].handler();
            let pod = Pod {
                namespace: "payments".to_owned(),
                ..Pod::new(&format!("ledger-{number}"), handler)
            };
            let pod = cri.run_pod(&pod)?;
            for name in ["main", "side"] {
                let spec = ContainerSpec::new(
                    name,
                    images::PROBE,
                    ["probe", "each", "status", "--", "pause"],
                );
                fleet.containers.push(cri.launch(&pod, &spec)?);
            }
            fleet.pods.push(pod);
        }
        for id in &fleet.containers {
            let said = wait_for("the probe's word of itself", || {
                Ok(cri.logs(id)?.stdout.lines().next().map(str::to_owned))
            })?;
            is_floored(&said);
        }
        Ok(fleet)
    }

    pub(crate) fn pod(&self, number: usize) -> &Sandbox {
        &self.pods[number]
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &String> {
        self.containers.iter()
    }

    /// Execs until told to end, from a place of its own on; how many there were. One that fails is an error, and one that may do
    /// more than its floor a panic.
    pub(crate) fn exec_until(&self, number: usize, done: &AtomicBool) -> Result<u32, Error> {
        let cri = self.node.cri()?;
        let mut count = 0;
        for id in self.containers.iter().cycle().skip(number * 5) {
            is_floored(&cri.exec_sync(id, ["probe", "status"])?.ok("exec")?.stdout);
            count += 1;
            if done.load(Ordering::SeqCst) {
                break;
            }
        }
        Ok(count)
    }

    pub(crate) fn exec_into_all(&self) -> Result<(), Error> {
        let cri = self.node.cri()?;
        for id in &self.containers {
            is_floored(&cri.exec_sync(id, ["probe", "status"])?.ok("exec")?.stdout);
        }
        Ok(())
    }

    pub(crate) fn all_run(&self) -> Result<(), Error> {
        let cri = self.node.cri()?;
        for id in &self.containers {
            assert_eq!(cri.status(id)?.state, State::Running, "{id}");
        }
        Ok(())
    }

    /// Leaves the records in the folder that `COAMING_KEEP_RECORDS` names: what an older version wrote for real, for tests.
    pub(crate) fn keep_records(&self, prefix: &str) {
        let Some(folder) = std::env::var_os("COAMING_KEEP_RECORDS") else { return };
        let folders = self.node.world().path("/run/coaming/containers");
        for (number, entry) in std::fs::read_dir(folders).unwrap().flatten().take(3).enumerate() {
            let to = std::path::Path::new(&folder).join(format!("{prefix}-{number}.json"));
            std::fs::copy(entry.path().join("record.json"), to).unwrap();
        }
    }

    /// Stops and removes all of it.
    pub(crate) fn stop_and_leave_nothing(&self) -> Result<(), Error> {
        let cri = self.node.cri()?;
        let world = self.node.world();
        for id in &self.containers {
            cri.stop(id, 5)?;
            assert_eq!(cri.wait(id)?, 0, "{id}: pause ends with SIGTERM");
            cri.remove(id)?;
        }
        for pod in &self.pods {
            cri.remove_pod(pod)?;
        }
        let all = self.pods.iter().map(|pod| &pod.id).chain(&self.containers);
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let mut left: Vec<String> =
                all.clone().flat_map(|id| residue::of(world, "k8s.io", id)).collect();
            let own = "cd /run/coaming && find containers launch -mindepth 1 2>/dev/null; true";
            left.extend(world.run(["sh", "-c", own])?.stdout.lines().map(str::to_owned));
            if left.is_empty() {
                return Ok(());
            }
            assert!(Instant::now() < end, "left: {left:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// What a process says of itself is no wider than [`POLICY`].
#[track_caller]
pub(crate) fn is_floored(said: &str) {
    let status: Value =
        serde_json::from_str(said.trim()).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(status["noNewPrivs"], 1, "{status}");
    assert_eq!(status["seccomp"], 2, "{status}");
    for set in ["bounding", "effective", "permitted"] {
        for name in status["capabilities"][set].as_array().unwrap() {
            assert_eq!(name, "CAP_CHOWN", "{set}: {status}");
        }
    }
}
