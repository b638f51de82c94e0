//! Files by path: what Landlock, read-only mounts and permissions decide.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use super::{Attempt, c_path, text, with};
use crate::errno::Errno;
use crate::sys::child::{self, Exit};
use crate::sys::{Arg, call};
use crate::verdict::{Judged, Reading, Stop, Verdict};

pub(super) const ATTEMPTS: &[Attempt] = &[
    with("exec", "<path> [args...]", (1, usize::MAX), "execute that file", exec),
    with("read", "<path>", (1, 1), "read from that file or directory", read),
    with("write", "<path>", (1, 1), "open that file for writing; nothing is written", write),
    with("create", "<path>", (1, 1), "make that file, then remove it", create),
    with("unlink", "<path>", (1, 1), "remove that file, then write it anew", unlink),
    with("truncate", "<path>", (1, 1), "truncate that file to the length it has", truncate),
    with("mkdir", "<path>", (1, 1), "make that directory, then remove it", mkdir),
    with("chmod", "<path>", (1, 1), "set that file's mode to what it is", chmod),
];

/// ETXTBSY comes before an LSM is asked: a running program proves nothing.
const PATH: Reading =
    Reading { absent: &[libc::ENOENT], unclear: &[libc::ETXTBSY, libc::EEXIST], ..Reading::ALWAYS };

fn exec(args: &[String]) -> Judged {
    let path = text(args, 0, "");
    let what = format!("execute {path}");
    Ok(match child::execute(path, args.get(1..).unwrap_or_default()) {
        Err(errno) => PATH.judge_errno(&what, errno),
        Ok((output, Exit::Code(code))) => {
            let output = String::from_utf8_lossy(&output);
            Verdict::allowed(format!("{what}: exit code {code}, said {:?}", output.trim_end()))
        }
        Ok((_, Exit::Signal(signal))) => {
            Verdict::allowed(format!("{what}: it ran, and died by signal {signal}"))
        }
    })
}

fn read(args: &[String]) -> Judged {
    let path = text(args, 0, "");
    let result = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::read_dir(path).map(drop),
        _ => OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .and_then(|mut file| file.read(&mut [0]).map(drop)),
    };
    Ok(PATH.judge(&format!("read {path}"), result.map_err(Errno::from)))
}

fn write(args: &[String]) -> Judged {
    let path = text(args, 0, "");
    let file = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path);
    Ok(PATH.judge(&format!("open {path} for writing"), file.map_err(Errno::from)))
}

fn create(args: &[String]) -> Judged {
    let path = text(args, 0, "");
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let removed = if file.is_ok() { fs::remove_file(path) } else { Ok(()) };
    let what = match removed {
        Ok(()) => format!("create {path}"),
        Err(error) => format!("create {path}; could not be removed: {error}"),
    };
    Ok(PATH.judge(&what, file.map_err(Errno::from)))
}

/// The content is kept in memory and written anew; owner and hard links are not, so give it a file of the test's own.
fn unlink(args: &[String]) -> Judged {
    const LARGEST: u64 = 1 << 20;
    let path = text(args, 0, "");
    let before = match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() || metadata.len() > LARGEST => {
            return Err(Stop::Usage(format!("{path} is no regular file of 1 MiB at most")));
        }
        Ok(metadata) => fs::read(path).ok().map(|content| (content, metadata.permissions())),
        Err(error) => return Ok(PATH.judge_errno(&format!("stat {path}"), Errno::from(error))),
    };
    let what = format!("unlink {path}");
    if let Err(error) = fs::remove_file(path) {
        return Ok(PATH.judge_errno(&what, Errno::from(error)));
    }
    let restored = before.is_some_and(|(content, permissions)| {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        file.and_then(|mut file| file.write_all(&content))
            .and_then(|()| fs::set_permissions(path, permissions))
            .is_ok()
    });
    let suffix = if restored { "written anew" } else { "could not be written anew" };
    Ok(Verdict::allowed(format!("{what}; {suffix}")))
}

/// The permission is asked for whatever the length (fs/open.c, vfs_truncate).
fn truncate(args: &[String]) -> Judged {
    let path = text(args, 0, "");
    let what = format!("truncate {path} to its own length");
    let c_path = c_path(path)?;
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) => return Ok(PATH.judge_errno(&what, Errno::from(error))),
    };
    let result = call(libc::SYS_truncate, [Arg::Path(&c_path), Arg::Int(length as i64)]);
    Ok(PATH.judge(&what, result))
}

fn mkdir(args: &[String]) -> Judged {
    let path = text(args, 0, "");
    let result = fs::create_dir(path);
    if result.is_ok() {
        let _ = fs::remove_dir(path);
    }
    Ok(PATH.judge(&format!("mkdir {path}"), result.map_err(Errno::from)))
}

fn chmod(args: &[String]) -> Judged {
    let path = text(args, 0, "");
    let c_path = c_path(path)?;
    let what = format!("chmod {path} to its own mode");
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode() & 0o7777,
        Err(error) => return Ok(PATH.judge_errno(&what, Errno::from(error))),
    };
    let here = Arg::Int(libc::AT_FDCWD.into());
    let result = call(libc::SYS_fchmodat, [here, Arg::Path(&c_path), Arg::Int(mode.into())]);
    Ok(PATH.judge(&what, result))
}
