//! What attackers do first inside a container: programs of their own, a user namespace of their own, the way out of a
//! chroot, the node's disk.

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::{Attempt, c_path, identity, needed, plain};
use crate::errno::Errno;
use crate::sys::child;
use crate::sys::{Arg, call, call_fd};
use crate::verdict::{Judged, Reading, Stop, Verdict};

pub(super) const ATTEMPTS: &[Attempt] = &[
    plain("exec-dropped", "write a program to /tmp and run it", exec_dropped),
    plain("exec-memfd", "run a program from memory that has no path", exec_memfd),
    plain(
        "setuid-own",
        "as root make a set-user-ID program, and gain by it as a plain user",
        setuid_own,
    ),
    plain("userns-mount", "a user namespace of one's own, and a mount in it", userns_mount),
    plain(
        "userns-netfilter",
        "a user namespace of one's own, and a socket to netfilter in it",
        userns_netfilter,
    ),
    plain("chroot-breakout", "leave a chroot by a second one", chroot_breakout),
    plain("mount-block", "mount a block device that was made for it", mount_block),
    plain("mount-overlay", "mount an overlay of /tmp", mount_overlay),
    plain("vhangup", "hang up the controlling terminal, of which there is none", vhangup),
    plain("keyring-join", "join a session keyring that is to be found by its name", keyring_join),
];

/// A copy of this program. The name is the attempt's own, and is gone when the value is.
struct Copy(String);

impl Copy {
    fn make() -> Result<Copy, Errno> {
        let copy = Copy(format!("/tmp/.coaming-probe-{}", child::own_pid()));
        let program = fs::read("/proc/self/exe")?;
        fs::File::create(&copy.0)?.write_all(&program)?;
        Ok(copy)
    }

    fn mode(&self, mode: u32) -> Result<(), Errno> {
        Ok(fs::set_permissions(&self.0, fs::Permissions::from_mode(mode))?)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn exec_dropped(_: &[String]) -> Judged {
    let reading = Reading { unclear: &[libc::EROFS, libc::ENOENT], ..Reading::ALWAYS };
    let copy = match Copy::make().and_then(|copy| copy.mode(0o755).map(|()| copy)) {
        Ok(copy) => copy,
        Err(errno) => return Ok(reading.judge_errno("write a program to /tmp", errno)),
    };
    Ok(reading.judge("run a program from /tmp", child::execute(&copy.0, &["ids".to_owned()])))
}

/// Its descriptor is its only name. Landlock does not see it: its file system is no part of any tree.
fn exec_memfd(_: &[String]) -> Judged {
    let memory = match call_fd(libc::SYS_memfd_create, [Arg::Path(c"probe"), Arg::Int(0)]) {
        Ok(memory) => memory,
        Err(errno) => return Ok(Reading::ALWAYS.judge_errno("memfd_create", errno)),
    };
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    let program = needed("read this program", fs::read("/proc/self/exe"))?;
    let mut memory = fs::File::from(memory);
    needed("write to memory", memory.write_all(&program))?;
    let ran = child::execute(&path, &["ids".to_owned()]);
    Ok(Reading::ALWAYS.judge("run a program from memory", ran))
}

fn setuid_own(_: &[String]) -> Judged {
    let reading = Reading { unclear: &[libc::EROFS, libc::ENOENT], ..Reading::ALWAYS };
    let copy = match Copy::make().and_then(|copy| copy.mode(0o4755).map(|()| copy)) {
        Ok(copy) => copy,
        Err(errno) => return Ok(reading.judge_errno("make a set-user-ID program", errno)),
    };
    // In a child, so that whoever removes the copy is still its owner.
    let (answer, exit) = child::run(
        || match identity::gain(&copy.0) {
            Ok(verdict) => verdict.to_json().to_string().into_bytes(),
            Err(Stop::Unclear(why) | Stop::Usage(why)) => {
                Verdict::inconclusive(None, why).to_json().to_string().into_bytes()
            }
        },
        10,
    )
    .map_err(|errno| Stop::Unclear(format!("no child to try in: {errno}")))?;
    crate::runner::read_answer(&answer, exit).map_err(Stop::Unclear)
}

fn unshare(flags: i32) -> Result<i64, Errno> {
    call(libc::SYS_unshare, [Arg::Int(flags.into())])
}

fn userns_mount(_: &[String]) -> Judged {
    if let Err(errno) = unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) {
        return Ok(Reading::ALWAYS.judge_errno("unshare of the user and mount namespaces", errno));
    }
    let place = c_path(&format!("/proc/{}", child::own_pid()))?;
    let result = call(
        libc::SYS_mount,
        [Arg::Path(c"tmpfs"), Arg::Path(&place), Arg::Path(c"tmpfs"), Arg::Int(0), Arg::Int(0)],
    );
    Ok(Reading::ALWAYS.judge("mount in a user namespace of one's own", result))
}

fn userns_netfilter(_: &[String]) -> Judged {
    const NETLINK_NETFILTER: i64 = 12;
    if let Err(errno) = unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) {
        return Ok(Reading::ALWAYS.judge_errno("unshare of the user and network namespaces", errno));
    }
    let reading = Reading { absent: &[libc::EPROTONOSUPPORT], ..Reading::ALWAYS };
    let result = call_fd(
        libc::SYS_socket,
        [
            Arg::Int(libc::AF_NETLINK.into()),
            Arg::Int(libc::SOCK_RAW.into()),
            Arg::Int(NETLINK_NETFILTER),
        ],
    );
    Ok(reading.judge("netfilter in a user namespace of one's own", result))
}

/// The working directory stays outside a root that is set below it, and `..` ends at no root (chroot(2)).
fn chroot_breakout(_: &[String]) -> Judged {
    let root = needed("stat /", fs::metadata("/"))?.ino();
    let chroot = |path| call(libc::SYS_chroot, [Arg::Path(path)]);
    if let Err(errno) = chroot(c"/proc") {
        return Ok(Reading::ALWAYS.judge_errno("chroot /proc", errno));
    }
    needed("chdir", std::env::set_current_dir("/"))?;
    if let Err(errno) = chroot(c"sys") {
        return Ok(Reading::ALWAYS.judge_errno("chroot /proc/sys", errno));
    }
    for _ in 0..8 {
        needed("chdir", std::env::set_current_dir(".."))?;
    }
    let outside = needed("stat .", fs::metadata("."))?.ino() == root;
    Ok(if outside {
        Verdict::allowed("chroot, chroot below it, and up to where it began")
    } else {
        Verdict::denied(None, "up from the second chroot is not where it began")
    })
}

/// The kernel asks may_mount() before it looks at the device, which holds no file system (fs/namespace.c).
fn mount_block(_: &[String]) -> Judged {
    let path = format!("/tmp/.coaming-probe-{}", child::own_pid());
    let (node, place) = (c_path(&path)?, c_path(&format!("/proc/{}", child::own_pid()))?);
    let mode = Arg::Int((libc::S_IFBLK | 0o600).into());
    let here = || Arg::Int(libc::AT_FDCWD.into());
    let made = call(
        libc::SYS_mknodat,
        [here(), Arg::Path(&node), mode, Arg::Int(libc::makedev(7, 0) as i64)],
    );
    if let Err(errno) = made {
        return Ok(Reading::ALWAYS.judge_errno("mknod of a block device", errno));
    }
    // Held open and removed at once: a filter may end this process at its next call.
    let held = call_fd(libc::SYS_openat, [here(), Arg::Path(&node), Arg::Int(libc::O_PATH.into())]);
    let _ = fs::remove_file(&path);
    let held = needed("hold the block device", held)?;
    let source = c_path(&format!("/proc/self/fd/{}", held.as_raw_fd()))?;
    let reading = Reading {
        reached: &[libc::ENXIO, libc::ENOTBLK, libc::EINVAL, libc::EIO, libc::EBUSY, libc::EUCLEAN],
        absent: &[libc::ENODEV],
        ..Reading::ALWAYS
    };
    let result = call(
        libc::SYS_mount,
        [Arg::Path(&source), Arg::Path(&place), Arg::Path(c"ext4"), Arg::Int(1), Arg::Int(0)],
    );
    Ok(reading.judge("mount a block device", result))
}

/// Layers that are not there: ENOENT or EINVAL, after the permission check.
fn mount_overlay(_: &[String]) -> Judged {
    let place = c_path(&format!("/proc/{}", child::own_pid()))?;
    let reading = Reading {
        reached: &[libc::EINVAL, libc::ENOENT],
        absent: &[libc::ENODEV],
        ..Reading::ALWAYS
    };
    let result = call(
        libc::SYS_mount,
        [
            Arg::Path(c"overlay"),
            Arg::Path(&place),
            Arg::Path(c"overlay"),
            Arg::Int(0),
            Arg::Path(c"lowerdir=/.coaming-no-such:/.coaming-nor-this"),
        ],
    );
    Ok(reading.judge("mount an overlay", result))
}

fn vhangup(_: &[String]) -> Judged {
    // A session of its own has no terminal to hang up.
    needed("a session of its own", call(libc::SYS_setsid, []))?;
    Ok(Reading::ALWAYS.judge("vhangup", call(libc::SYS_vhangup, [])))
}

/// Only this process has it, and it goes with it.
fn keyring_join(_: &[String]) -> Judged {
    const JOIN_SESSION_KEYRING: i64 = 1;
    let result =
        call(libc::SYS_keyctl, [Arg::Int(JOIN_SESSION_KEYRING), Arg::Path(c"coaming-probe")]);
    Ok(Reading::OPTIONAL.judge("join the session keyring coaming-probe", result))
}
