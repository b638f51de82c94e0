use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use coaming_config::Configuration;

use super::*;

const WRAPPER: &str = "/usr/libexec/coaming/coaming-runc";

/// A node's files below a folder, with coaming installed and runc, crun and the stock shim.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        tree.program(WRAPPER, "the wrapper");
        tree.program("/usr/bin/containerd-shim-coaming-v1", "the shim");
        tree.program("/usr/bin/containerd-shim-runc-v2", "stock shim");
        tree.program("/usr/sbin/runc", "runc itself");
        tree.program("/usr/bin/crun", "crun itself");
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn program(&self, path: &str, text: &str) {
        self.write(path, text);
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn found(&self) -> Found {
        self.found_with(None)
    }

    fn found_with(&self, dump: Option<&Path>) -> Found {
        let root = Root::new(self.0.path());
        Found::on(&root, &Ours::on(&root, &Configuration::default()), dump)
    }
}

/// `name: where it ends, at file:line`, the default one with a star.
fn told(found: &Found) -> Vec<String> {
    let tell = |handler: &Handler| {
        let star = if handler.default { "*" } else { "" };
        format!("{}{star}: {:?} {}", handler.name, handler.ends, handler.place)
    };
    found.handlers.iter().map(tell).collect()
}

const V3: &str = r#"version = 3
imports = ["/etc/containerd/conf.d/*.toml"]

[plugins."io.containerd.cri.v1.runtime".containerd]
  default_runtime_name = "runc"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = true
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata]
    runtime_type = "io.containerd.kata.v2"
"#;

#[test]
fn containerds_files_are_read_with_what_they_import() {
    let tree = Tree::new();
    tree.write("/etc/containerd/config.toml", V3);
    let fragment = include_str!("../../../../packaging/containerd/config-v3.toml");
    tree.write("/etc/containerd/conf.d/coaming.toml", fragment);
    let shim = fragment.replace("runtimes.coaming", "runtimes.shim").replace(
        "runtime_type =",
        "runtime_path = \"/usr/bin/containerd-shim-coaming-v1\"\nruntime_type =",
    );
    tree.write("/etc/containerd/conf.d/shim.toml", &shim);
    tree.write("/etc/containerd/conf.d/not-read.toml.bak", "nonsense =");
    assert_eq!(
        told(&tree.found()),
        [
            "coaming: Wrapper /etc/containerd/conf.d/coaming.toml:13",
            "kata: Around /etc/containerd/config.toml:11",
            "runc*: Around /etc/containerd/config.toml:6",
            "shim: Shim /etc/containerd/conf.d/shim.toml:11",
        ]
    );
    let found = tree.found();
    let runc = found.handlers.iter().find(|handler| handler.name == "runc").unwrap();
    assert!(runc.because.contains("no BinaryName") && runc.because.contains("/usr/sbin/runc"));
    assert!(runc.mend.as_ref().unwrap().contains(WRAPPER), "{runc:?}");
    // A later file has the last word.
    let more = "version = 3\n[plugins.\"io.containerd.cri.v1.runtime\".containerd]\ndefault_runtime_name = \"coaming\"\n\
                [plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runc.options]\nbinaryname = \"/usr/libexec/coaming/coaming-runc\"\n";
    tree.write("/etc/containerd/conf.d/z.toml", more);
    let told = told(&tree.found());
    assert!(told.contains(&"runc: Wrapper /etc/containerd/conf.d/z.toml:5".to_owned()), "{told:?}");
    assert!(told.iter().any(|told| told.starts_with("coaming*: ")), "{told:?}");
}

#[test]
fn each_version_of_containerds_file_has_its_section() {
    for (version, section) in [
        ("", "plugins.cri.containerd"),
        ("version = 2\n", "plugins.\"io.containerd.grpc.v1.cri\".containerd"),
        ("version = 3\n", "plugins.\"io.containerd.cri.v1.runtime\".containerd"),
        ("version = 4\n", "plugins.\"io.containerd.cri.v1.runtime\".containerd"),
    ] {
        let tree = Tree::new();
        let handler = |section: &str| {
            format!(
                "{version}[{section}.runtimes.c]\nruntime_type = \"io.containerd.runc.v2\"\n[{section}.runtimes.c.options]\nBinaryName = {WRAPPER:?}\n"
            )
        };
        tree.write("/etc/containerd/config.toml", &handler(section));
        let line = handler(section).lines().count();
        assert_eq!(
            told(&tree.found()),
            [
                format!("c: Wrapper /etc/containerd/config.toml:{line}"),
                "runc*: Around /etc/containerd/config.toml".to_owned(),
            ]
        );
        // Of another version's section nothing is taken.
        tree.write("/etc/containerd/config.toml", &handler("plugins.other.containerd"));
        assert_eq!(told(&tree.found()), ["runc*: Around /etc/containerd/config.toml"]);
    }
}

#[test]
fn what_counts_is_the_file_and_not_its_name() {
    let tree = Tree::new();
    tree.write("/etc/containerd/config.toml", "version = 2\n");
    assert_eq!(told(&tree.found())[0], "runc*: Around /etc/containerd/config.toml");
    // The runtime diverted to the wrapper, by a copy or by a link.
    tree.program("/usr/sbin/runc", "the wrapper");
    assert_eq!(told(&tree.found())[0], "runc*: Wrapper /etc/containerd/config.toml");
    fs::remove_file(tree.path("/usr/sbin/runc")).unwrap();
    fs::hard_link(tree.path(WRAPPER), tree.path("/usr/sbin/runc")).unwrap();
    assert_eq!(told(&tree.found())[0], "runc*: Wrapper /etc/containerd/config.toml");
    // And something else by the wrapper's name.
    tree.program("/opt/coaming-runc", "not the wrapper");
    let section = "plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc";
    let text = format!(
        "version = 2\n[{section}]\nruntime_type = \"io.containerd.runc.v2\"\n[{section}.options]\nBinaryName = \"/opt/coaming-runc\"\n"
    );
    tree.write("/etc/containerd/config.toml", &text);
    assert_eq!(told(&tree.found()), ["runc*: Around /etc/containerd/config.toml:5"]);
}

#[test]
fn the_nvidia_runtime_is_followed_to_what_it_calls() {
    let tree = Tree::new();
    tree.program("/usr/bin/nvidia-container-runtime", "nvidia's");
    tree.write(
        "/etc/docker/daemon.json",
        "{\"runtimes\": {\n\"nvidia\": {\"path\": \"nvidia-container-runtime\"}}}",
    );
    assert_eq!(told(&tree.found())[0], "nvidia: Around /etc/docker/daemon.json:2");
    let config = "/etc/nvidia-container-runtime/config.toml";
    let list = |first: &str| {
        format!("[nvidia-container-runtime]\nruntimes = [\"gone\", {first:?}, \"runc\"]\n")
    };
    tree.write(config, &list(WRAPPER));
    assert_eq!(told(&tree.found())[0], "nvidia: Wrapper /etc/docker/daemon.json:2");
    tree.write(config, &list("crun"));
    assert_eq!(told(&tree.found())[0], "nvidia: Around /etc/docker/daemon.json:2");
}

#[test]
fn a_dump_and_the_files_of_other_distributions_are_read() {
    let tree = Tree::new();
    tree.write("/dump.toml", V3);
    let dump = tree.path("/dump.toml");
    let told_dump = told(&tree.found_with(Some(&dump)));
    assert_eq!(told_dump.len(), 2);
    assert!(told_dump[1].ends_with("dump.toml:6"), "{told_dump:?}");
    tree.write("/var/lib/rancher/k3s/agent/etc/containerd/config.toml", V3);
    let found = tree.found();
    let runc = found.handlers.iter().find(|handler| handler.name == "runc").unwrap();
    assert!(runc.mend.as_ref().unwrap().contains("config-v3.toml.tmpl"), "{runc:?}");
}

#[test]
fn a_file_that_is_not_understood_is_named_with_its_line() {
    let tree = Tree::new();
    tree.write("/etc/containerd/config.toml", "version = 3\nimports = [\"gone.toml\"]\n");
    assert!(tree.found().unreadable[0].contains("/etc/containerd/gone.toml"));
    tree.write("/etc/containerd/config.toml", "version = 3\nx = = 1\n");
    tree.write("/etc/docker/daemon.json", "{\n \"runtimes\": {,\n}");
    let unreadable = tree.found().unreadable;
    assert!(unreadable[0].starts_with("/etc/containerd/config.toml:2: "), "{unreadable:?}");
    assert!(unreadable[1].starts_with("/etc/docker/daemon.json:2: "), "{unreadable:?}");
}

#[test]
fn crios_files_are_read_in_their_order() {
    let tree = Tree::new();
    tree.write("/etc/crio/crio.conf", "[crio.runtime]\ndefault_runtime = \"crun\"\n[crio.runtime.runtimes.crun]\nruntime_path = \"/usr/bin/crun\"\n[crio.runtime.runtimes.high]\nruntime_path = \"/usr/bin/crun\"\n");
    assert_eq!(
        told(&tree.found()),
        ["crun*: Around /etc/crio/crio.conf:4", "high: Around /etc/crio/crio.conf:6"]
    );
    tree.write("/etc/crio/crio.conf.d/10-coaming.conf", &format!("[crio.runtime]\ndefault_runtime = \"c\"\n[crio.runtime.runtimes.c]\nruntime_path = {WRAPPER:?}\n[crio.runtime.runtimes.high]\ninherit_default_runtime = true\n"));
    assert_eq!(
        told(&tree.found()),
        [
            "c*: Wrapper /etc/crio/crio.conf.d/10-coaming.conf:4",
            "crun: Around /etc/crio/crio.conf:4",
            "high: Wrapper /etc/crio/crio.conf.d/10-coaming.conf:4",
        ]
    );
    tree.write(
        "/etc/crio/crio.conf.d/10-coaming.conf",
        "[crio.runtime]\ndefault_runtime = \"none\"\n",
    );
    assert!(
        told(&tree.found())
            .contains(&"none*: Around /etc/crio/crio.conf.d/10-coaming.conf:2".to_owned())
    );
}

#[test]
fn dockers_runtimes_are_named_with_their_lines() {
    let tree = Tree::new();
    tree.write("/etc/docker/daemon.json", "{\n  \"log-level\": \"info\"\n}\n");
    assert_eq!(told(&tree.found()), ["runc*: Around /etc/docker/daemon.json"]);
    let text = format!(
        "{{\n  \"default-runtime\": \"coaming\",\n  \"runtimes\": {{\n    \"coaming\": {{\n      \"path\": {WRAPPER:?}\n    }},\n    \"shim\": {{\n      \"runtimeType\": \"/usr/bin/containerd-shim-coaming-v1\"\n    }},\n    \"crun\": {{\n      \"path\": \"crun\"\n    }}\n  }}\n}}\n"
    );
    tree.write("/etc/docker/daemon.json", &text);
    assert_eq!(
        told(&tree.found()),
        [
            "coaming*: Wrapper /etc/docker/daemon.json:5",
            "shim: Shim /etc/docker/daemon.json:8",
            "crun: Around /etc/docker/daemon.json:11",
            "runc: Around /etc/docker/daemon.json",
        ]
    );
    assert!(tree.found().notes.iter().any(|note| note.contains("--add-runtime")));
}

#[test]
fn podmans_files_are_read_in_their_order() {
    let tree = Tree::new();
    tree.write("/usr/share/containers/containers.conf", "[engine]\nruntime = \"crun\"\n[engine.runtimes]\nrunc = [\"/usr/bin/runc\", \"/usr/sbin/runc\"]\nkata = [\"/usr/bin/kata-runtime\"]\n");
    assert_eq!(
        told(&tree.found()),
        [
            "crun*: Around /usr/share/containers/containers.conf:2",
            "runc: Around /usr/share/containers/containers.conf:4",
        ]
    );
    tree.write(
        "/etc/containers/containers.conf.d/50.conf",
        &format!("[engine]\nruntime = \"coaming\"\n[engine.runtimes]\ncoaming = [{WRAPPER:?}]\n"),
    );
    assert!(
        told(&tree.found())
            .contains(&"coaming*: Wrapper /etc/containers/containers.conf.d/50.conf:4".to_owned())
    );
    tree.write("/etc/containers/containers.conf.d/60.conf", "[engine]\nruntime = \"/opt/gone\"\n");
    assert!(
        told(&tree.found())
            .contains(&"/opt/gone*: Around /etc/containers/containers.conf.d/60.conf:2".to_owned())
    );
}

#[test]
fn a_node_without_managers_has_no_handlers() {
    let tree = Tree::new();
    let found = tree.found();
    assert!(found.handlers.is_empty() && found.unreadable.is_empty());
    // What root can call in any case is told all the same.
    assert!(found.notes.iter().any(|note| note.starts_with("/usr/sbin/runc can be called")));
    tree.program("/usr/bin/containerd", "containerd");
    assert_eq!(told(&tree.found()), ["runc*: Around /etc/containerd/config.toml"]);
}
