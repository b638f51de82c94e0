//! The trials themselves: `coaming doctor --trial`, which the doctor runs of itself.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::libc;
use nix::sched::{CloneFlags, unshare};

use super::sys::{self, Rights};
use super::{Trial, Trials};

const FLAGS: [(&str, u64, u64); 6] = [
    ("LOG", 1 << 1, 0),
    ("SPEC_ALLOW", 1 << 2, 0),
    ("TSYNC", 1, 0),
    ("TSYNC_ESRCH", 1 << 4, 0),
    ("NEW_LISTENER", 1 << 3, 0),
    // It is an attribute of a listener's.
    ("WAIT_KILLABLE_RECV", 1 << 5, 1 << 3),
];
const ACTIONS: [(&str, u32); 8] = [
    ("KILL_PROCESS", libc::SECCOMP_RET_KILL_PROCESS),
    ("KILL_THREAD", libc::SECCOMP_RET_KILL_THREAD),
    ("TRAP", libc::SECCOMP_RET_TRAP),
    ("ERRNO", libc::SECCOMP_RET_ERRNO),
    ("USER_NOTIF", 0x7fc0_0000),
    ("TRACE", libc::SECCOMP_RET_TRACE),
    ("LOG", libc::SECCOMP_RET_LOG),
    ("ALLOW", libc::SECCOMP_RET_ALLOW),
];
/// Names as landlock(7) has them, by group and bit.
const FILES: [&str; 16] = [
    "EXECUTE",
    "WRITE_FILE",
    "READ_FILE",
    "READ_DIR",
    "REMOVE_DIR",
    "REMOVE_FILE",
    "MAKE_CHAR",
    "MAKE_DIR",
    "MAKE_REG",
    "MAKE_SOCK",
    "MAKE_FIFO",
    "MAKE_BLOCK",
    "MAKE_SYM",
    "REFER",
    "TRUNCATE",
    "IOCTL_DEV",
];
const NET: [&str; 2] = ["BIND_TCP", "CONNECT_TCP"];
const SCOPED: [&str; 2] = ["ABSTRACT_UNIX_SOCKET", "SIGNAL"];

/// An errno that nothing else answers getppid(2) with.
const ODD: i32 = libc::EXDEV;

/// Makes the trials and writes what came of them; a trial that kills does not return.
pub(crate) fn run(trial: Trial, out: &mut dyn Write) -> io::Result<()> {
    match trial {
        Trial::Features => Ok(serde_json::to_writer(out, &features())?),
        Trial::Kill => {
            sys::set_no_new_privs();
            sys::load_filter(libc::SYS_getppid, libc::SECCOMP_RET_KILL_PROCESS, 0)?;
            sys::getppid().map(drop)
        }
        Trial::Idmap => {
            let why = map_a_mount().err().map(|error| error.to_string());
            Ok(serde_json::to_writer(out, &why)?)
        }
        Trial::UserNamespace => {
            unshare(CloneFlags::CLONE_NEWUSER)?;
            out.write_all(b"made")?;
            out.flush()?;
            io::stdin().read_to_end(&mut Vec::new()).map(drop)
        }
    }
}

/// Where containers' roots and volumes are: whether ids can be mapped depends on the file system.
const MOUNTED: [&str; 3] = ["/var/lib/containerd", "/var/lib/kubelet", "/var/lib"];

/// Makes a user namespace, and maps a mount's ids as its. Nothing is attached anywhere.
fn map_a_mount() -> io::Result<()> {
    let mut child = Command::new("/proc/self/exe")
        .args(["doctor", "--trial", "user-namespace"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut mapped = || {
        let mut made = [0; 4];
        let output = child.stdout.as_mut().ok_or_else(|| io::Error::other("no output"))?;
        output
            .read_exact(&mut made)
            .map_err(|_| io::Error::other("no user namespace can be made"))?;
        let process = format!("/proc/{}", child.id());
        for map in ["uid_map", "gid_map"] {
            fs::write(format!("{process}/{map}"), "0 100000 65536\n")?;
        }
        let namespace = File::open(format!("{process}/ns/user"))?;
        let folder = MOUNTED.into_iter().find(|folder| Path::new(folder).is_dir()).unwrap_or("/");
        let mount = sys::detached_mount(&CString::new(folder)?)?;
        let done = sys::map_ids(mount, namespace.as_raw_fd());
        sys::close(mount);
        done.map(drop)
    };
    let result = mapped();
    // Its standard input ends, and so does it.
    drop(child.stdin.take());
    child.wait()?;
    result
}

/// What needs privileges first, what takes rights away last.
fn features() -> Trials {
    let words = |error: io::Error| error.to_string();
    let mut trials = Trials {
        audit: sys::follow_audit().map_err(words).err(),
        user_namespaces: unshare(CloneFlags::CLONE_NEWUSER)
            .map_err(|errno| words(errno.into()))
            .err(),
        no_new_privileges: sys::set_no_new_privs(),
        landlock_abi: sys::landlock_abi(),
        ..Trials::default()
    };
    for (group, names) in [(0, &FILES[..]), (1, &NET[..]), (2, &SCOPED[..])] {
        for (bit, name) in names.iter().enumerate() {
            let right = |which: i32| if which == group { 1_u64 << bit } else { 0 };
            let rights = Rights { files: right(0), net: right(1), scoped: right(2) };
            let made = sys::landlock_ruleset(&rights);
            if let Ok(ruleset) = made {
                sys::close(ruleset);
            }
            trials.landlock_rights.insert((*name).to_owned(), made.is_ok());
        }
    }
    for (name, action) in ACTIONS {
        trials.seccomp_actions.insert(name.to_owned(), sys::knows_action(action));
    }
    // A call of which nobody makes use: the answer does not matter.
    for (name, flag, with) in FLAGS {
        let loaded =
            sys::load_filter(libc::SYS_lookup_dcookie, libc::SECCOMP_RET_ALLOW, flag | with);
        if let Ok(listener) = loaded
            && listener > 0
        {
            sys::close(listener);
        }
        trials.seccomp_flags.insert(name.to_owned(), loaded.is_ok());
    }
    let answer = libc::SECCOMP_RET_ERRNO | ODD.unsigned_abs();
    trials.seccomp_filter = sys::load_filter(libc::SYS_getppid, answer, 0).is_ok()
        && sys::getppid().is_err_and(|error| error.raw_os_error() == Some(ODD));
    trials.landlock_effect = is_kept_from_reading();
    trials
}

/// Takes on a ruleset under which no file may be read, and tries to.
fn is_kept_from_reading() -> bool {
    const READ_FILE: u64 = 1 << 2;
    let before = File::open("/proc/self/status").is_ok();
    let restricted = sys::landlock_ruleset(&Rights { files: READ_FILE, net: 0, scoped: 0 })
        .and_then(sys::landlock_restrict);
    let after = File::open("/proc/self/status");
    before
        && restricted.is_ok()
        && after.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}
