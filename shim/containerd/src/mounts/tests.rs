//! Real mounts, in temporary directories of the mount namespace that the tests run in. They need root.

use std::os::unix::fs::{MetadataExt, symlink};

use super::*;

/// A bundle; whatever is mounted in it goes when the test ends, also when it fails.
struct Bundle {
    directory: tempfile::TempDir,
}

impl Bundle {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("bundle with space").tempdir().unwrap();
        fs::create_dir(directory.path().join("rootfs")).unwrap();
        Bundle { directory }
    }

    fn rootfs(&self) -> PathBuf {
        self.directory.path().join("rootfs")
    }

    /// A directory beside the rootfs, with one file named like it.
    fn layer(&self, name: &str) -> String {
        let path = self.directory.path().join(name);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(name.replace('/', "-")), name).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn empty(&self, name: &str) -> String {
        let path = self.directory.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn mounts(&self) -> usize {
        mounted_below(&fs::canonicalize(self.directory.path()).unwrap()).unwrap().len()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = unmount_all(self.directory.path());
        let _ = unmount_all(&self.rootfs());
    }
}

fn bind(source: &str, target: &str, options: &[&str]) -> Mount {
    mount_of("bind", source, target, options)
}

fn mount_of(fstype: &str, source: &str, target: &str, options: &[&str]) -> Mount {
    Mount {
        fstype: fstype.to_owned(),
        source: source.to_owned(),
        target: target.to_owned(),
        options: options.iter().map(|&option| option.to_owned()).collect(),
    }
}

/// The directory on which overlays can be made: an overlay cannot lie on another one.
fn overlay_base(bundle: &Bundle) {
    let base = bundle.directory.path().to_str().unwrap();
    let rootfs = bundle.rootfs();
    mount_rootfs(&[mount_of("tmpfs", "tmpfs", "", &[])], Path::new(base)).unwrap();
    fs::create_dir(rootfs).unwrap();
}

#[test]
fn a_read_only_bind_mount_is_read_only() {
    let bundle = Bundle::new();
    let layer = bundle.layer("layer");
    mount_rootfs(&[bind(&layer, "", &["rbind", "ro", "nosuid", "rprivate"])], &bundle.rootfs())
        .unwrap();
    assert_eq!(fs::read_to_string(bundle.rootfs().join("layer")).unwrap(), "layer");
    let error = fs::write(bundle.rootfs().join("new"), "").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::EROFS as i32));
    unmount_all(&bundle.rootfs()).unwrap();
    assert_eq!(bundle.mounts(), 0);
    // Again: nothing is mounted, and then there is no such directory.
    unmount_all(&bundle.rootfs()).unwrap();
    fs::remove_dir(bundle.rootfs()).unwrap();
    unmount_all(&bundle.rootfs()).unwrap();
}

#[test]
fn an_overlay_of_many_layers_is_mounted_and_the_shim_stays_where_it_is() {
    let bundle = Bundle::new();
    overlay_base(&bundle);
    let layers: Vec<String> = (1..=100)
        .map(|number| bundle.layer(&format!("snapshots-of-a-long-name/{number}")))
        .collect();
    let lower = format!("lowerdir={}", layers.join(":"));
    assert!(lower.len() > 4096);
    let (upper, work) = (bundle.empty("upper"), bundle.empty("work"));
    let options = [format!("workdir={work}"), format!("upperdir={upper}"), lower];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let before = std::env::current_dir().unwrap();
    mount_rootfs(&[mount_of("overlay", "overlay", "", &options)], &bundle.rootfs()).unwrap();
    assert_eq!(std::env::current_dir().unwrap(), before);
    assert_eq!(fs::read_dir(bundle.rootfs()).unwrap().count(), 100);
    fs::write(bundle.rootfs().join("new"), "x").unwrap();
    assert_eq!(fs::read_to_string(Path::new(&upper).join("new")).unwrap(), "x");
    unmount_all(&bundle.rootfs()).unwrap();
    assert_eq!(bundle.mounts(), 1);
}

#[test]
fn options_beyond_a_page_are_refused_not_cut() {
    let bundle = Bundle::new();
    let layers: Vec<String> = (0..100).map(|number| format!("/layers/{number:0>60}")).collect();
    let lower = format!("lowerdir={}", layers.join(":"));
    let mounts = [mount_of("overlay", "overlay", "", &[&lower])];
    let error = mount_rootfs(&mounts, &bundle.rootfs()).unwrap_err();
    assert!(matches!(error, MountError::TooLong { .. }), "{error}");
    let mounts = vec![Mount::default(); MOST_MOUNTS + 1];
    assert!(matches!(mount_rootfs(&mounts, &bundle.rootfs()), Err(MountError::TooMany { .. })));
}

#[test]
fn a_failure_undoes_what_came_before() {
    let bundle = Bundle::new();
    let (one, two) = (bundle.layer("one"), bundle.layer("two"));
    fs::create_dir(Path::new(&one).join("sub")).unwrap();
    let mounts = [
        bind(&one, "", &["rbind", "rw"]),
        bind(&two, "/sub", &["bind", "ro"]),
        bind("/nonexistent", "sub", &["bind"]),
    ];
    let error = mount_rootfs(&mounts, &bundle.rootfs()).unwrap_err();
    assert!(error.to_string().contains("/nonexistent"), "{error}");
    assert_eq!(bundle.mounts(), 0);
    mount_rootfs(&mounts[..2], &bundle.rootfs()).unwrap();
    assert_eq!(fs::read_to_string(bundle.rootfs().join("sub/two")).unwrap(), "two");
    assert_eq!(bundle.mounts(), 2);
    unmount_all(&bundle.rootfs()).unwrap();
    assert_eq!(bundle.mounts(), 0);
}

#[test]
fn links_in_the_image_lead_nowhere() {
    let bundle = Bundle::new();
    let (image, outside, other) =
        (bundle.layer("image"), bundle.layer("outside"), bundle.layer("other"));
    symlink(&outside, Path::new(&image).join("absolute")).unwrap();
    symlink("../../outside", Path::new(&image).join("relative")).unwrap();
    fs::create_dir(Path::new(&image).join("real")).unwrap();
    symlink("real", Path::new(&image).join("inside")).unwrap();
    for target in ["absolute", "/relative", "inside", "absolute/..", "../../outside", "missing"] {
        let mounts = [bind(&image, "", &["bind"]), bind(&other, target, &["bind"])];
        let error = mount_rootfs(&mounts, &bundle.rootfs()).unwrap_err();
        assert!(matches!(error, MountError::Target { .. }), "{target}: {error}");
        assert_eq!(bundle.mounts(), 0, "{target}");
    }
    // The rootfs itself must not be a link either.
    let link = bundle.directory.path().join("link");
    symlink(&outside, &link).unwrap();
    assert!(mount_rootfs(&[bind(&other, "", &["bind"])], &link).is_err());
    unmount_all(&link).unwrap();
}

#[test]
fn mounts_on_mounts_are_all_unmounted() {
    let bundle = Bundle::new();
    let layer = bundle.layer("layer");
    let beside = bundle.empty("rootfs-of-another");
    mount_rootfs(&[bind(&layer, "", &["bind"])], Path::new(&beside)).unwrap();
    for _ in 0..3 {
        mount_rootfs(&[bind(&layer, "", &["bind"])], &bundle.rootfs()).unwrap();
    }
    fs::create_dir(Path::new(&layer).join("a\tb")).unwrap();
    mount_rootfs(&[mount_of("tmpfs", "tmpfs", "a\tb", &["nosuid", "size=1m"])], &bundle.rootfs())
        .unwrap();
    let busy = File::open(bundle.rootfs().join("a\tb")).unwrap();
    unmount_all(&bundle.rootfs()).unwrap();
    assert_eq!(bundle.mounts(), 1);
    drop(busy);
    unmount_all(Path::new(&beside)).unwrap();
    assert_eq!(bundle.mounts(), 0);
}

#[test]
fn what_this_shim_does_not_do_it_says() {
    let bundle = Bundle::new();
    for mount in [
        mount_of("fuse3.overlayfs", "overlay", "", &[]),
        mount_of("ext4", "/dev/null", "", &["loop"]),
        mount_of("bind", "/tmp", "", &["bind", "X-containerd.mkfs"]),
    ] {
        let error = mount_rootfs(&[mount], &bundle.rootfs()).unwrap_err();
        assert!(matches!(error, MountError::Type { .. } | MountError::Option { .. }), "{error}");
    }
    assert_eq!(bundle.mounts(), 0);
}

#[test]
fn an_overlay_may_have_the_owners_of_a_user_namespace() {
    let bundle = Bundle::new();
    overlay_base(&bundle);
    let layers = [bundle.layer("1/fs"), bundle.layer("2/fs")];
    let lower = format!("lowerdir={}", layers.join(":"));
    let (upper, work) = (
        format!("upperdir={}", bundle.empty("upper")),
        format!("workdir={}", bundle.empty("work")),
    );
    let options = ["uidmap=0:100000:65536", "gidmap=0:200000:65536", &upper, &work, &lower];
    mount_rootfs(&[mount_of("overlay", "overlay", "", &options)], &bundle.rootfs()).unwrap();
    for name in ["1-fs", "2-fs"] {
        let status = fs::metadata(bundle.rootfs().join(name)).unwrap();
        assert_eq!((status.uid(), status.gid()), (100_000, 200_000), "{name}");
    }
    let left = fs::read_dir("/run/coaming/layers").unwrap().flatten().filter(|entry| {
        entry.file_name().to_string_lossy().starts_with(&format!("{}-", std::process::id()))
    });
    assert_eq!(left.count(), 0);
    unmount_all(&bundle.rootfs()).unwrap();
    assert_eq!(bundle.mounts(), 1);
}

#[test]
fn what_a_killed_shim_left_goes_and_what_is_anothers_stays() {
    let bundle = Bundle::new();
    let places = PathBuf::from(bundle.empty("places"));
    // Above the greatest pid that Linux gives.
    let (dead, alive) =
        (places.join("4194305-0"), places.join(format!("{}-0", std::process::id())));
    for place in [&dead, &alive, &places.join("other")] {
        fs::create_dir(place).unwrap();
    }
    let layer = bundle.layer("layer");
    let rbind = nix::mount::MsFlags::MS_BIND;
    nix::mount::mount(Some(layer.as_str()), &dead, None::<&str>, rbind, None::<&str>).unwrap();
    super::idmap::sweep(&places);
    assert!(!dead.exists() && alive.exists() && places.join("other").exists());
    assert!(Path::new(&layer).exists());
}

#[test]
fn a_bind_mount_may_have_the_owners_of_a_user_namespace() {
    let bundle = Bundle::new();
    overlay_base(&bundle);
    let layer = bundle.layer("layer");
    let options = ["rbind", "uidmap=0:100000:65536", "gidmap=0:200000:65536"];
    mount_rootfs(&[bind(&layer, "", &options)], &bundle.rootfs()).unwrap();
    let status = fs::metadata(bundle.rootfs().join("layer")).unwrap();
    assert_eq!((status.uid(), status.gid()), (100_000, 200_000));
    unmount_all(&bundle.rootfs()).unwrap();
    assert_eq!(bundle.mounts(), 1);
}

#[test]
fn escapes_of_the_mount_table_are_undone() {
    assert_eq!(unescape(b"/a\\040b\\011\\134c"), b"/a b\t\\c");
    assert_eq!(unescape(b"/a\\04"), b"/a\\04");
    assert_eq!(unescape(b"/a\\999"), b"/a\\999");
}
