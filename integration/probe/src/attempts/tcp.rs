//! TCP ports, and the ways around a rule on them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use super::sockets::{connect, socket};
use super::{Attempt, needed, number, plain, text, with};
use crate::errno::Errno;
use crate::sys::pack::Pack;
use crate::sys::{Arg, call};
use crate::verdict::{Judged, Reading, Stop, Verdict};

pub(super) const ATTEMPTS: &[Attempt] = &[
    with("connect", "<address> <port>", (2, 2), "connect by TCP", |args| tcp_connect(args, 0)),
    with("connect-mptcp", "<address> <port>", (2, 2), "connect by multipath TCP", |args| {
        tcp_connect(args, IPPROTO_MPTCP)
    }),
    with(
        "sendto-fastopen",
        "<address> <port>",
        (2, 2),
        "connect by sending (MSG_FASTOPEN)",
        fastopen,
    ),
    with("bind", "<port> [address]", (1, 2), "bind a TCP port (all addresses)", |args| {
        tcp_bind(args, 0)
    }),
    with("bind-mptcp", "<port> [address]", (1, 2), "bind a multipath TCP port", |args| {
        tcp_bind(args, IPPROTO_MPTCP)
    }),
    plain(
        "listen-unbound",
        "listen without a bind, on a port that the kernel picks",
        listen_unbound,
    ),
    with("send-udp", "<address> <port>", (2, 2), "send an empty datagram", send_udp),
    with("bind-udp", "<port>", (1, 1), "bind a UDP port", bind_udp),
];

const IPPROTO_MPTCP: i32 = 262;

/// What the network says, not the policy. A filter or Landlock says EPERM or EACCES; so does a firewall's "prohibit".
const NETWORK: Reading = Reading {
    reached: &[],
    absent: &[
        libc::EPROTONOSUPPORT,
        libc::EAFNOSUPPORT,
        libc::EOPNOTSUPP,
        libc::ENOPROTOOPT,
        libc::EADDRNOTAVAIL,
    ],
    unclear: &[
        libc::ECONNREFUSED,
        libc::ECONNRESET,
        libc::ENETUNREACH,
        libc::EHOSTUNREACH,
        libc::ETIMEDOUT,
        libc::EINPROGRESS,
        libc::EAGAIN,
        libc::EADDRINUSE,
    ],
    since: Some((0, 0)),
};

fn tcp_connect(args: &[String], protocol: i32) -> Judged {
    let address = address(args, 0, 1)?;
    let what = format!("{} connect to {address}", name(protocol));
    match stream(&address, protocol) {
        Ok(socket) => Ok(NETWORK.judge(&what, connect(&socket, &packed(&address)))),
        Err(errno) => Ok(NETWORK.judge_errno(&format!("{what}: socket"), errno)),
    }
}

/// Without a cookie the kernel falls back to an ordinary handshake (tcp(7)): either way a connection is made.
fn fastopen(args: &[String]) -> Judged {
    let address = address(args, 0, 1)?;
    let what = format!("sendto with MSG_FASTOPEN to {address}");
    let socket = needed("a TCP socket", stream(&address, 0))?;
    let to = packed(&address);
    let result = call(
        libc::SYS_sendto,
        [
            Arg::Int(socket.as_raw_fd().into()),
            Arg::In(b"x"),
            Arg::Int(1),
            Arg::Int((libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL).into()),
            Arg::In(&to),
            Arg::Int(to.len() as i64),
        ],
    );
    Ok(NETWORK.judge(&what, result))
}

fn tcp_bind(args: &[String], protocol: i32) -> Judged {
    let address = any_address(args)?;
    let what = format!("{} bind to {address}", name(protocol));
    match stream(&address, protocol) {
        Ok(socket) => Ok(NETWORK.judge(&what, bind(&socket, &address))),
        Err(errno) => Ok(NETWORK.judge_errno(&format!("{what}: socket"), errno)),
    }
}

fn bind_udp(args: &[String]) -> Judged {
    let address = any_address(args)?;
    let socket = needed("a UDP socket", socket(libc::AF_INET, libc::SOCK_DGRAM, 0))?;
    Ok(NETWORK.judge(&format!("UDP bind to {address}"), bind(&socket, &address)))
}

fn listen_unbound(_: &[String]) -> Judged {
    let socket = needed("a TCP socket", socket(libc::AF_INET, libc::SOCK_STREAM, 0))?;
    let fd = || Arg::Int(socket.as_raw_fd().into());
    if let Err(errno) = call(libc::SYS_listen, [fd(), Arg::Int(1)]) {
        return Ok(NETWORK.judge_errno("listen without a bind", errno));
    }
    let (mut name, mut length) = ([0u8; 16], 16u32.to_ne_bytes());
    let named = call(libc::SYS_getsockname, [fd(), Arg::Out(&mut name), Arg::Out(&mut length)]);
    needed("the name of the socket", named)?;
    let [_, _, high, low, ..] = name;
    match u16::from_be_bytes([high, low]) {
        0 => Err(Stop::Unclear("listen without a bind: success, but no port".to_owned())),
        port => Ok(Verdict::allowed(format!("listened on port {port} without a bind"))),
    }
}

fn send_udp(args: &[String]) -> Judged {
    let address = address(args, 0, 1)?;
    let socket = needed("a UDP socket", socket(family(&address), libc::SOCK_DGRAM, 0))?;
    let to = packed(&address);
    let result = call(
        libc::SYS_sendto,
        [
            Arg::Int(socket.as_raw_fd().into()),
            Arg::In(b""),
            Arg::Int(0),
            Arg::Int(0),
            Arg::In(&to),
            Arg::Int(to.len() as i64),
        ],
    );
    Ok(NETWORK.judge(&format!("datagram to {address}"), result))
}

/// A TCP socket that gives up a connection after five seconds, as EINPROGRESS or EAGAIN.
fn stream(address: &SocketAddr, protocol: i32) -> Result<OwnedFd, Errno> {
    let socket = socket(family(address), libc::SOCK_STREAM, protocol)?;
    let fd = || Arg::Int(socket.as_raw_fd().into());
    let (five_seconds, on) = (Pack::new().u64(5).u64(0).done(), 1u32.to_ne_bytes());
    for (option, value) in [(libc::SO_SNDTIMEO, &five_seconds[..]), (libc::SO_REUSEADDR, &on[..])] {
        let (level, option) = (Arg::Int(libc::SOL_SOCKET.into()), Arg::Int(option.into()));
        let length = Arg::Int(value.len() as i64);
        // Only for comfort: a filter may refuse it without changing what is judged.
        let _ = call(libc::SYS_setsockopt, [fd(), level, option, Arg::In(value), length]);
    }
    Ok(socket)
}

fn bind(socket: &OwnedFd, address: &SocketAddr) -> Result<(), Errno> {
    let (fd, name) = (Arg::Int(socket.as_raw_fd().into()), packed(address));
    call(libc::SYS_bind, [fd, Arg::In(&name), Arg::Int(name.len() as i64)]).map(drop)
}

/// An address and a port; "localhost" without asking anyone, since an image has no resolver.
fn address(args: &[String], host: usize, port: usize) -> Result<SocketAddr, Stop> {
    let host = match text(args, host, "0.0.0.0") {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host.parse().map_err(|_| Stop::Usage(format!("{host} is no IP address")))?,
    };
    Ok(SocketAddr::new(host, number(args, port, 0)?))
}

fn any_address(args: &[String]) -> Result<SocketAddr, Stop> {
    address(args, 1, 0)
}

fn family(address: &SocketAddr) -> i32 {
    if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}

fn packed(address: &SocketAddr) -> Vec<u8> {
    let head = Pack::new().u16(family(address) as u16).bytes(&address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => head.bytes(&ip.octets()).pad_to(16).done(),
        IpAddr::V6(ip) => head.u32(0).bytes(&ip.octets()).pad_to(28).done(),
    }
}

fn name(protocol: i32) -> &'static str {
    if protocol == IPPROTO_MPTCP { "MPTCP" } else { "TCP" }
}
