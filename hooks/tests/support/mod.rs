//! What the tests of the real thing share: the static binaries, and an honest way to skip.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The static binaries, as they are shipped.
pub(crate) struct Binaries {
    pub(crate) init: PathBuf,
    #[allow(dead_code, reason = "the launcher's tests need no hook")]
    pub(crate) hook: PathBuf,
}

/// Builds them once a test process: cargo itself knows whether there is anything to do.
pub(crate) fn binaries() -> &'static Binaries {
    static BUILT: OnceLock<Binaries> = OnceLock::new();
    BUILT.get_or_init(|| {
        // On a machine without cargo they were built before.
        if let Some(folder) = std::env::var_os("COAMING_BUILT").map(PathBuf::from) {
            return Binaries {
                init: folder.join("coaming-init"),
                hook: folder.join("coaming-hook"),
            };
        }
        let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--package", "coaming-hooks", "--bins"])
            .args(["--target", &target])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the static binaries do not build");
        // The folder of the test binary is TARGET_DIR/PROFILE/deps.
        let this = std::env::current_exe().expect("a test has a path");
        let built = this.ancestors().nth(3).expect("TARGET_DIR/PROFILE/deps/TEST");
        let folder = built.join(target).join("release");
        Binaries { init: folder.join("coaming-init"), hook: folder.join("coaming-hook") }
    })
}

/// Whether these tests can run here. Where they must run (`CI=true`), that they cannot is a failure.
pub(crate) fn can_run(tools: &[&str]) -> bool {
    let missing = tools.iter().find(|tool| find_tool(tool).is_none());
    let why = match missing {
        _ if !is_root() => "not root".to_owned(),
        Some(tool) => format!("no {tool} in PATH"),
        None => return true,
    };
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "cannot run here: {why}");
    // Past the test harness, which keeps to itself what a passing test prints.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
    false
}

/// Where a tool of this machine is; a runtime that is not installed is one of those that `integration/install.sh` keeps.
pub(crate) fn find_tool(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cache = std::env::var_os("COAMING_INTEGRATION_CACHE")
        .map_or_else(|| PathBuf::from("/var/cache/coaming-integration"), PathBuf::from);
    let kept = ["sid", "trixie", "bookworm"].map(|suite| cache.join(suite).join("bin"));
    let kept = kept.into_iter().filter(|_| ["runc", "crun"].contains(&tool));
    std::env::split_paths(&path)
        .chain(kept)
        .map(|folder| folder.join(tool))
        .find(|file| file.is_file())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    Path::new("/proc/self").metadata().is_ok_and(|metadata| metadata.uid() == 0)
}

/// A root file system of busybox and nothing else, with the launch directory where it belongs.
pub(crate) fn make_root(root: &Path) {
    use std::os::unix::fs::{PermissionsExt, symlink};
    for folder in ["bin", "dev/.coaming", "proc", "sys", "tmp", "etc", "root", "data", "other"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    let mode = |path: &str, mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(root.join(path), permissions).unwrap();
    };
    mode("", 0o755);
    mode("tmp", 0o1777);
    mode("root", 0o700);
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for applet in [
        "sh", "cat", "ls", "id", "true", "echo", "mkdir", "nc", "env", "sleep", "kill", "touch",
        "grep", "test", "tr",
    ] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
}
