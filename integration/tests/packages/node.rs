//! A fresh Debian as a node: containerd's own configuration with the fragment that coaming's package brings, and what a
//! package manager may have left on it.

use std::collections::BTreeMap;

use coaming_integration::{Error, Fresh, images};

/// What a node's administrator has, but for the handlers. restrict_oom_score_adj: see the harness's own nodes.
fn stock() -> String {
    let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
    format!(
        "version = 2\ndisabled_plugins = [\"io.containerd.snapshotter.v1.btrfs\"]\n\
         [{cri}]\nsandbox_image = {:?}\nrestrict_oom_score_adj = true\n\
         [{cri}.cni]\nbin_dir = \"/usr/lib/cni\"\nconf_dir = \"/etc/cni/net.d\"\n\
         [{cri}.containerd]\ndefault_runtime_name = \"runc\"\n\
         [{cri}.containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n",
        images::PAUSE
    )
}

/// The handlers of [`start`].
pub(crate) const BY_WRAPPER: &str = "coaming";
pub(crate) const BY_SHIM: &str = "coaming-shim";

/// Starts the root's containerd with the installed fragments: the wrapper's, and the shim's under the other name.
///
/// Two lines are not the fragments' own: no systemd runs here to keep cgroups; and 1.6.20 overlooks the shim's
/// `runtime_path`, so its type is given, as docs/operating.md says.
pub(crate) fn start(fresh: &Fresh) -> Result<(), Error> {
    let read = |name: &str| {
        let path = format!("/usr/share/coaming/containerd/{name}");
        let text = fresh.world().read(path)?;
        assert!(text.contains("SystemdCgroup = true"), "{text}");
        Ok::<_, Error>(text.replace("SystemdCgroup = true", "SystemdCgroup = false"))
    };
    let shim = read("shim-v2.toml")?
        .replace("runtimes.coaming", &format!("runtimes.{BY_SHIM}"))
        .replace("\"io.containerd.runc.v2\"", "\"io.containerd.coaming.v1\"");
    fresh.start_containerd(&format!("{}{}{shim}", stock(), read("config-v2.toml")?))
}

/// Every file, folder and link of the root file system with its mode and contents, but for the notes of package managers and
/// what containerd keeps.
pub(crate) fn inventory(fresh: &Fresh) -> Result<BTreeMap<String, String>, Error> {
    // -xdev: not /proc, /sys, /dev, /run, /tmp and the snapshots.
    let script = "cd / && find . -xdev -path ./var/lib/dpkg -prune -o -path ./var/lib/containerd -prune -o -path ./var/log -prune -o -path ./etc/containerd -prune \
                  -o -path ./etc/cni -prune -o -path ./var/lib/cni -prune -o -path ./opt -prune -o -path ./var/cache -prune \
                  -o -printf '%p %y %m %U %l\\n' -o -true; \
                  find . -xdev -path ./var/lib/dpkg -prune -o -path ./var/lib/containerd -prune -o -path ./var/log -prune -o -path ./etc/containerd -prune \
                  -o -path ./etc/cni -prune -o -path ./var/lib/cni -prune -o -path ./opt -prune -o -path ./var/cache -prune \
                  -o -type f -print0 | xargs -0 sha256sum | sed 's/^\\([0-9a-f]*\\)  \\(.*\\)/\\2 sum \\1/'; \
                  ls -A /run/coaming 2>/dev/null | sed 's|.*|/run/coaming/& left|'; \
                  test ! -e /run/coaming || echo '/run/coaming left'; \
                  dpkg-query -W -f '${Package} ${db:Status-Status}\\n' | sed 's/^/package /'";
    let said = fresh.shell(script)?.ok("find")?.stdout;
    let mut found = BTreeMap::new();
    for line in said.lines() {
        let (path, what) = line.split_once(' ').unwrap_or((line, ""));
        found.entry(path.to_owned()).or_insert_with(String::new).push_str(&format!("{what};"));
    }
    assert!(found.len() > 1000, "an inventory of {} files", found.len());
    Ok(found)
}

/// What is in one of two inventories alone, or in both and not the same.
pub(crate) fn differences(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| format!("{name}: {:?} -> {:?}", before.get(name), after.get(name)))
        .collect()
}
