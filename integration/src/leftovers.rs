//! What a world left on the host, if anything.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::Error;

/// The environment variable that every process entering a world carries, with the world's name.
pub(crate) const MARK: &str = "COAMING_TEST_WORLD";

/// Every process and cgroup of the host that belongs to a world whose name starts so. `coaming-world-PID-` is the
/// start of the names of all worlds of test process PID.
///
/// # Errors
/// When /proc or a cgroup hierarchy cannot be read.
pub fn of(name: &str) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for entry in list(Path::new("/proc"))? {
        if !entry.bytes().all(|byte| byte.is_ascii_digit())
            || entry == std::process::id().to_string()
        {
            continue;
        }
        let process = Path::new("/proc").join(&entry);
        // A process may end while it is looked at.
        let read = |file: &str| fs::read(process.join(file)).unwrap_or_default();
        let marks = [
            (read("cgroup"), name.to_owned()),
            (read("environ"), format!("{MARK}={name}")),
            (read("cmdline"), format!("outside\0{name}")),
        ];
        if marks.iter().any(|(text, mark)| contains(text, mark.as_bytes())) {
            let cmdline = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            found.push(format!("process {entry}: {cmdline}"));
        }
    }
    for hierarchy in cgroup_hierarchies()? {
        found.extend(
            list(Path::new(&hierarchy))?
                .into_iter()
                .filter(|group| group.starts_with(name))
                .map(|group| format!("cgroup {hierarchy}/{group}")),
        );
    }
    Ok(found)
}

/// What of the host a careless node would have changed: the mounts, network interfaces and folders that containerd,
/// CNI, runc and coaming use. Equal before and after.
///
/// # Errors
/// When /proc cannot be read.
pub fn footprint() -> Result<BTreeSet<String>, Error> {
    let mut all = BTreeSet::new();
    all.extend(lines("/proc/self/mountinfo")?.into_iter().map(|line| {
        // Without the IDs: another process's mounts may take a free number.
        format!("mount {}", line.splitn(4, ' ').nth(3).unwrap_or_default())
    }));
    all.extend(
        lines("/proc/self/net/dev")?
            .iter()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| format!("interface {}", name.trim())),
    );
    for folder in [
        "/run/containerd",
        "/run/runc",
        "/run/crun",
        "/run/netns",
        "/run/coaming",
        "/etc/coaming",
        "/etc/cni",
        "/etc/cni/net.d",
        "/etc/containerd",
        "/usr/libexec/coaming",
        "/var/lib/cni",
        "/var/lib/containerd",
        "/var/lib/kubelet",
        "/var/log/pods",
    ] {
        if let Ok(entries) = list(Path::new(folder)) {
            all.insert(folder.to_owned());
            all.extend(entries.iter().map(|entry| format!("{folder}/{entry}")));
        }
    }
    Ok(all)
}

fn cgroup_hierarchies() -> Result<Vec<String>, Error> {
    Ok(lines("/proc/self/mounts")?
        .iter()
        .filter_map(|line| match line.split(' ').collect::<Vec<_>>().as_slice() {
            [_, path, "cgroup" | "cgroup2", ..] => Some((*path).to_owned()),
            _ => None,
        })
        .collect())
}

fn lines(path: &str) -> Result<Vec<String>, Error> {
    Ok(fs::read_to_string(path)
        .map_err(Error::io("read", path))?
        .lines()
        .map(str::to_owned)
        .collect())
}

fn list(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = fs::read_dir(folder).map_err(Error::io("list", folder.display()))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
