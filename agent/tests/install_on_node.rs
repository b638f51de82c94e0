//! The script of the init container, with an image and a node that are folders and a `coaming` that only writes down what it was told.
// A test may stop at the first surprise, in its helpers too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

struct Stage {
    _kept: tempfile::TempDir,
    image: PathBuf,
    host: PathBuf,
    bin: PathBuf,
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

impl Stage {
    fn new() -> Stage {
        let kept = tempfile::tempdir().unwrap();
        let below = |name: &str| kept.path().join(name);
        let (image, host, bin) = (below("image"), below("host"), below("bin"));
        fs::create_dir(&host).unwrap();
        write(&image.join("usr/libexec/coaming/coaming-init"), "init 1", 0o755);
        write(&image.join("usr/libexec/coaming/coaming-runc"), "runc 1", 0o755);
        symlink("coaming-runc", image.join("usr/libexec/coaming/coaming-crun")).unwrap();
        write(&image.join("etc/coaming/config.toml"), "# as it comes", 0o644);
        let list = "/usr/libexec/coaming/coaming-init\n/usr/libexec/coaming/coaming-runc\n/usr/libexec/coaming/coaming-crun\n/usr/libexec/coaming/\n";
        write(&image.join("usr/share/coaming/installed-files"), list, 0o644);
        write(
            &bin.join("coaming"),
            &format!("#!/bin/sh\necho \"$@\" >>{}\n", below("told").display()),
            0o755,
        );
        Stage { _kept: kept, image, host, bin }
    }

    fn run(&self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../packaging/kubernetes/install-on-node.sh");
        let path = format!("{}:/usr/bin:/bin", self.bin.display());
        let run = Command::new("sh")
            .arg(script)
            .arg(&self.host)
            .arg(&self.image)
            .env("PATH", path)
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }

    fn inode(&self, name: &str) -> u64 {
        fs::symlink_metadata(self.host.join(name)).unwrap().ino()
    }
}

const FILES: [&str; 4] = [
    "usr/libexec/coaming/coaming-init",
    "usr/libexec/coaming/coaming-runc",
    "usr/libexec/coaming/coaming-crun",
    "usr/share/coaming/installed-files",
];

#[test]
fn the_image_s_files_are_put_once_and_an_upgrade_leaves_what_runs_its_file() {
    let stage = Stage::new();
    stage.run();
    assert_eq!(fs::read_to_string(stage.host.join(FILES[1])).unwrap(), "runc 1");
    assert_eq!(fs::metadata(stage.host.join(FILES[0])).unwrap().mode() & 0o777, 0o755);
    assert_eq!(fs::read_link(stage.host.join(FILES[2])).unwrap(), Path::new("coaming-runc"));
    assert!(stage.host.join("etc/coaming/policy.d").is_dir());
    let before: Vec<u64> = FILES.iter().map(|name| stage.inode(name)).collect();
    stage.run();
    assert_eq!(
        before,
        FILES.iter().map(|name| stage.inode(name)).collect::<Vec<_>>(),
        "again changes nothing"
    );

    write(&stage.image.join(FILES[1]), "runc 2", 0o755);
    write(&stage.host.join("etc/coaming/config.toml"), "# as the node wants it", 0o644);
    let running = stage.host.join("running");
    fs::hard_link(stage.host.join(FILES[1]), &running).unwrap();
    stage.run();
    assert_eq!(fs::read_to_string(stage.host.join(FILES[1])).unwrap(), "runc 2");
    assert_eq!(fs::read_to_string(running).unwrap(), "runc 1");
    assert_eq!(
        fs::read_to_string(stage.host.join("etc/coaming/config.toml")).unwrap(),
        "# as the node wants it"
    );
    let told = fs::read_to_string(stage.host.with_file_name("told")).unwrap();
    assert_eq!(
        told.lines().collect::<Vec<_>>(),
        vec![format!("install --root {}", stage.host.display()); 3]
    );
}
