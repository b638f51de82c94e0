//! The profiles that people run: containerd's default as each containerd writes it, Podman's and Docker's as Debian has them,
//! coaming's own, and small ones with a killing default. None but the last is copied here.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use coaming_integration::cri::{ContainerSpec, Pod, Profile};
use coaming_integration::{
    Containerd, Error, Node, NodeConfig, PAIRS, dockers_profile, images, podmans_profile,
};
use serde_json::Value;

/// All of them, as files, the recorded ones in this folder; the built-in one by its name.
pub(crate) fn all(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut all = vec![builtin(), podmans_profile(), dockers_profile()];
    all.extend(["monitor", "worker", "no-devices"].map(own));
    for containerd in [Containerd::V1_6, Containerd::V1_7, Containerd::V2] {
        all.extend(containerds(folder, containerd)?);
    }
    Ok(all)
}

pub(crate) fn builtin() -> PathBuf {
    PathBuf::from("builtin:runtime-default")
}

/// A profile of the oracle's.
pub(crate) fn own(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/oracle/profiles");
    Path::new(folder).join(name).with_extension("json")
}

/// RuntimeDefault of a container without privileges, and of one with CAP_SYS_ADMIN, as files in this folder.
pub(crate) fn containerds(folder: &Path, containerd: Containerd) -> Result<[PathBuf; 2], Error> {
    // Tests that want the same do not start a node each.
    static RECORDED: Mutex<BTreeMap<Containerd, [String; 2]>> = Mutex::new(BTreeMap::new());
    let mut recorded = RECORDED.lock().unwrap_or_else(PoisonError::into_inner);
    let sections = match recorded.entry(containerd) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(place) => place.insert(record(containerd)?),
    };
    let version = containerd.to_string().replace(' ', "-");
    let files = ["plain", "admin"].map(|kind| folder.join(format!("{version}-{kind}.json")));
    for (file, section) in files.iter().zip(sections) {
        fs::write(file, section).unwrap();
    }
    Ok(files)
}

/// What containerd writes into config.json.
fn record(containerd: Containerd) -> Result<[String; 2], Error> {
    let (_, runtime) = PAIRS.into_iter().find(|(of, _)| *of == containerd).unwrap();
    let node = Node::start(NodeConfig::new(containerd, runtime))?;
    let cri = node.cri()?;
    let pod = cri.run_pod(&Pod { host_network: true, ..Pod::new("profiles", "runc") })?;
    let section = |name: &str, add: &[&str]| {
        let id = cri.launch(
            &pod,
            &ContainerSpec {
                seccomp: Some(Profile::RuntimeDefault),
                add_capabilities: add.iter().map(|&name| name.to_owned()).collect(),
                ..ContainerSpec::new(name, images::BUSYBOX, ["sleep", "1000"])
            },
        )?;
        let bundle = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}");
        let config = node.world().read(format!("{bundle}/config.json"))?;
        let config: Value = serde_json::from_str(&config).unwrap();
        let section = &config["linux"]["seccomp"];
        assert!(section["syscalls"].as_array().is_some_and(|rules| !rules.is_empty()), "{config}");
        Ok::<_, Error>(section.to_string())
    };
    let sections = [section("plain", &[])?, section("admin", &["SYS_ADMIN"])?];
    cri.remove_pod(&pod)?;
    Ok(sections)
}
