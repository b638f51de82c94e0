//! `coaming install` on trees that nothing runs from.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use super::coaming;

/// A tree with these files.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let tree = tempdir().unwrap();
    for (path, text) in files {
        let path = tree.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    // Whatever the umask: what others can write is refused.
    for (path, _) in files {
        let path = tree.path().join(path.trim_start_matches('/'));
        for part in path.ancestors().take_while(|part| *part != tree.path()) {
            let mode = if part.is_dir() { 0o755 } else { 0o640 };
            fs::set_permissions(part, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    tree
}

fn install(tree: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let root = tree.display().to_string();
    let said = coaming(&[&["install", "--root", &root, "--output", "json"], arguments].concat());
    let answer = serde_json::from_str(&said.out).unwrap_or(Value::String(said.err));
    (said.code, answer)
}

/// Every file below, with its mode and content.
fn files(tree: &Path) -> Vec<(String, u32, String)> {
    let mut found = Vec::new();
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (metadata, path) = (entry.metadata().unwrap(), entry.path());
            let text = fs::read_to_string(&path).unwrap_or_default();
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            found.push((path.display().to_string(), metadata.permissions().mode(), text));
        }
    }
    found.sort();
    found
}

const CRI: &str = "version = 3\nimports = [\"conf.d/*.toml\"]\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\nSystemdCgroup = true\n";

#[test]
fn an_image_gets_its_drop_ins_and_loses_them_again() {
    let tree = tree(&[
        ("/etc/containerd/config.toml", CRI),
        ("/etc/crio/crio.conf", "[crio.runtime]\ndefault_runtime = \"runc\"\n"),
        ("/etc/docker/key.json", "{}"),
    ]);
    let before = files(tree.path());
    let (code, answer) = install(tree.path(), &[]);
    assert_eq!(code, Some(0), "{answer:#}");
    let states: Vec<&str> = answer["runtimes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|done| done["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["installed", "installed", "installed", "absent"], "{answer:#}");
    // No program was there to be asked, and none of coaming's: both are said.
    let notes = answer["runtimes"][0]["notes"].to_string();
    assert!(
        notes.contains("no containerd was found") && notes.contains("coaming-runc is not there"),
        "{notes}"
    );
    let read = |path: &str| fs::read_to_string(tree.path().join(path)).unwrap();
    let drop_in = read("etc/containerd/conf.d/zz-coaming.toml");
    assert!(
        drop_in.contains("version = 3\n") && drop_in.contains("SystemdCgroup = true\n"),
        "{drop_in}"
    );
    let crio = read("etc/crio/crio.conf.d/zz-coaming.conf");
    assert!(crio.contains("[crio.runtime.runtimes.coaming]\nruntime_path = \"/usr/libexec/coaming/coaming-runc\"\n"), "{crio}");
    assert_eq!(
        read("etc/docker/daemon.json"),
        "{\n  \"runtimes\": {\n    \"coaming\": {\n      \"path\": \"/usr/libexec/coaming/coaming-runc\"\n    }\n  }\n}\n"
    );

    let once = files(tree.path());
    let (code, answer) = install(tree.path(), &[]);
    assert_eq!(
        (code, &answer["runtimes"][0]["state"]),
        (Some(0), &Value::from("unchanged")),
        "{answer:#}"
    );
    assert_eq!(files(tree.path()), once);
    // One of several goes by itself.
    let (code, answer) = install(tree.path(), &["--uninstall", "--for", "docker"]);
    assert_eq!((code, answer["runtimes"].as_array().unwrap().len()), (Some(0), 1), "{answer:#}");
    assert!(!tree.path().join("etc/docker/daemon.json").exists());
    let (code, _) = install(tree.path(), &["--uninstall"]);
    assert_eq!(code, Some(0));
    assert_eq!(files(tree.path()), before);
}

#[test]
fn what_others_have_changed_since_is_not_taken_away() {
    let own = "{\n  \"live-restore\": true\n}\n";
    let tree = tree(&[("/etc/containerd/config.toml", CRI), ("/etc/docker/daemon.json", own)]);
    let before = files(tree.path());
    let (code, answer) = install(tree.path(), &["--replace"]);
    assert_eq!(code, Some(0), "{answer:#}");
    let path = |path: &str| tree.path().join(path);
    // Of a file of ours, and of one that took another's place.
    for file in ["etc/containerd/conf.d/zz-coaming.toml", "etc/docker/daemon.json"] {
        let written = fs::read_to_string(path(file)).unwrap();
        fs::write(path(file), format!("{written}\n")).unwrap();
        let changed = fs::read_to_string(path(file)).unwrap();
        let (code, answer) = install(tree.path(), &["--uninstall", "--dry-run"]);
        assert_eq!(code, Some(1), "{answer:#}");
        assert!(answer.to_string().contains("has been changed since coaming"), "{answer:#}");
        let manager = if file.contains("docker") { "docker" } else { "containerd" };
        let (code, answer) = install(tree.path(), &["--uninstall", "--for", manager]);
        assert_eq!((code, &answer["runtimes"][0]["state"]), (Some(1), &Value::from("refused")));
        assert_eq!(fs::read_to_string(path(file)).unwrap(), changed);
        fs::write(path(file), written).unwrap();
    }
    // What was kept is put back as it was, or not at all.
    let originals = path("var/lib/coaming/install");
    let kept = fs::read_dir(&originals).unwrap().next().unwrap().unwrap().path();
    fs::write(&kept, "{}").unwrap();
    let (code, answer) = install(tree.path(), &["--uninstall", "--for", "docker"]);
    assert_eq!(code, Some(1), "{answer:#}");
    assert!(answer.to_string().contains("its digest is another"), "{answer:#}");
    assert_ne!(fs::read_to_string(path("etc/docker/daemon.json")).unwrap(), "{}");
    fs::write(&kept, own).unwrap();
    let (code, answer) = install(tree.path(), &["--uninstall"]);
    assert_eq!(code, Some(0), "{answer:#}");
    assert_eq!(files(tree.path()), before);
}

#[test]
fn as_the_default_it_needs_the_floor_of_nodes() {
    let tree = tree(&[("/etc/containerd/config.toml", CRI), ("/etc/crio/crio.conf", "")]);
    let before = files(tree.path());
    let (code, answer) = install(tree.path(), &["--default"]);
    assert_eq!(code, Some(1));
    assert!(
        answer["runtimes"][0]["reasons"].to_string().contains("its floor is baseline"),
        "{answer:#}"
    );
    assert_eq!(files(tree.path()), before);
    fs::create_dir_all(tree.path().join("etc/coaming")).unwrap();
    fs::write(tree.path().join("etc/coaming/config.toml"), "floor = \"node\"\n").unwrap();
    let (code, answer) = install(tree.path(), &["--default", "--handler", "gate"]);
    assert_eq!(code, Some(0), "{answer:#}");
    let drop_in =
        fs::read_to_string(tree.path().join("etc/containerd/conf.d/zz-coaming.toml")).unwrap();
    assert!(drop_in.contains("default_runtime_name = \"gate\""), "{drop_in}");
    let crio =
        fs::read_to_string(tree.path().join("etc/crio/crio.conf.d/zz-coaming.conf")).unwrap();
    assert!(crio.contains("[crio.runtime]\ndefault_runtime = \"gate\"\n"), "{crio}");
    // What it is by now is our own, and still the same.
    let (code, answer) = install(tree.path(), &["--default", "--handler", "gate"]);
    assert_eq!(
        (code, &answer["runtimes"][1]["state"]),
        (Some(0), &Value::from("unchanged")),
        "{answer:#}"
    );
}

#[test]
fn what_is_not_understood_is_refused_and_left_alone() {
    for (files_of, part) in [
        (&[("/etc/containerd/config.toml", "version = ")][..], "not TOML"),
        (&[("/etc/containerd/config.toml", "imports = [\"/gone.toml\"]")], "/gone.toml"),
        (
            &[("/etc/containerd/config.toml", "version = 3\n")],
            "imports = [\\\"/etc/containerd/conf.d/*.toml\\\"]",
        ),
        (&[("/etc/crio/crio.conf", "[crio")], "not understood"),
        (
            &[("/etc/crio/crio.conf", "[crio.runtime.runtimes.coaming]\nruntime_path = \"/x\"\n")],
            "crio.conf:2 has a runtime coaming already",
        ),
        (&[("/etc/docker/daemon.json", "[]")], "not a JSON object"),
        (
            &[("/etc/docker/daemon.json", "{\"runtimes\": {\"coaming\": {\"path\": \"/x\"}}}")],
            "of another kind",
        ),
        (
            &[("/etc/containerd/config.toml", CRI), ("/var/lib/coaming/install.json", "{}")],
            "is not understood",
        ),
        (
            &[
                ("/etc/containerd/config.toml", CRI),
                ("/var/lib/coaming/install.json", "{\"version\": 9, \"files\": []}"),
            ],
            "version 9",
        ),
    ] {
        let tree = tree(files_of);
        let before = files(tree.path());
        let (code, answer) = install(tree.path(), &[]);
        assert_ne!(code, Some(0), "{part}: {answer:#}");
        assert!(answer.to_string().contains(part), "{part}: {answer:#}");
        assert_eq!(files(tree.path()), before, "{part}");
    }
}

#[test]
fn a_template_of_k3s_is_made_or_left_alone() {
    let folder = "var/lib/rancher/k3s/agent/etc/containerd";
    let made = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\nSystemdCgroup = true\n";
    let config = format!("/{folder}/config.toml");
    let node = tree(&[(&config, made)]);
    let before = files(node.path());
    let (code, answer) = install(node.path(), &[]);
    assert_eq!(code, Some(0), "{answer:#}");
    let template = fs::read_to_string(node.path().join(folder).join("config.toml.tmpl")).unwrap();
    assert!(
        template.contains("\n{{ template \"base\" . }}\n")
            && template.contains("SystemdCgroup = true"),
        "{template}"
    );
    // k3s makes its file from ours, and that changes nothing for us.
    let body = template.split("\n\n").skip(1).collect::<Vec<_>>().join("\n\n");
    fs::write(node.path().join(&config[1..]), format!("{made}\n{body}")).unwrap();
    let (code, answer) = install(node.path(), &[]);
    assert_eq!(
        (code, &answer["runtimes"][0]["state"]),
        (Some(0), &Value::from("unchanged")),
        "{answer:#}"
    );
    fs::write(node.path().join(&config[1..]), made).unwrap();
    assert_eq!(install(node.path(), &["--uninstall"]).0, Some(0));
    assert_eq!(files(node.path()), before);
    // Another's template: what to add is said, and added only by leave.
    let path = format!("/{folder}/config.toml.tmpl");
    let node = tree(&[(&config, made), (&path, "# mine\n{{ template \"base\" . }}")]);
    let before = files(node.path());
    let (code, answer) = install(node.path(), &[]);
    assert_eq!(code, Some(1));
    assert!(answer.to_string().contains("containerd.runtimes.coaming.options"), "{answer:#}");
    assert_eq!(files(node.path()), before);
    assert_eq!(install(node.path(), &["--replace"]).0, Some(0));
    let (code, answer) = install(node.path(), &["--replace"]);
    assert_eq!(
        (code, &answer["runtimes"][0]["state"]),
        (Some(0), &Value::from("unchanged")),
        "{answer:#}"
    );
    assert_eq!(install(node.path(), &["--uninstall"]).0, Some(0));
    assert_eq!(files(node.path()), before);
    // Its default is not containerd's file's to say.
    let (code, answer) = install(node.path(), &["--default", "--force"]);
    assert!(
        code == Some(1) && answer.to_string().contains("default-runtime: coaming"),
        "{answer:#}"
    );
}

#[test]
fn the_answer_for_people_has_the_diff() {
    let tree = tree(&[("/etc/containerd/config.toml", CRI)]);
    let root = tree.path().display().to_string();
    let said = coaming(&["install", "--root", &root, "--dry-run"]);
    assert_eq!(said.code, Some(1));
    for part in [
        "containerd, handler coaming: would be installed; nothing was written",
        "+++ /etc/containerd/conf.d/zz-coaming.toml",
        "    +version = 3",
    ] {
        assert!(said.out.contains(part), "no {part:?} in {}", said.out);
    }
    assert!(!tree.path().join("var").exists());
    let said = coaming(&["install", "--root", &root, "--uninstall"]);
    assert_eq!(said.out, "nothing was written by coaming here: there is nothing to take away\n");
}

#[test]
fn names_and_roots_that_cannot_be_are_refused() {
    let empty = tempdir().unwrap();
    let root = empty.path().display().to_string();
    for (arguments, part) in [
        (&["--root", "/nonexistent"][..], "/nonexistent"),
        (&["--root", root.as_str()], "no containerd, CRI-O, Docker or Podman was found"),
        (&["--root", root.as_str(), "--handler", "a]b"], "letters, digits and dashes"),
        (&["--root", root.as_str(), "--handler", "runc"], "stays what it is"),
        (&["--root", root.as_str(), "--config", "x"], "begins with a slash"),
    ] {
        let said = coaming(&[&["install"][..], arguments].concat());
        assert!(
            said.code == Some(2) && said.err.contains(part),
            "{part}: {}{}",
            said.out,
            said.err
        );
    }
}
