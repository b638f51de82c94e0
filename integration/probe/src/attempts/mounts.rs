//! Mounts, old API and new, and what a mask or a read-only path rests on.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use super::{Attempt, c_path, needed, plain, text, with};
use crate::errno::Errno;
use crate::sys::{Arg, call, call_fd, child};
use crate::verdict::{Judged, Reading, Stop, Verdict};

pub(super) const ATTEMPTS: &[Attempt] = &[
    with(
        "mount",
        "[dir]",
        (0, 1),
        "mount a tmpfs on dir (default: the attempt's own /proc entry)",
        mount,
    ),
    with("mount-proc", "[dir]", (0, 1), "mount a fresh proc, which has no masks", mount_proc),
    with("mount-bind", "[dir]", (0, 1), "bind / onto dir", mount_bind),
    with(
        "mount-new-api",
        "[dir]",
        (0, 1),
        "the same tmpfs by fsopen, fsmount, move_mount",
        mount_new_api,
    ),
    plain("fsopen", "open a filesystem context for tmpfs", fsopen),
    plain("fspick", "pick the root's filesystem for reconfiguration", fspick),
    plain("open-tree", "clone / as a detached tree (open_tree)", open_tree),
    plain("mount-setattr", "mount_setattr on / changing nothing", mount_setattr),
    with("umount", "<path>", (1, 1), "detach the mount on path, then put it back", umount),
    with(
        "remount-rw",
        "<path>",
        (1, 1),
        "take read-only off the mount on path, then set it again",
        remount_rw,
    ),
    plain(
        "pivot-root",
        "pivot_root onto a directory that is no mount: EINVAL means the check passed",
        pivot_root,
    ),
    plain("chroot", "chroot to /proc", chroot),
];

const MS_RDONLY: i64 = libc::MS_RDONLY as i64;
const MS_BIND: i64 = libc::MS_BIND as i64;
const MS_REMOUNT: i64 = libc::MS_REMOUNT as i64;

/// A mount over a process's own /proc entry hides nothing that anyone needs, and goes with the process.
fn target(args: &[String]) -> String {
    args.first().map_or_else(|| format!("/proc/{}", child::own_pid()), |dir| resolved(dir))
}

/// As mountinfo spells it.
fn resolved(dir: &str) -> String {
    std::fs::canonicalize(dir)
        .map_or_else(|_| dir.to_owned(), |path| path.to_string_lossy().into_owned())
}

fn mount(args: &[String]) -> Judged {
    mount_and_undo("tmpfs", "tmpfs", 0, &target(args))
}

fn mount_proc(args: &[String]) -> Judged {
    mount_and_undo("proc", "proc", 0, &target(args))
}

fn mount_bind(args: &[String]) -> Judged {
    mount_and_undo("/", "none", MS_BIND, &target(args))
}

fn mount_and_undo(source: &str, kind: &str, flags: i64, dir: &str) -> Judged {
    let what = format!("mount {source} on {dir}");
    let (source, kind, path) = (c_path(source)?, c_path(kind)?, c_path(dir)?);
    let before = mounts_on(dir);
    let result = call(
        libc::SYS_mount,
        [Arg::Path(&source), Arg::Path(&path), Arg::Path(&kind), Arg::Int(flags), Arg::Int(0)],
    );
    settle(&what, dir, before, result.map(drop))
}

/// Reads the effect of a mount from mountinfo(5), and takes the mount away.
fn settle(what: &str, dir: &str, before: Option<usize>, result: Result<(), Errno>) -> Judged {
    let reading = Reading { absent: &[libc::ENOENT, libc::ENODEV], ..Reading::ALWAYS };
    if let Err(errno) = result {
        return Ok(reading.judge_errno(what, errno));
    }
    let after = mounts_on(dir);
    let undone = detach(dir);
    let suffix = match undone {
        Ok(()) => "undone".to_owned(),
        Err(errno) => format!("could not be undone: {errno}"),
    };
    match (before, after) {
        (Some(before), Some(after)) if after <= before => {
            Err(Stop::Unclear(format!("{what}: success, but no new mount is to be seen")))
        }
        _ => Ok(Verdict::allowed(format!("{what}; {suffix}"))),
    }
}

fn mount_new_api(args: &[String]) -> Judged {
    const SINCE_5_2: Reading = Reading {
        reached: &[],
        absent: &[libc::ENOENT, libc::ENODEV],
        unclear: &[],
        since: Some((5, 2)),
    };
    const FSCONFIG_CMD_CREATE: i64 = 6;
    let dir = target(args);
    let path = c_path(&dir)?;
    let context = match fs_context() {
        Ok(context) => context,
        Err(errno) => return Ok(SINCE_5_2.judge_errno("fsopen tmpfs", errno)),
    };
    let zero = || Arg::Int(0);
    let fd = || Arg::Int(context.as_raw_fd().into());
    if let Err(errno) =
        call(libc::SYS_fsconfig, [fd(), Arg::Int(FSCONFIG_CMD_CREATE), zero(), zero(), zero()])
    {
        return Ok(SINCE_5_2.judge_errno("fsconfig create tmpfs", errno));
    }
    let mount = match call_fd(libc::SYS_fsmount, [fd(), Arg::Int(1), zero()]) {
        Ok(mount) => mount,
        Err(errno) => return Ok(SINCE_5_2.judge_errno("fsmount tmpfs", errno)),
    };
    let before = mounts_on(&dir);
    let result = attach(&mount, &path);
    settle(&format!("fsopen, fsmount, move_mount tmpfs on {dir}"), &dir, before, result)
}

fn fsopen(_: &[String]) -> Judged {
    let reading = Reading { since: Some((5, 2)), ..Reading::ALWAYS };
    Ok(reading.judge("fsopen tmpfs", fs_context()))
}

fn fs_context() -> Result<OwnedFd, Errno> {
    const FSOPEN_CLOEXEC: i64 = 1;
    call_fd(libc::SYS_fsopen, [Arg::Path(c"tmpfs"), Arg::Int(FSOPEN_CLOEXEC)])
}

fn fspick(_: &[String]) -> Judged {
    const FSPICK_CLOEXEC: i64 = 1;
    let reading = Reading { since: Some((5, 2)), ..Reading::ALWAYS };
    let result = call_fd(
        libc::SYS_fspick,
        [Arg::Int(libc::AT_FDCWD.into()), Arg::Path(c"/"), Arg::Int(FSPICK_CLOEXEC)],
    );
    Ok(reading.judge("fspick /", result))
}

fn open_tree(_: &[String]) -> Judged {
    let reading = Reading { since: Some((5, 2)), ..Reading::ALWAYS };
    Ok(reading.judge("open_tree clone of /", clone_tree(c"/")))
}

/// A detached copy of the mount at `path`, which goes away with its descriptor unless it is attached.
fn clone_tree(path: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    const OPEN_TREE_CLONE: i64 = 1;
    let flags = OPEN_TREE_CLONE | i64::from(libc::O_CLOEXEC);
    call_fd(
        libc::SYS_open_tree,
        [Arg::Int(libc::AT_FDCWD.into()), Arg::Path(path), Arg::Int(flags)],
    )
}

/// move_mount(2) of a detached tree.
fn attach(tree: &OwnedFd, path: &std::ffi::CStr) -> Result<(), Errno> {
    const MOVE_MOUNT_F_EMPTY_PATH: i64 = 4;
    call(
        libc::SYS_move_mount,
        [
            Arg::Int(tree.as_raw_fd().into()),
            Arg::Path(c""),
            Arg::Int(libc::AT_FDCWD.into()),
            Arg::Path(path),
            Arg::Int(MOVE_MOUNT_F_EMPTY_PATH),
        ],
    )
    .map(drop)
}

/// With nothing to change the kernel stops right after may_mount() (fs/namespace.c, wants_mount_setattr).
fn mount_setattr(_: &[String]) -> Judged {
    let reading = Reading { since: Some((5, 12)), ..Reading::ALWAYS };
    let attr = [0u8; 32];
    let result = call(
        libc::SYS_mount_setattr,
        [
            Arg::Int(libc::AT_FDCWD.into()),
            Arg::Path(c"/"),
            Arg::Int(0),
            Arg::In(&attr),
            Arg::Int(attr.len() as i64),
        ],
    );
    Ok(reading.judge("mount_setattr on / changing nothing", result))
}

fn umount(args: &[String]) -> Judged {
    let dir = resolved(text(args, 0, ""));
    let dir = dir.as_str();
    if Path::new(dir) == Path::new("/") {
        return Err(Stop::Usage("not the root: nothing would be left to put back".to_owned()));
    }
    let path = c_path(dir)?;
    let reading = Reading { absent: &[libc::ENOENT], unclear: &[libc::EINVAL], ..Reading::ALWAYS };
    let before = mounts_on(dir);
    // Without this copy (the same right is needed for it) the mount stays gone, which the detail says.
    let copy = clone_tree(&path);
    if let Err(errno) = detach(dir) {
        return Ok(reading.judge_errno(&format!("umount {dir}"), errno));
    }
    let after = mounts_on(dir);
    let restored = copy.and_then(|tree| attach(&tree, &path));
    if let (Some(before), Some(after)) = (before, after)
        && after >= before
    {
        return Err(Stop::Unclear(format!("umount {dir}: success, but the mount is still there")));
    }
    Ok(Verdict::allowed(match restored {
        Ok(()) => format!("umount {dir}; put back"),
        Err(errno) => format!("umount {dir}; could not be put back: {errno}"),
    }))
}

fn remount_rw(args: &[String]) -> Judged {
    let dir = text(args, 0, "");
    let path = c_path(dir)?;
    let flags = match mount_flags(dir) {
        Err(errno @ Errno(libc::ENOENT)) => {
            return Ok(Verdict::unsupported(Some(errno), format!("{dir} is not there")));
        }
        flags => needed("mount flags", flags)?,
    };
    if flags & MS_RDONLY == 0 {
        return Err(Stop::Unclear(format!("{dir} is not read-only")));
    }
    let remount = |flags: i64| {
        call(
            libc::SYS_mount,
            [
                Arg::Path(c"none"),
                Arg::Path(&path),
                Arg::Int(0),
                Arg::Int(MS_REMOUNT | MS_BIND | flags),
                Arg::Int(0),
            ],
        )
    };
    let what = format!("remount {dir} read-write");
    let reading = Reading { unclear: &[libc::EINVAL], ..Reading::ALWAYS };
    if let Err(errno) = remount(flags & !MS_RDONLY) {
        return Ok(reading.judge_errno(&what, errno));
    }
    let writable = mount_flags(dir).is_ok_and(|now| now & MS_RDONLY == 0);
    let _ = remount(flags);
    if writable {
        Ok(Verdict::allowed(format!("{what}; read-only again")))
    } else {
        Ok(Verdict::denied(None, format!("{what}: success, but it stayed read-only")))
    }
}

/// The kernel asks may_mount() and the LSM first, then refuses a new root that is no mount point (fs/namespace.c).
fn pivot_root(_: &[String]) -> Judged {
    let new_root = c_path(&format!("/proc/{}", child::own_pid()))?;
    let put_old = c_path(&format!("/proc/{}/fd", child::own_pid()))?;
    let reading = Reading {
        reached: &[libc::EINVAL, libc::EBUSY],
        absent: &[libc::ENOENT],
        ..Reading::ALWAYS
    };
    let result = call(libc::SYS_pivot_root, [Arg::Path(&new_root), Arg::Path(&put_old)]);
    Ok(reading.judge("pivot_root onto no mount", result))
}

fn chroot(_: &[String]) -> Judged {
    let reading = Reading { absent: &[libc::ENOENT], ..Reading::ALWAYS };
    if let Err(errno) = call(libc::SYS_chroot, [Arg::Path(c"/proc")]) {
        return Ok(reading.judge_errno("chroot /proc", errno));
    }
    if Path::new("/self").symlink_metadata().is_ok() {
        Ok(Verdict::allowed("chroot /proc; /self is there"))
    } else {
        Err(Stop::Unclear("chroot /proc: success, but the root did not change".to_owned()))
    }
}

fn detach(dir: &str) -> Result<(), Errno> {
    let path = std::ffi::CString::new(dir).map_err(|_| Errno(libc::EINVAL))?;
    call(libc::SYS_umount2, [Arg::Path(&path), Arg::Int(libc::MNT_DETACH.into())]).map(drop)
}

/// How many mounts sit on `dir`; None when /proc does not say.
fn mounts_on(dir: &str) -> Option<usize> {
    // The parent's entry: the own one may be hidden by the very mount that is to be seen.
    let parent = std::os::unix::process::parent_id();
    let table = std::fs::read_to_string(format!("/proc/{parent}/mountinfo")).ok()?;
    Some(table.lines().filter(|line| line.split(' ').nth(4) == Some(dir)).count())
}

/// The MS_* flags of the mount that holds `dir`, from statfs(2), whose ST_* bits below 16 are the same numbers.
fn mount_flags(dir: &str) -> Result<i64, Errno> {
    const KEPT: i64 = 0xf | 1 << 10 | 1 << 11; // ro, nosuid, nodev, noexec, noatime, nodiratime
    const FLAGS_AT: usize = 80;
    let path = std::ffi::CString::new(dir).map_err(|_| Errno(libc::EINVAL))?;
    let mut statfs = [0u8; 120];
    call(libc::SYS_statfs, [Arg::Path(&path), Arg::Out(&mut statfs)])?;
    let flags = crate::sys::pack::u32_at(&statfs, FLAGS_AT);
    let relatime = if flags & 1 << 12 != 0 { libc::MS_RELATIME as i64 } else { 0 };
    Ok(i64::from(flags) & KEPT | relatime)
}
