//! Where records come from: the kernel's ring buffer, auditd's log, and the kernel's audit socket.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use coaming_audit::{Record, from_file, from_kmsg, from_netlink};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// The kernel's ring buffer.
pub(super) const KMSG: &str = "/dev/kmsg";
/// Where auditd writes.
pub(super) const AUDIT_LOG: &str = "/var/log/audit/audit.log";
/// The most records that one source gives, newest last; the oldest give way.
const MAX_RECORDS: usize = 200_000;
/// The longest line that is read, in bytes; the rest of a longer one is passed over.
const MAX_LINE: u64 = 16 * 1024;
/// `AUDIT_NLGRP_READLOG` (linux/audit.h): the kernel's records, whether a daemon reads them or not.
const READLOG: u32 = 1;
/// `AUDIT_GET`.
const GET: u16 = 1000;
/// The kernel's header of a message (linux/netlink.h, `struct nlmsghdr`), in bytes.
const HEADER: usize = 16;
/// How much the kernel keeps for us while we look at a process, in bytes.
const QUEUE: usize = 8 << 20;

/// What the ring buffer holds now.
pub(super) fn kernel_buffer() -> io::Result<Vec<Record>> {
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(KMSG)?;
    let mut records = Vec::new();
    // Each read(2) gives one record, whole (Documentation/ABI/testing/dev-kmsg).
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => keep(&mut records, buffer.get(..length).and_then(from_kmsg)),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => break,
                // Overwritten meanwhile, or longer than any record of audit's: the next one is read.
                Some(libc::EPIPE | libc::EINVAL | libc::EINTR) => {}
                _ => return Err(error),
            },
        }
    }
    Ok(records)
}

/// The records of a log of auditd's.
pub(super) fn audit_log(path: &Path) -> io::Result<Vec<Record>> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut records = Vec::new();
    let mut line = Vec::new();
    let mut beginning = true;
    loop {
        line.clear();
        if (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let whole = line.ends_with(b"\n");
        if beginning {
            keep(&mut records, from_file(&line));
        }
        beginning = whole;
    }
    Ok(records)
}

fn keep(records: &mut Vec<Record>, record: Option<Record>) {
    if records.len() >= MAX_RECORDS {
        records.drain(..MAX_RECORDS / 2);
    }
    records.extend(record);
}

/// The kernel's records from now on.
pub(super) struct Stream(OwnedFd);

/// What a look into the stream gave.
pub(super) enum Received {
    /// A record, if it is one of those that are read.
    Message(Option<Record>),
    /// Nothing is there now.
    Nothing,
    /// The kernel had more than we took, and threw some away.
    Lost,
}

impl Stream {
    pub(super) fn open() -> io::Result<Stream> {
        let fd = audit_socket(READLOG)?;
        // Beyond what the system allows everybody, where we may.
        if setsockopt(&fd, sockopt::RcvBufForce, &QUEUE).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &QUEUE)?;
        }
        Ok(Stream(fd))
    }

    pub(super) fn read(&self) -> io::Result<Received> {
        let mut buffer = vec![0; 16 * 1024];
        match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => Ok(Received::Message(message(buffer.get(..length).unwrap_or_default()))),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Received::Nothing),
            Err(Errno::ENOBUFS) => Ok(Received::Lost),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn message(bytes: &[u8]) -> Option<Record> {
    let (header, text) = bytes.split_at_checked(HEADER)?;
    let kind = u16::from_ne_bytes([*header.get(4)?, *header.get(5)?]);
    from_netlink(kind, text)
}

/// Whether auditing is on (`auditctl -e 1`, or `audit=1` on the kernel's command line); `None` where we may not ask.
pub(super) fn is_auditing() -> Option<bool> {
    let fd = audit_socket(0).ok()?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::milliseconds(500)).ok()?;
    let mut request = Vec::with_capacity(HEADER);
    request.extend(u32::try_from(HEADER).ok()?.to_ne_bytes());
    request.extend(GET.to_ne_bytes());
    // NLM_F_REQUEST; then the sequence and our port.
    request.extend(1_u16.to_ne_bytes());
    request.extend(1_u32.to_ne_bytes());
    request.extend(0_u32.to_ne_bytes());
    sendto(fd.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty()).ok()?;
    let mut buffer = [0; 1024];
    let length = recv(fd.as_raw_fd(), &mut buffer, MsgFlags::empty()).ok()?;
    let answer = buffer.get(..length)?;
    let kind = u16::from_ne_bytes([*answer.get(4)?, *answer.get(5)?]);
    // struct audit_status: a mask, and whether it is enabled.
    let enabled = answer.get(HEADER + 4..HEADER + 8)?.try_into().ok().map(u32::from_ne_bytes)?;
    (kind == GET).then_some(enabled != 0)
}

fn audit_socket(groups: u32) -> io::Result<OwnedFd> {
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkAudit,
    )?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_line_by_line_and_a_line_without_end_does_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.log");
        let line =
            |serial: u32| format!("type=SECCOMP msg=audit(1.000:{serial}): pid=1 comm=\"a\"\n");
        let endless =
            format!("type=USER msg=audit(1.000:9): msg='{}{}", "x".repeat(40_000), line(7));
        std::fs::write(&file, format!("{}{}{endless}{}", line(1), line(2), line(3))).unwrap();
        let serials: Vec<u64> =
            audit_log(&file).unwrap().iter().map(|record| record.stamp.serial).collect();
        assert_eq!(serials, [1, 2, 3]);
        assert!(audit_log(&folder.path().join("none")).is_err());
    }

    #[test]
    fn a_message_has_a_header() {
        assert_eq!(message(b"short"), None);
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&1326_u16.to_ne_bytes());
        bytes.extend(b"audit(1.000:1): pid=1");
        assert_eq!(message(&bytes).unwrap().pid(), Some(1));
    }
}
