//! `GET /metrics`, and nothing else: HTTP/1.0 of one line.
//!
//! One thread takes one connection after the other, each within limits of time and size, and closes it with its
//! answer. That much of HTTP is less than any crate that would do it, and what listens as root should be little.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::error::CommandError;

/// Where it listens if it is told nothing else.
pub(super) const DEFAULT: &str = "9470";
/// How long a client may take to ask.
const ASKING: Duration = Duration::from_secs(2);
/// How long it may take to take the answer.
const ANSWERING: Duration = Duration::from_secs(5);
/// The longest request with its headers, in bytes.
const LONGEST: usize = 8 * 1024;
/// How long an answer is given again before it is made anew.
const FRESH: Duration = Duration::from_secs(1);

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address(SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if let Ok(port) = text.trim_start_matches(':').parse() {
            return Ok(Address((Ipv4Addr::LOCALHOST, port).into()));
        }
        text.parse().map(Address).map_err(|_| {
            format!("{text:?} is neither a port nor an address with a port, such as 10.0.0.7:9470")
        })
    }
}

/// Serves until the process is ended.
pub(super) fn serve(
    address: &Address,
    text: &dyn Fn() -> Result<String, CommandError>,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let failed =
        |error: io::Error| CommandError::Usage(format!("cannot listen on {}: {error}", address.0));
    let listener = TcpListener::bind(address.0).map_err(failed)?;
    writeln!(out, "serving http://{}/metrics", listener.local_addr().map_err(failed)?)?;
    out.flush()?;
    let mut made: Option<(Instant, String)> = None;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let mut metrics = || {
                    if made.as_ref().is_none_or(|(at, _)| at.elapsed() > FRESH) {
                        made = text().ok().map(|text| (Instant::now(), text));
                    }
                    made.as_ref().map(|(_, text)| text.clone())
                };
                // A client that goes away is its own affair.
                let _ = answer(stream, &mut metrics);
            }
            // No descriptor or memory is left: a moment later there may be.
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn answer(mut stream: TcpStream, metrics: &mut dyn FnMut() -> Option<String>) -> io::Result<()> {
    stream.set_write_timeout(Some(ANSWERING))?;
    let (status, body) = match asked(&mut stream) {
        Ok(request) => match judged(&request) {
            Ok(()) => match metrics() {
                Some(text) => ("200 OK", text),
                None => ("500 Internal Server Error", "the metrics cannot be made\n".to_owned()),
            },
            Err(status) => (status, format!("{status}\n")),
        },
        Err(status) => (status, format!("{status}\n")),
    };
    let head = format!(
        "HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\nX-Content-Type-Options: nosniff\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// The request up to its empty line, within the limits.
fn asked(stream: &mut TcpStream) -> Result<Vec<u8>, &'static str> {
    const SLOW: &str = "408 Request Timeout";
    let until = Instant::now() + ASKING;
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return Err(SLOW);
        }
        match stream.read(&mut piece) {
            Ok(0) => return Err("400 Bad Request"),
            Ok(length) => request.extend(piece.iter().take(length)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(SLOW),
        }
        if request.windows(4).any(|end| end == b"\r\n\r\n")
            || request.windows(2).any(|end| end == b"\n\n")
        {
            return Ok(request);
        }
        if request.len() > LONGEST {
            return Err("431 Request Header Fields Too Large");
        }
    }
}

/// Whether it is what is answered.
fn judged(request: &[u8]) -> Result<(), &'static str> {
    const BAD: &str = "400 Bad Request";
    let line = request.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| BAD)?.trim_end_matches('\r');
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = words.as_slice() else { return Err(BAD) };
    if !["HTTP/1.0", "HTTP/1.1"].contains(version) {
        return Err(BAD);
    }
    match (*method, target.split('?').next()) {
        ("GET", Some("/metrics")) => Ok(()),
        (_, Some("/metrics")) => Err("405 Method Not Allowed"),
        _ => Err("404 Not Found"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client gets that sends these pieces, and then no more if `closes`.
    fn said(pieces: &[&[u8]], closes: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let _ = answer(stream, &mut || Some("a_total 1\n".to_owned()));
        });
        let mut client = TcpStream::connect(address).unwrap();
        for piece in pieces {
            let _ = client.write_all(piece);
        }
        if closes {
            let _ = client.shutdown(std::net::Shutdown::Write);
        }
        let mut said = Vec::new();
        // A server that closes on what it has not read resets the connection.
        let _ = client.read_to_end(&mut said);
        server.join().unwrap();
        String::from_utf8(said).unwrap()
    }

    #[test]
    fn metrics_are_given_to_who_asks_for_them() {
        for request in [
            "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /metrics?x=1 HTTP/1.0\r\n\r\n",
            "GET /metrics HTTP/1.0\n\n",
        ] {
            let said = said(&[request.as_bytes()], false);
            assert!(said.starts_with("HTTP/1.0 200 OK\r\n"), "{said}");
            assert!(
                said.contains("version=0.0.4") && said.ends_with("\r\n\r\na_total 1\n"),
                "{said}"
            );
        }
        let (first, second) = ("GET /met", "rics HTTP/1.1\r\n\r\n");
        assert!(said(&[first.as_bytes(), second.as_bytes()], false).contains("200 OK"));
    }

    #[test]
    fn everything_else_is_refused_and_closed() {
        for (request, status) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
            (b"GET /metrics/../etc/passwd HTTP/1.1\r\n\r\n", "404"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
            (b"GET /metrics HTTP/2\r\n\r\n", "400"),
            (b"GET  /metrics HTTP/1.1\r\n\r\n", "400"),
            (b"\r\n\r\n", "400"),
            (b"\xff\xfe /metrics HTTP/1.1\r\n\r\n", "400"),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"),
            (b"GET /metrics HTTP/1.1", "400"),
        ] {
            let said = said(&[request], true);
            assert!(said.starts_with(&format!("HTTP/1.0 {status} ")), "{request:?}: {said}");
            assert!(!said.contains("a_total"), "{said}");
        }
    }

    #[test]
    fn nobody_holds_it_for_long_or_fills_it() {
        let begun = Instant::now();
        // It says nothing more and does not go away.
        assert!(said(&[b"GET /metrics HTTP/1.1\r\nX: "], false).starts_with("HTTP/1.0 408 "));
        assert!(begun.elapsed() < ASKING + Duration::from_secs(2), "{:?}", begun.elapsed());
        let long = vec![b'a'; 64 * 1024];
        let said = said(&[b"GET /metrics HTTP/1.1\r\nX: ", &long], false);
        assert!(said.is_empty() || said.starts_with("HTTP/1.0 431 "), "{said}");
    }

    #[test]
    fn without_an_address_it_is_the_loopback_one() {
        let address = |text: &str| text.parse::<Address>().map(|address| address.0.to_string());
        assert_eq!(address(DEFAULT).unwrap(), "127.0.0.1:9470");
        assert_eq!(address(":80").unwrap(), "127.0.0.1:80");
        assert_eq!(address("[::]:80").unwrap(), "[::]:80");
        assert!(
            address("localhost:80").is_err() && address("").is_err() && address("99999").is_err()
        );
    }
}
