//! /proc and the control groups: what masks and read-only paths protect.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use super::{Attempt, needed, plain, text, with};
use crate::errno::Errno;
use crate::verdict::{Judged, Reading, Stop, Verdict};

pub(super) const ATTEMPTS: &[Attempt] = &[
    plain("sysrq", "write h (help) to /proc/sysrq-trigger", sysrq),
    with(
        "proc-sys",
        "[path]",
        (0, 1),
        "write a sysctl's own value back to it (vm/swappiness)",
        proc_sys,
    ),
    plain("core-pattern", "open /proc/sys/kernel/core_pattern for writing", |_| {
        open_for_writing("/proc/sys/kernel/core_pattern")
    }),
    plain("modprobe-path", "open /proc/sys/kernel/modprobe for writing", |_| {
        open_for_writing("/proc/sys/kernel/modprobe")
    }),
    plain("uevent-helper", "open /sys/kernel/uevent_helper for writing", |_| {
        open_for_writing("/sys/kernel/uevent_helper")
    }),
    plain("kcore", "read the start of /proc/kcore", |_| content("/proc/kcore")),
    plain("kallsyms", "read a kernel address that is not zero in /proc/kallsyms", kallsyms),
    with(
        "read-masked",
        "<path>",
        (1, 1),
        "is there content in that file, or an entry in that directory?",
        |args| content(text(args, 0, "")),
    ),
    plain(
        "release-agent",
        "write a control group's release_agent back to it (cgroup v1)",
        release_agent,
    ),
    plain("cgroup-mkdir", "make a control group, then remove it", cgroup_mkdir),
    plain("binfmt-misc", "open /proc/sys/fs/binfmt_misc/register for writing", |_| {
        open_for_writing("/proc/sys/fs/binfmt_misc/register")
    }),
];

const PATH: Reading = Reading { absent: &[libc::ENOENT], ..Reading::ALWAYS };

/// 'h' prints the list of keys to the kernel's log and does nothing else (admin-guide/sysrq).
fn sysrq(_: &[String]) -> Judged {
    const TRIGGER: &str = "/proc/sysrq-trigger";
    if is_masked(TRIGGER) {
        return Ok(Verdict::denied(None, format!("{TRIGGER} is masked by a device")));
    }
    let result = write_to(TRIGGER, b"h");
    Ok(PATH.judge("write h to /proc/sysrq-trigger", result))
}

fn proc_sys(args: &[String]) -> Judged {
    let path = match text(args, 0, "vm/swappiness") {
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/proc/sys/{path}"),
    };
    if !path.starts_with("/proc/sys/") || path.contains("/../") {
        return Err(Stop::Usage(format!("{path} is no sysctl")));
    }
    write_back(&path)
}

fn write_back(path: &str) -> Judged {
    let value = match fs::read(path) {
        Ok(value) => value,
        Err(error) => return Ok(PATH.judge_errno(&format!("read {path}"), Errno::from(error))),
    };
    // An empty value cannot be written as such: one line with nothing on it reads back the same.
    let value = if value.is_empty() { b"\n".to_vec() } else { value };
    Ok(PATH.judge(&format!("write {path} back"), write_to(path, &value)))
}

fn write_to(path: &str, bytes: &[u8]) -> Result<(), Errno> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(Errno::from)
}

fn open_for_writing(path: &str) -> Judged {
    if is_masked(path) {
        return Ok(Verdict::denied(None, format!("{path} is masked by a device")));
    }
    let result = OpenOptions::new().write(true).open(path).map(drop).map_err(Errno::from);
    Ok(PATH.judge(&format!("open {path} for writing"), result))
}

/// Runtimes mask a file with /dev/null (runtime-spec, maskedPaths), which opens and proves nothing.
fn is_masked(path: &str) -> bool {
    use std::os::unix::fs::FileTypeExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_char_device())
}

fn content(path: &str) -> Judged {
    let what = format!("read {path}");
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return Ok(PATH.judge_errno(&what, Errno::from(error))),
    };
    let amount = if metadata.is_dir() {
        fs::read_dir(path).map(Iterator::count)
    } else {
        // Not more than a page: kcore has no end.
        fs::File::open(path).and_then(|file| file.take(4096).read_to_end(&mut Vec::new()))
    };
    Ok(match amount {
        Ok(0) => Verdict::denied(None, format!("{path} is empty, as a mask is")),
        Ok(amount) => Verdict::allowed(format!("{what}: {amount} bytes or entries")),
        Err(error) => PATH.judge_errno(&what, Errno::from(error)),
    })
}

fn kallsyms(_: &[String]) -> Judged {
    const SYMBOLS: &str = "/proc/kallsyms";
    let table = match fs::File::open(SYMBOLS) {
        Ok(file) => {
            let mut text = String::new();
            needed(SYMBOLS, file.take(65536).read_to_string(&mut text))?;
            text
        }
        Err(error) => return Ok(PATH.judge_errno("read /proc/kallsyms", Errno::from(error))),
    };
    let told = table.lines().any(|line| {
        line.split(' ').next().is_some_and(|address| address.bytes().any(|digit| digit != b'0'))
    });
    if told {
        Ok(Verdict::allowed("/proc/kallsyms tells kernel addresses"))
    } else {
        Ok(Verdict::denied(None, "/proc/kallsyms tells no address"))
    }
}

/// The value that is there, in every v1 hierarchy whose root is to be seen; only a root has the file (cgroups(7)).
fn release_agent(_: &[String]) -> Judged {
    let mut last = None;
    for place in control_groups("cgroup")? {
        let path = format!("{place}/release_agent");
        if !Path::new(&path).exists() {
            continue;
        }
        let verdict = write_back(&path)?;
        if verdict.outcome == crate::verdict::Outcome::Allowed {
            return Ok(verdict);
        }
        last = Some(verdict);
    }
    Ok(last.unwrap_or_else(|| Verdict::unsupported(None, "no release_agent is to be seen")))
}

fn cgroup_mkdir(_: &[String]) -> Judged {
    let mut last = None;
    let places = control_groups("cgroup2")?.into_iter().chain(control_groups("cgroup")?);
    for place in places {
        let path = format!("{place}/coaming-probe-{}", crate::sys::child::own_pid());
        let what = format!("mkdir {path}");
        match fs::create_dir(&path) {
            Ok(()) => {
                let _ = fs::remove_dir(&path);
                return Ok(Verdict::allowed(what));
            }
            Err(error) => last = Some(PATH.judge_errno(&what, Errno::from(error))),
        }
    }
    Ok(last.unwrap_or_else(|| Verdict::unsupported(None, "no control group is mounted")))
}

/// Where filesystems of type `kind` are mounted.
fn control_groups(kind: &str) -> Result<Vec<String>, Stop> {
    let table = needed("/proc/self/mountinfo", fs::read_to_string("/proc/self/mountinfo"))?;
    let found = table.lines().filter_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let matches = source.split(' ').next() == Some(kind);
        matches.then(|| mount.split(' ').nth(4).map(str::to_owned)).flatten()
    });
    Ok(found.collect())
}
