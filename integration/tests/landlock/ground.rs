//! Where trials take place: a small tree with nested folders, a link and a mount, and the layers over it.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use coaming_policy::controls::landlock::Layer;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::answers::Answers;

/// The tree's root, in the mount namespace of the trial.
pub(crate) const BASE: &str = "/tmp";

/// Folders by the ways that lead to them, from the root: `a/l` is a link to `d`, `a/m` has `d` mounted on it.
pub(crate) const FOLDERS: [&str; 8] = ["", "a", "a/b", "a/b/c", "a/l", "a/m", "d", "e"];
/// What rules name: folders, a file, and what is not there.
pub(crate) const PLACES: [&str; 10] =
    ["", "a", "a/b", "a/b/c", "a/l", "a/m", "d", "e", "a/b/f", "none"];

/// What `body` answers in a thread, a file system and a network of its own.
pub(crate) fn trial(body: impl FnOnce() -> Answers + Send + 'static) -> Answers {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("tmpfs"), BASE, Some("tmpfs"), MsFlags::empty(), none).unwrap();
        build();
        body()
    });
    thread.join().expect("a trial ends")
}

fn build() {
    let base = Path::new(BASE);
    for folder in ["a/b/c", "a/m", "d", "e"] {
        fs::create_dir_all(base.join(folder)).unwrap();
    }
    symlink("../d", base.join("a/l")).unwrap();
    bind(&format!("{BASE}/d"), &format!("{BASE}/a/m"));
    for folder in FOLDERS {
        fs::write(base.join(folder).join("f"), "text").unwrap();
        // Whether it may be executed is told before that its interpreter is not there.
        fs::write(base.join(folder).join("x"), "#!/none\n").unwrap();
        fs::set_permissions(base.join(folder).join("x"), fs::Permissions::from_mode(0o755))
            .unwrap();
    }
}

pub(crate) fn bind(source: &str, target: &str) {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

/// Makes a folder the root of this thread.
pub(crate) fn enter(root: &str) {
    nix::unistd::chroot(root).unwrap();
    nix::unistd::chdir("/").unwrap();
}

pub(crate) fn open(path: &str) -> OwnedFd {
    File::open(path).unwrap().into()
}

/// Applies the layers to this thread, as the launcher does.
pub(crate) fn restrict(layers: &[Layer]) {
    for layer in layers {
        let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        if layer.handled_fs != 0 {
            ruleset = ruleset.handle_access(known::<AccessFs>(layer.handled_fs)).unwrap();
        }
        if layer.handled_net != 0 {
            ruleset = ruleset.handle_access(known::<AccessNet>(layer.handled_net)).unwrap();
        }
        if layer.scoped != 0 {
            ruleset = ruleset.scope(known::<Scope>(layer.scoped)).unwrap();
        }
        let mut created = ruleset.create().unwrap();
        for (path, rights) in &layer.paths {
            let mut rights = known::<AccessFs>(*rights);
            let Ok(fd) = landlock::PathFd::new(path) else { continue };
            let file = File::from(fd.as_fd().try_clone_to_owned().unwrap());
            if !file.metadata().unwrap().is_dir() {
                rights &= AccessFs::from_file(ABI::V7);
            }
            if !rights.is_empty() {
                created = created.add_rule(PathBeneath::new(fd, rights)).unwrap();
            }
        }
        for (port, rights) in &layer.ports {
            created = created.add_rule(NetPort::new(*port, known::<AccessNet>(*rights))).unwrap();
        }
        let status = created.restrict_self().unwrap();
        assert_eq!(status.ruleset, RulesetStatus::FullyEnforced);
    }
}

fn known<T: Access<Numeric = u64> + std::fmt::Debug>(rights: u64) -> BitFlags<T> {
    BitFlags::from_bits(rights).unwrap()
}
