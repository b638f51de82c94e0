//! Exec and attach over a WebSocket (RFC 6455), in Kubernetes' `v4.channel.k8s.io`: binary messages whose first byte is
//! the channel, 0 to 3 for stdin, stdout, stderr and the closing status.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use serde_json::Value;

use crate::{Error, Output};

const READ_LIMIT: Duration = Duration::from_secs(120);

/// The largest message accepted; containerd copies in pieces of 32 KiB.
const MESSAGE_LIMIT: u64 = 1 << 20;

/// Sends `stdin` to the stream at `url` in the network namespace of process `pid` and reads until it ends, or until
/// either output holds `until`.
pub(crate) fn run(
    method: &'static str,
    pid: u32,
    url: &str,
    stdin: &[u8],
    until: Option<&str>,
) -> Result<Output, Error> {
    // A thread of its own, since it stays in the other network namespace.
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let mut stream = connect(pid, url)?;
                if !stdin.is_empty() {
                    send(stream.get_mut(), stdin)?;
                }
                receive(method, &mut stream, until)
            })
            .join()
            .unwrap_or_else(|_| {
                Err(Error::malformed(url)("the stream's thread panicked".to_owned()))
            })
    })
}

fn connect(pid: u32, url: &str) -> Result<BufReader<TcpStream>, Error> {
    let malformed = Error::malformed(url);
    let Some((host, path)) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/'))
    else {
        return Err(malformed("not an http address".to_owned()));
    };
    let namespace = format!("/proc/{pid}/ns/net");
    let file = std::fs::File::open(&namespace).map_err(Error::io("open", &namespace))?;
    setns(file, CloneFlags::CLONE_NEWNET)
        .map_err(|errno| Error::io("enter", &namespace)(errno.into()))?;
    let mut stream = TcpStream::connect(host).map_err(Error::io("connect to", url))?;
    stream.set_read_timeout(Some(READ_LIMIT)).map_err(Error::io("set a time limit on", url))?;
    // The key only has to be there: it guards against caches, not against attackers (RFC 6455, 1.3).
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: Y29hbWluZy1oYXJuZXNzLg==\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\nOrigin: http://{host}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(Error::io("write to", url))?;
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = stream.read_line(&mut head).map_err(Error::io("read from", url))?;
        if read == 0 {
            break;
        }
    }
    if head.starts_with("HTTP/1.1 101 ") {
        Ok(stream)
    } else {
        Err(malformed(format!("no WebSocket: {head}")))
    }
}

/// One masked binary message on channel 0. The mask is there for proxies (RFC 6455, 10.3): all zeros will do.
fn send(stream: &mut TcpStream, stdin: &[u8]) -> Result<(), Error> {
    for piece in stdin.chunks(32 * 1024) {
        let mut frame = vec![0x82, 0x80 | 126];
        frame.extend(u16::try_from(piece.len() + 1).unwrap_or(u16::MAX).to_be_bytes());
        frame.extend([0; 4]);
        frame.push(0);
        frame.extend(piece);
        stream.write_all(&frame).map_err(Error::io("write to", "the stream"))?;
    }
    Ok(())
}

fn receive(
    method: &'static str,
    stream: &mut impl Read,
    until: Option<&str>,
) -> Result<Output, Error> {
    let (mut stdout, mut stderr, mut code) = (Vec::new(), Vec::new(), 0);
    while let Some(message) = message(stream)? {
        match message.split_first() {
            Some((1, piece)) => stdout.extend_from_slice(piece),
            Some((2, piece)) => stderr.extend_from_slice(piece),
            Some((3, status)) => code = exit_code(method, status)?,
            _ => {}
        }
        let seen = |output: &[u8]| {
            until.is_some_and(|until| String::from_utf8_lossy(output).contains(until))
        };
        if seen(&stdout) || seen(&stderr) {
            break;
        }
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Output { code, stdout: text(stdout), stderr: text(stderr) })
}

/// The next message; none when the server closes.
fn message(stream: &mut impl Read) -> Result<Option<Vec<u8>>, Error> {
    const CLOSE: u8 = 8;
    let failed = || Error::io("read from", "the stream");
    let mut head = [0; 2];
    match stream.read_exact(&mut head) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result.map_err(failed())?,
    }
    let [first, second] = head;
    let length = match second & 0x7f {
        126 => {
            let mut bytes = [0; 2];
            stream.read_exact(&mut bytes).map_err(failed())?;
            u64::from(u16::from_be_bytes(bytes))
        }
        127 => {
            let mut bytes = [0; 8];
            stream.read_exact(&mut bytes).map_err(failed())?;
            u64::from_be_bytes(bytes)
        }
        short => u64::from(short),
    };
    if length > MESSAGE_LIMIT {
        return Err(Error::malformed("the stream")(format!("a message of {length} bytes")));
    }
    let mut payload = Vec::new();
    stream.take(length).read_to_end(&mut payload).map_err(failed())?;
    Ok((first & 0x0f != CLOSE).then_some(payload))
}

/// Of the closing `Status` object: 0 for success, the cause `ExitCode`, or an error of the server's own.
fn exit_code(method: &'static str, status: &[u8]) -> Result<i32, Error> {
    let status: Value = serde_json::from_slice(status)
        .map_err(|error| Error::malformed("the stream's closing status")(error.to_string()))?;
    if status.get("status").and_then(Value::as_str) == Some("Success") {
        return Ok(0);
    }
    let causes = status
        .pointer("/details/causes")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    causes
        .iter()
        .filter(|cause| cause.get("reason").and_then(Value::as_str) == Some("ExitCode"))
        .find_map(|cause| cause.get("message")?.as_str()?.parse().ok())
        .ok_or_else(|| Error::Cri {
            method,
            code: 2,
            message: status
                .get("message")
                .and_then(Value::as_str)
                .unwrap_or("no message")
                .to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x82, u8::try_from(payload.len()).unwrap()];
        frame.extend(payload);
        frame
    }

    #[test]
    fn outputs_and_exit_code_come_from_their_channels() {
        let status =
            br#"{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#;
        let bytes = [
            frame(b"\x01out"),
            frame(b"\x02err"),
            frame(&[b"\x03", status.as_slice()].concat()),
            vec![0x88, 0],
        ];
        let output = receive("Exec", &mut bytes.concat().as_slice(), None).unwrap();
        assert_eq!(output, Output { code: 7, stdout: "out".into(), stderr: "err".into() });
    }

    #[test]
    fn a_failure_without_an_exit_code_is_the_servers_error() {
        let bytes = frame(b"\x03{\"status\":\"Failure\",\"message\":\"refused\"}");
        let error = receive("Exec", &mut bytes.as_slice(), None).unwrap_err();
        assert!(matches!(error, Error::Cri { message, .. } if message == "refused"));
    }

    #[test]
    fn an_oversized_message_is_refused_before_it_is_read() {
        let bytes = [vec![0x82, 127], u64::MAX.to_be_bytes().to_vec()].concat();
        assert!(receive("Exec", &mut bytes.as_slice(), None).is_err());
    }
}
