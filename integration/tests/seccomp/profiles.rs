//! The profiles that people run: containerd's default as each containerd writes it, Podman's as Debian has it, coaming's
//! own, and small ones with a killing default. None but the last is copied here.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use coaming_integration::cri::{ContainerSpec, Pod, Profile};
use coaming_integration::{Containerd, Error, Node, NodeConfig, PAIRS, images, podmans_profile};
use serde_json::Value;

/// All of them, as files; the built-in one by its name.
pub(crate) fn all() -> Result<Vec<PathBuf>, Error> {
    let mut all = vec![builtin(), podmans_profile()];
    all.extend(["monitor", "worker", "no-devices"].map(own));
    for containerd in [Containerd::V1_6, Containerd::V1_7, Containerd::V2] {
        all.extend(containerds(containerd)?);
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

/// RuntimeDefault of a container without privileges, and of one with CAP_SYS_ADMIN, taken from its config.json.
pub(crate) fn containerds(containerd: Containerd) -> Result<Vec<PathBuf>, Error> {
    // Tests that want the same do not start a node each.
    static RECORDING: Mutex<()> = Mutex::new(());
    let _one = RECORDING.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("seccomp-profiles-{}", std::process::id()));
    let version = containerd.to_string().replace(' ', "-");
    let files = ["plain", "admin"].map(|kind| folder.join(format!("{version}-{kind}.json")));
    if files.iter().all(|file| file.exists()) {
        return Ok(files.into());
    }
    fs::create_dir_all(&folder).unwrap();
    let (_, runtime) = PAIRS.into_iter().find(|(of, _)| *of == containerd).unwrap();
    let node = Node::start(NodeConfig::new(containerd, runtime))?;
    let cri = node.cri()?;
    let pod = cri.run_pod(&Pod { host_network: true, ..Pod::new("profiles", "runc") })?;
    for (file, add) in files.iter().zip([Vec::new(), vec!["SYS_ADMIN".to_owned()]]) {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let id = cri.launch(
            &pod,
            &ContainerSpec {
                seccomp: Some(Profile::RuntimeDefault),
                add_capabilities: add,
                ..ContainerSpec::new(&name, images::BUSYBOX, ["sleep", "1000"])
            },
        )?;
        let bundle = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}");
        let config = node.world().read(format!("{bundle}/config.json"))?;
        let config: Value = serde_json::from_str(&config).unwrap();
        let section = &config["linux"]["seccomp"];
        assert!(section["syscalls"].as_array().is_some_and(|rules| !rules.is_empty()), "{config}");
        fs::write(file, section.to_string()).unwrap();
    }
    cri.remove_pod(&pod)?;
    Ok(files.into())
}
