//! `coaming metrics`: printed, written and served.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use tempfile::tempdir;

use super::coaming;

#[test]
fn metrics_are_printed_and_written_alike() {
    let folder = tempdir().unwrap();
    let state = folder.path().display().to_string();
    let journal = folder.path().join("journal").display().to_string();
    let file = folder.path().join("coaming.prom").display().to_string();
    let places = ["--state", &state, "--journal", &journal];
    let printed = coaming(&[&["metrics"], &places[..]].concat());
    assert_eq!(printed.code, Some(0), "{}", printed.err);
    assert!(printed.out.contains("\ncoaming_containers_created_total 0\n"), "{}", printed.out);
    let written = coaming(&[&["metrics", "--textfile", &file], &places[..]].concat());
    assert_eq!((written.code, written.out.as_str()), (Some(0), ""), "{}", written.err);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), printed.out);
    let other = coaming(&["metrics", "--textfile", &format!("{file}.txt")]);
    assert_eq!(other.code, Some(2));
    assert!(other.err.contains(".prom"), "{}", other.err);
}

#[test]
fn metrics_are_served_on_the_loopback_address() {
    let folder = tempdir().unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_coaming"))
        .args(["metrics", "--listen", "127.0.0.1:0", "--journal"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address =
        line.trim().strip_prefix("serving http://").unwrap().strip_suffix("/metrics").unwrap();
    let ask = |request: &str| {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        said
    };
    let good = ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let bad = ask("GET /etc/passwd HTTP/1.1\r\n\r\n");
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(
        good.starts_with("HTTP/1.0 200 OK\r\n") && good.contains("coaming_build_info"),
        "{good}"
    );
    assert!(bad.starts_with("HTTP/1.0 404 "), "{bad}");
}
