//! A root directory, coaming's programs as an unpacked tarball has them, and `coaming bake`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use coaming_integration::{Error, Output, binaries};
use serde_json::Value;

/// For the first container of an image: refused where it is privileged, and held to the floor.
pub(crate) const POLICY: &str = "\
apiVersion: coaming.dev/v1alpha1
kind: Policy
metadata: {name: payments}
spec:
  match: {namespaces: [payments]}
  capabilities: {allow: [CHOWN]}
  noNewPrivileges: true
  seccomp: {floor: runtime-default}
  refuse:
    - if: privileged
      because: payments are never privileged
";

/// A folder with an image in it, and what is put into it.
pub(crate) struct Image {
    folder: tempfile::TempDir,
}

impl Image {
    /// An image with hardly anything in it.
    pub(crate) fn new() -> Result<Image, Error> {
        let image = Image { folder: tempfile::tempdir().unwrap() };
        fs::set_permissions(image.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["root/usr/bin", "root/etc", "root/var/lib", "policy"] {
            fs::create_dir_all(image.path(folder)).unwrap();
        }
        fs::write(image.path("policy/payments.yaml"), POLICY).unwrap();
        fs::write(image.path("config.toml"), "floor = \"node\"\n").unwrap();
        image.stage()?;
        Ok(image)
    }

    /// What an unpacked tarball has.
    fn stage(&self) -> Result<(), Error> {
        let built = binaries::binaries()?;
        for (from, to) in [
            (&built.wrapper, "libexec/coaming/coaming-runc"),
            (&built.launcher, "libexec/coaming/coaming-init"),
            (&built.hook, "libexec/coaming/coaming-hook"),
            (&built.validator, "libexec/coaming/coaming-validator"),
            (&built.labels, "libexec/coaming/coaming-labels"),
            (&built.hook_test, "libexec/coaming/coaming-hook-test"),
            (&built.cli, "bin/coaming"),
            (&built.shim, "bin/containerd-shim-coaming-v1"),
        ] {
            let to = self.path("programs/usr").join(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, &to).unwrap();
        }
        Ok(())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path("root")
    }

    pub(crate) fn read(&self, inside: &str) -> Vec<u8> {
        let path = self.root().join(inside);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Runs `coaming bake` with its own policies and configuration; its exit code and answer.
    #[track_caller]
    pub(crate) fn bake(&self, arguments: &[&str]) -> (i32, Value) {
        let said = self.say(&self.root(), &[arguments, &["--output", "json"]].concat());
        let value = serde_json::from_str(&said.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said:?}"));
        (said.code, value)
    }

    /// The same for people, on any root.
    pub(crate) fn say(&self, root: &Path, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.path("programs/usr/bin/coaming"));
        command
            .arg("bake")
            .arg("--root")
            .arg(root)
            .arg("--programs")
            .arg(self.path("programs"))
            .args(arguments);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Output {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// The arguments of its own policies and configuration.
    pub(crate) fn given(&self) -> [String; 4] {
        let path = |name: &str| self.path(name).display().to_string();
        ["--policy".to_owned(), path("policy"), "--configuration".to_owned(), path("config.toml")]
    }

    /// Every file below the root with its mode, owner, size and time of change, or target.
    pub(crate) fn inventory(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![self.root()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let metadata = path.symlink_metadata().unwrap();
                let shown = path.strip_prefix(self.root()).unwrap().display().to_string();
                let what = if metadata.is_dir() {
                    open.push(path);
                    String::new()
                } else if metadata.is_symlink() {
                    format!("-> {}", fs::read_link(&path).unwrap().display())
                } else {
                    // Whoever writes to it changes the last of these (inode(7)).
                    let (size, changed) = (metadata.len(), metadata.ctime_nsec());
                    format!("{size} {} {changed}", metadata.ctime())
                };
                found.push(format!("{shown} {:o} {} {what}", metadata.mode(), metadata.uid()));
            }
        }
        found.sort();
        found
    }

    pub(crate) fn link(&self, target: &str, inside: &str) {
        let path = self.root().join(inside);
        let _ = fs::remove_dir_all(&path);
        symlink(target, path).unwrap();
    }
}
