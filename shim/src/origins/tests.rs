use std::hash::{DefaultHasher, Hash, Hasher};

use super::*;
use coaming_policy::controls::Node;
use coaming_policy::controls::mounts::{Mounts, MountsDocument};
use coaming_policy::controls::{Asked, Rule};
use coaming_policy::facts::Facts;
use serde_json::json;

const SOURCE: &str = "/var/lib/kubelet/pods/7f/volume-subpaths/v/c/0";

/// A node's own mounts: what is on its disk, its /proc, another disk.
const NODE: &str = "\
1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw
2 1 0:5 / /proc rw shared:2 - proc proc rw
3 1 8:2 / /srv rw shared:3 - ext4 /dev/sda2 rw
";

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// What the kernel finds at a path by such a table: the last mount of those with the longest mount point,
/// and in it a file that is told apart by device, what was mounted, and path.
fn look_by(text: &str) -> impl Fn(&str) -> Option<Place> {
    let mounts: Vec<(Mount, String)> = text
        .lines()
        .map(|line| {
            let what = line.split_once(" - ").unwrap().1;
            (Mount::parse(line).unwrap(), what.to_owned())
        })
        .collect();
    move |path| {
        let holding = mounts.iter().filter(|(mount, _)| below(path, &mount.target).is_some());
        let (mount, what) =
            holding.max_by_key(|(mount, _)| mount.target.trim_end_matches('/').len())?;
        let inner = joined(&mount.root, below(path, &mount.target)?);
        let device = hash(&mount.device);
        Some(Place { device, inode: hash((what, inner)), mount: mount.id })
    }
}

fn behind(source: &str, text: &str) -> Vec<Vec<String>> {
    let look = look_by(text);
    let table = Table::parse(text).unwrap();
    let origins = table.behind(source, look(&normal(source)), &look);
    origins.into_iter().map(|origin| origin.paths.into_iter().collect()).collect()
}

/// With more lines of the table, what is behind [`SOURCE`].
fn with(more: &str) -> Vec<Vec<String>> {
    behind(SOURCE, &format!("{NODE}{more}"))
}

/// A mount at [`SOURCE`], by its device, its root and its type.
fn at_source(device: &str, root: &str, what: &str) -> String {
    format!("90 1 {device} {root} {SOURCE} rw shared:1 - {what} rw\n")
}

const DISK: &str = "ext4 /dev/sda1";

#[test]
fn a_folder_of_the_node_has_its_own_path() {
    assert_eq!(with(&at_source("8:1", "/etc", DISK)), [["/etc"]]);
    assert_eq!(with(&at_source("8:1", "/", DISK)), [["/"]]);
    assert_eq!(with(&at_source("8:2", "/data", "ext4 /dev/sda2")), [["/srv/data"]]);
    assert_eq!(with(&at_source("0:5", "/", "proc proc")), [["/proc"]]);
    // Below the mount, and otherwise written.
    let text = format!("{NODE}{}", at_source("8:1", "/etc", DISK));
    assert_eq!(behind(&format!("{SOURCE}/ssh"), &text), [["/etc/ssh"]]);
    assert_eq!(behind(&format!("/{SOURCE}/./ssh//"), &text), [["/etc/ssh"]]);
}

#[test]
fn volumes_have_paths_in_the_pods_folder() {
    let volumes = "/var/lib/kubelet/pods/7f/volumes";
    let empty = format!("{volumes}/kubernetes.io~empty-dir/v/x");
    assert_eq!(with(&at_source("8:1", &empty, DISK)), [[empty]]);
    // A secret is a file system of its own.
    let secret = format!("{volumes}/kubernetes.io~secret/v");
    let table = format!(
        "50 1 0:60 / {secret} rw shared:9 - tmpfs tmpfs rw\n{}",
        at_source("0:60", "/..data/key", "tmpfs tmpfs")
    );
    assert_eq!(with(&table), [[format!("{secret}/..data/key")]]);
    // A disk that its driver mounts for all first; another container has the same folder of it.
    let (global, pod) = ("/var/lib/kubelet/plugins/d/globalmount", format!("{volumes}/d/v/mount"));
    let disk = "xfs /dev/sdb";
    let table = format!(
        "50 1 8:16 / {global} rw - {disk} rw\n51 1 8:16 / {pod} rw - {disk} rw\n\
         52 1 8:16 /x {SOURCE}1 rw - {disk} rw\n{}",
        at_source("8:16", "/x", disk)
    );
    assert_eq!(with(&table), [[format!("{global}/x"), format!("{pod}/x")]]);
}

#[test]
fn a_device_of_which_only_the_mount_itself_is_seen_has_no_path() {
    assert_eq!(with(&at_source("8:99", "/x", "ext4 /dev/sdz")), [Vec::<String>::new()]);
    // Another subPath's mount of it is no name of its own.
    let twin = format!("52 1 8:99 / {SOURCE}1 rw - ext4 /dev/sdz rw\n");
    assert_eq!(with(&(twin + &at_source("8:99", "/x", "ext4 /dev/sdz"))), [Vec::<String>::new()]);
}

#[test]
fn the_mount_on_top_counts_and_what_it_hides_is_no_path() {
    // Two mounts at the source: the second is what the runtime binds.
    let lower = at_source("8:1", "/var/lib/kubelet/pods/7f/volumes/e", DISK);
    let upper = at_source("8:1", "/etc", DISK).replace("90 1 ", "91 90 ");
    assert_eq!(with(&(lower + &upper)), [["/etc"]]);
    // Something is mounted over the folder: by its path one finds something else.
    let cover = "60 1 0:70 / /etc rw - tmpfs tmpfs rw\n";
    assert_eq!(with(&(at_source("8:1", "/etc", DISK) + cover)), [Vec::<String>::new()]);
    // Over all that holds the folder, while another path to the same is free.
    let spare = "61 1 8:1 / /spare rw - ext4 /dev/sda1 rw\n";
    assert_eq!(with(&(at_source("8:1", "/etc", DISK) + cover + spare)), [["/spare/etc"]]);
}

#[test]
fn mounts_of_one_device_that_have_nothing_in_common_are_told_apart() {
    // Two exports of one server have one device number, and each calls its top the root (NFS).
    let mine = "/var/lib/kubelet/pods/7f/volumes/kubernetes.io~nfs/v";
    let table = format!(
        "50 1 0:80 / {mine} rw - nfs4 server:/mine rw\n51 1 0:80 / /mnt/secrets rw - nfs4 server:/secrets rw\n{}",
        at_source("0:80", "/x", "nfs4 server:/secrets")
    );
    assert_eq!(with(&table), [["/mnt/secrets/x"]]);
}

#[test]
fn names_are_read_as_the_kernel_escapes_them() {
    let source = at_source("8:1", "/a\\040b\\134040/c\\011\\012", DISK);
    assert_eq!(with(&source), [["/a b\\040/c\t\n"]]);
    // A name that begins like a mount's is not below it.
    let twin = "60 1 8:1 /etc /other rw - ext4 /dev/sda1 rw\n";
    assert_eq!(with(&(twin.to_owned() + &at_source("8:1", "/etcetera", DISK))), [["/etcetera"]]);
}

#[test]
fn what_is_removed_or_not_mounted_is_not_known() {
    assert_eq!(with(&at_source("8:1", "/tmp/x//deleted", DISK)), [Vec::<String>::new()]);
    assert_eq!(with(&at_source("0:4", "net:[4026531840]", "nsfs nsfs")), [Vec::<String>::new()]);
    // No mount at the source: the kubelet makes one before it names it.
    assert_eq!(with(""), [Vec::<String>::new()]);
    let table = Table::parse(NODE).unwrap();
    assert_eq!(table.behind(SOURCE, None, &look_by(NODE)), [Origin::default()]);
    assert_eq!(
        Table::default().behind(SOURCE, look_by(NODE)(SOURCE), &look_by(NODE)),
        [Origin::default()]
    );
}

#[test]
fn a_table_that_cannot_be_read_to_the_end_is_none() {
    for broken in ["90 1 8:1 /etc", "x 1 8:1 / / rw - ext4 x rw", "90 1 8:1 / / rw", ""] {
        let is_whole = Table::parse(&format!("{NODE}{broken}\n{NODE}")).is_some();
        assert!(!is_whole, "{broken}");
    }
}

#[test]
fn mounts_below_a_source_come_along() {
    let pod = "/var/lib/kubelet/pods/7f";
    let table = format!(
        "{NODE}50 1 0:60 / {pod}/volumes/s rw - tmpfs tmpfs rw\n{}",
        at_source("8:1", "/etc", DISK)
    );
    for source in [pod, &format!("{pod}/volume-subpaths"), &format!("{pod}/volume-subpaths/v/c/")] {
        assert_eq!(behind(source, &table), [["/etc"]], "{source}");
    }
    assert!(behind("/var/lib/kubelet/pods/7e", &table).is_empty());
    // Passed on into a copy of the pod's folder, and hidden there.
    let copy = at_source("8:1", pod, DISK);
    let inner = format!("{SOURCE}/volume-subpaths/v/c/1");
    let passed = format!("91 90 8:1 /etc {inner} rw - {DISK} rw\n");
    assert_eq!(with(&format!("{copy}{passed}")), [[pod], ["/etc"]]);
    let cover = format!("92 91 0:61 / {inner} rw - tmpfs tmpfs rw\n");
    let found = with(&format!("{copy}{passed}{cover}"));
    assert_eq!(found, [vec![pod.to_owned()], vec![], vec![]]);
    // Hidden by what looks alike in the table, of the same device.
    let mine = format!("{pod}/volumes/kubernetes.io~nfs/v");
    let nfs = format!(
        "50 1 0:80 / {mine} rw - nfs4 server:/mine rw\n\
         91 90 0:80 /x {inner} rw - nfs4 server:/secrets rw\n\
         92 91 0:80 /x {inner} rw - nfs4 server:/mine rw\n"
    );
    let found = with(&format!("{copy}{nfs}"));
    assert_eq!(found, [vec![pod.to_owned()], vec![], vec![format!("{mine}/x")]]);
}

#[test]
fn the_attack_is_refused_and_an_empty_dir_is_not() {
    let document: MountsDocument =
        serde_json::from_value(json!({"hostPaths": {"allow": ["/var/lib/kubelet/pods/*"]}}))
            .unwrap();
    let rule = Mounts::from(document);
    let spec = json!({"mounts": [{"destination": "/a", "type": "bind", "source": SOURCE}]});
    let is_admitted = |root: &str| {
        let text = format!("{NODE}{}", at_source("8:1", root, DISK));
        let (look, table) = (look_by(&text), Table::parse(&text).unwrap());
        let origins = [(SOURCE.to_owned(), table.behind(SOURCE, look(SOURCE), &look))].into();
        let (node, facts) = (Node { origins, ..Node::default() }, Facts::of("c", &spec));
        rule.tighten(&Asked::of(&spec, &facts, &node)).is_empty()
    };
    assert!(is_admitted("/var/lib/kubelet/pods/7f/volumes/kubernetes.io~empty-dir/e/x"));
    assert!(!is_admitted("/etc") && !is_admitted("/"));
}

#[test]
fn this_machine_is_looked_at_without_following_links() {
    let table = Table::read().unwrap();
    let root = Open::at("/").unwrap().place;
    assert!(table.0.iter().any(|mount| mount.id == root.mount && mount.target == "/"));
    assert!(Open::at("/proc/self").is_none() && Open::at("/proc/self/status").is_none());
    assert!(Open::at("/proc/../etc").is_none() && Open::at("proc").is_none());
    let proc = Open::at("/proc/").unwrap().place;
    assert!(proc.mount != root.mount && !proc.is_same_file(root));

    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("volume-subpaths/v/c/0");
    fs::create_dir_all(&folder).unwrap();
    let source = folder.to_str().unwrap();
    let spec =
        |source: &str| json!({"mounts": [{"destination": "/a", "type": "bind", "source": source}]});
    // Nothing is mounted there.
    let found = origins(&spec(source));
    assert_eq!(found, [(source.to_owned(), vec![Origin::default()])].into());
    assert!(origins(&spec("/etc")).is_empty() && origins(&Value::Null).is_empty());
}
