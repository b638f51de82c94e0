//! With a folder in the kernel's place: what a start does without loading. Loading itself is tried in a kernel
//! that has AppArmor (integration/tests/kernels/apparmor).

use std::fs;

use coaming_policy::controls::Rule;
use coaming_policy::controls::app_armor::Brought;

use super::*;

struct Node {
    folder: tempfile::TempDir,
    ours: Brought,
    rule: AppArmor,
}

impl Node {
    fn new() -> Node {
        let folder = tempfile::tempdir().unwrap();
        let kernel = folder.path().join("kernel");
        fs::create_dir_all(kernel.join("policy/profiles")).unwrap();
        fs::create_dir_all(kernel.join("features/domain")).unwrap();
        fs::write(kernel.join("features/domain/stack"), "yes\n").unwrap();
        fs::write(kernel.join("profiles"), "theirs (enforce)\n/usr/bin/x (complain)\n").unwrap();
        fs::write(kernel.join(".replace"), "").unwrap();
        let ours = Brought::read("profile ours { file, }\n").unwrap();
        let profiles = [(ours.kernel_name.clone(), ours.text.clone())].into();
        let rule = AppArmor { profiles, ..AppArmor::top() };
        Node { folder, ours, rule }
    }

    fn profiles(&self, parser: Option<&str>) -> Profiles {
        let at = |name: &str| self.folder.path().join(name);
        Profiles::at(&at("kernel"), &at("kept"), &at("state"), parser.map(PathBuf::from))
    }

    fn load(&self, folder: &str, name: &str, mode: &str, digest: &str) {
        let folder = self.folder.path().join("kernel/policy/profiles").join(folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("name"), format!("{name}\n")).unwrap();
        fs::write(folder.join("mode"), format!("{mode}\n")).unwrap();
        fs::write(folder.join("raw_sha256"), format!("{digest}\n")).unwrap();
    }
}

#[test]
fn what_was_loaded_and_still_is_there_needs_nothing() {
    let node = Node::new();
    let name = node.ours.kernel_name.clone();
    let profiles = node.profiles(None);
    let ready = || profiles.ready(&name, &node.rule);
    // Not there, and no parser.
    let error = ready().unwrap_err().to_string();
    assert!(error.contains("no apparmor_parser") && error.contains("compile ahead"), "{error}");
    node.load(&format!("{name}.17"), &name, "enforce", "abc");
    // Whoever loaded it, it was not us.
    assert!(ready().is_err());
    profiles.store.mark(&name, "abc").unwrap();
    assert_eq!(ready().unwrap(), Vec::<String>::new());
    assert_eq!(profiles.replaced(&format!("a//&{name} (enforce)\n")), None);
    for (mode, digest) in [("complain", "abc"), ("enforce", "other")] {
        node.load(&format!("{name}.17"), &name, mode, digest);
        assert!(ready().is_err(), "{mode} {digest}");
    }
    assert_eq!(profiles.replaced(&format!("a//&{name} (enforce)\n")), Some(name.as_str()));
}

#[test]
fn a_profile_of_another_name_is_not_taken_for_ours() {
    let node = Node::new();
    let name = node.ours.kernel_name.clone();
    let profiles = node.profiles(None);
    profiles.store.mark(&name, "abc").unwrap();
    node.load(&format!("{name}.x.17"), &format!("{name}.x"), "enforce", "abc");
    node.load(&format!("{name}.18"), &format!("/{name}"), "enforce", "abc");
    assert!(profiles.kernel.find(&name).unwrap().is_none());
    node.load(&format!("{name}.19"), &name, "enforce", "abc");
    assert!(profiles.kernel.find(&name).unwrap().is_some());
}

#[test]
fn profiles_of_the_node_are_taken_if_they_deny() {
    let node = Node::new();
    let ready = |label: &str| node.profiles(None).ready(label, &node.rule);
    assert!(ready("theirs").is_ok() && ready("").is_ok() && ready("unconfined").is_ok());
    assert!(matches!(ready("their"), Err(AppArmorError::Missing { .. })));
    assert!(matches!(ready("theirs//&none"), Err(AppArmorError::Missing { .. })));
    let error = ready("/usr/bin/x").unwrap_err().to_string();
    assert!(error.contains("complain"), "{error}");
}

#[test]
fn without_the_kernels_files_nothing_is_said_to_be_loaded() {
    let node = Node::new();
    fs::remove_dir_all(node.folder.path().join("kernel")).unwrap();
    let error = node.profiles(None).ready("theirs", &node.rule).unwrap_err();
    assert!(error.to_string().contains("mount securityfs"), "{error}");
}

#[test]
fn a_compiler_that_fails_says_why_and_one_that_is_not_there_is_named() {
    let node = Node::new();
    for (parser, words) in [("/bin/false", "exit status: 1"), ("/nonexistent", "cannot be run")] {
        let error = node.profiles(Some(parser)).ready(&node.ours.kernel_name, &node.rule);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    // What includes were put in is read again: here it is the text itself, and then it is no binary that counts.
    let error = node.profiles(Some("/bin/cat")).ready(&node.ours.kernel_name, &node.rule);
    assert!(error.unwrap_err().to_string().contains("cat"), "a compiler that compiles nothing");
}

#[test]
fn features_are_the_same_as_a_folder_and_as_the_parser_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, text) in
        [("f/domain/stack", "yes\n"), ("f/caps/mask", "chown kill"), ("f/a/b/c", "x")]
    {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        fs::write(at(name), text).unwrap();
    }
    fs::write(
        at("file"),
        "caps {mask {chown kill\n}\n}\ndomain {stack {yes\n}\n}\na {b {c {x\n}\n}\n}\n",
    )
    .unwrap();
    let digest = features_digest(&at("f")).unwrap();
    assert_eq!(features_digest(&at("file")).unwrap(), digest);
    fs::write(at("f/domain/stack"), "no\n").unwrap();
    assert_ne!(features_digest(&at("f")).unwrap(), digest);
}
