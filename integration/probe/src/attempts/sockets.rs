//! Socket families, and the terminal's input.

use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, OwnedFd};

use super::{Attempt, needed, number, plain, text, with};
use crate::errno::Errno;
use crate::sys::pack::{Pack, u32_at};
use crate::sys::{Arg, call, call_fd};
use crate::verdict::{Judged, Reading, Stop, Verdict};

pub(super) const ATTEMPTS: &[Attempt] = &[
    plain("af-alg", "an AF_ALG socket (kernel crypto)", |_| family(38, libc::SOCK_SEQPACKET, 0)),
    plain("af-vsock", "an AF_VSOCK socket (hypervisor)", |_| family(40, libc::SOCK_STREAM, 0)),
    plain("af-packet", "a raw AF_PACKET socket", |_| family(17, libc::SOCK_RAW, 0)),
    plain("af-netlink", "an AF_NETLINK route socket", |_| family(16, libc::SOCK_RAW, 0)),
    plain("af-netlink-xfrm", "an AF_NETLINK socket to IPsec", |_| family(16, libc::SOCK_RAW, 6)),
    plain("af-netfilter", "an AF_NETLINK socket to netfilter", |_| family(16, libc::SOCK_RAW, 12)),
    plain("raw-icmp", "a raw IPv4 ICMP socket", |_| family(2, libc::SOCK_RAW, 1)),
    with("socket", "<family> [type [protocol]]", (1, 3), "any socket, by numbers", |args| {
        family(number(args, 0, 0)?, number(args, 1, libc::SOCK_STREAM)?, number(args, 2, 0)?)
    }),
    with(
        "abstract-unix",
        "<name>",
        (1, 1),
        "connect to that abstract socket (`probe serve-abstract`)",
        abstract_unix,
    ),
    with("connect-unix", "<path>", (1, 1), "connect to the socket at path", connect_unix),
    plain("tiocsti", "type into an own new terminal by ioctl", tiocsti),
];

fn family(family: i32, kind: i32, protocol: i32) -> Judged {
    let reading = Reading {
        absent: &[
            libc::EAFNOSUPPORT,
            libc::ESOCKTNOSUPPORT,
            libc::EPROTONOSUPPORT,
            libc::EPROTOTYPE,
        ],
        ..Reading::OPTIONAL
    };
    let what = format!("socket of family {family}, type {kind}, protocol {protocol}");
    Ok(reading.judge(&what, socket(family, kind, protocol)))
}

/// socket(2), closed on exec.
pub(super) fn socket(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    call_fd(
        libc::SYS_socket,
        [
            Arg::Int(family.into()),
            Arg::Int((kind | libc::SOCK_CLOEXEC).into()),
            Arg::Int(protocol.into()),
        ],
    )
}

/// connect(2) to an address already packed.
pub(super) fn connect(socket: &OwnedFd, address: &[u8]) -> Result<(), Errno> {
    let fd = Arg::Int(socket.as_raw_fd().into());
    call(libc::SYS_connect, [fd, Arg::In(address), Arg::Int(address.len() as i64)]).map(drop)
}

fn abstract_unix(args: &[String]) -> Judged {
    let name = text(args, 0, "");
    let address = Pack::new().u16(libc::AF_UNIX as u16).u8(0).bytes(name.as_bytes()).done();
    // ECONNREFUSED: no such name in this network namespace (unix(7)).
    let reading = Reading { absent: &[libc::ECONNREFUSED], ..Reading::ALWAYS };
    connect_to(&format!("connect to abstract {name}"), &address, reading)
}

fn connect_unix(args: &[String]) -> Judged {
    let path = text(args, 0, "");
    let address = Pack::new().u16(libc::AF_UNIX as u16).bytes(path.as_bytes()).u8(0).done();
    let reading =
        Reading { absent: &[libc::ENOENT], unclear: &[libc::ECONNREFUSED], ..Reading::ALWAYS };
    connect_to(&format!("connect to {path}"), &address, reading)
}

fn connect_to(what: &str, address: &[u8], reading: Reading) -> Judged {
    if address.len() > 110 {
        return Err(Stop::Usage("too long for a socket address (unix(7))".to_owned()));
    }
    let socket = needed("a unix socket", socket(libc::AF_UNIX, libc::SOCK_STREAM, 0))?;
    Ok(reading.judge(what, connect(&socket, address)))
}

/// On a terminal pair of its own, so that nothing is typed to anyone.
fn tiocsti(_: &[String]) -> Judged {
    const TIOCSTI: i64 = 0x5412;
    const TIOCSCTTY: i64 = 0x540e;
    const TIOCSPTLCK: i64 = 0x4004_5431;
    const TIOCGPTPEER: i64 = 0x5441;
    const FIONREAD: i64 = 0x541b;
    let flags = i64::from(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
    let master = call_fd(
        libc::SYS_openat,
        [Arg::Int(libc::AT_FDCWD.into()), Arg::Path(c"/dev/ptmx"), Arg::Int(flags)],
    );
    // Never closed before the answer is given: closing it hangs the terminal up, which ends its session's leader.
    let master = ManuallyDrop::new(needed("open /dev/ptmx", master)?);
    let ioctl = |fd: &OwnedFd, request: i64, arg: Arg<'_>| {
        call(libc::SYS_ioctl, [Arg::Int(fd.as_raw_fd().into()), Arg::Int(request), arg])
    };
    needed("unlock the terminal", ioctl(&master, TIOCSPTLCK, Arg::In(&[0; 4])))?;
    let fd = Arg::Int(master.as_raw_fd().into());
    let peer = call_fd(libc::SYS_ioctl, [fd, Arg::Int(TIOCGPTPEER), Arg::Int(flags)]);
    let peer = needed("open the terminal", peer)?;
    needed("a session of its own", call(libc::SYS_setsid, []))?;
    needed("a controlling terminal", ioctl(&peer, TIOCSCTTY, Arg::Int(0)))?;
    for byte in b"x\n" {
        if let Err(errno) = ioctl(&peer, TIOCSTI, Arg::In(&[*byte])) {
            return Ok(Reading::ALWAYS.judge_errno("ioctl TIOCSTI", errno));
        }
    }
    let mut waiting = [0u8; 4];
    needed("look at the terminal's input", ioctl(&peer, FIONREAD, Arg::Out(&mut waiting)))?;
    if u32_at(&waiting, 0) > 0 {
        Ok(Verdict::allowed("ioctl TIOCSTI; the input is there"))
    } else {
        Ok(Verdict::denied(None, "ioctl TIOCSTI: success, but no input came"))
    }
}
