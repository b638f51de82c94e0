//! A plugin of the Node Resource Interface (containerd/nri, pkg/api/api.proto), as small as it can be: it adjusts
//! containers as they are created.
//!
//! Two connections of ttrpc go over one socket, in frames: number and length, four bytes each (pkg/net/multiplex). On the
//! first the plugin is asked, on the second it registers.

use std::collections::HashMap;
use std::io::ErrorKind::{ConnectionRefused, NotFound};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;

use coaming_integration::{Error, wait_for};
use prost::Message;

const PLUGIN: u32 = 1;
const RUNTIME: u32 = 2;
/// ttrpc's kinds of messages.
const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
/// Bits of events, from `Event` in api.proto.
const CREATE_CONTAINER: i32 = 1 << 3;

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, tag = "1")]
    service: String,
    #[prost(string, tag = "2")]
    method: String,
    #[prost(bytes = "vec", tag = "3")]
    payload: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(bytes = "vec", tag = "2")]
    payload: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Register {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    index: String,
}

#[derive(Clone, PartialEq, Message)]
struct Configured {
    #[prost(int32, tag = "2")]
    events: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Create {
    #[prost(message, optional, tag = "2")]
    container: Option<Container>,
}

#[derive(Clone, PartialEq, Message)]
struct Container {
    #[prost(string, tag = "3")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Created {
    #[prost(message, optional, tag = "1")]
    adjust: Option<Adjustment>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Adjustment {
    #[prost(message, repeated, tag = "3")]
    pub(crate) mounts: Vec<Mount>,
    #[prost(message, optional, tag = "5")]
    pub(crate) hooks: Option<Hooks>,
    #[prost(message, optional, tag = "6")]
    pub(crate) linux: Option<Linux>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Mount {
    #[prost(string, tag = "1")]
    pub(crate) destination: String,
    #[prost(string, tag = "2")]
    pub(crate) kind: String,
    #[prost(string, tag = "3")]
    pub(crate) source: String,
    #[prost(string, repeated, tag = "4")]
    pub(crate) options: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Hooks {
    #[prost(message, repeated, tag = "2")]
    pub(crate) create_runtime: Vec<Hook>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Hook {
    #[prost(string, tag = "1")]
    pub(crate) path: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) args: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub(crate) env: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Linux {
    #[prost(message, repeated, tag = "1")]
    pub(crate) devices: Vec<Device>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Device {
    #[prost(string, tag = "1")]
    pub(crate) path: String,
    #[prost(string, tag = "2")]
    pub(crate) kind: String,
    #[prost(int64, tag = "3")]
    pub(crate) major: i64,
    #[prost(int64, tag = "4")]
    pub(crate) minor: i64,
}

/// A plugin that serves until it is dropped.
pub(crate) struct Plugin {
    socket: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Plugin {
    /// Registers with a runtime. `adjust` is told the names of containers.
    pub(crate) fn connect(
        socket: &Path,
        adjust: fn(&str) -> Option<Adjustment>,
    ) -> Result<Plugin, Error> {
        let failed =
            |error: std::io::Error| Error::Unavailable(format!("{}: {error}", socket.display()));
        // containerd opens it after its other sockets, when the CRI plugin has begun to serve.
        let mut socket = wait_for("the socket of NRI", || match UnixStream::connect(socket) {
            Err(error) if matches!(error.kind(), NotFound | ConnectionRefused) => Ok(None),
            connected => connected.map(Some).map_err(failed),
        })?;
        let request = Request {
            service: "nri.pkg.api.v1alpha1.Runtime".to_owned(),
            method: "RegisterPlugin".to_owned(),
            payload: Register { name: "greedy".to_owned(), index: "10".to_owned() }.encode_to_vec(),
        };
        send(&mut socket, RUNTIME, 1, REQUEST, &request.encode_to_vec()).map_err(failed)?;
        let mut served = socket.try_clone().map_err(failed)?;
        let thread = std::thread::spawn(move || {
            // It ends with the connection.
            let _ = serve(&mut served, adjust);
        });
        Ok(Plugin { socket, thread: Some(thread) })
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &mut UnixStream, adjust: fn(&str) -> Option<Adjustment>) -> std::io::Result<()> {
    // A message may come in several frames.
    let mut unread: HashMap<u32, Vec<u8>> = HashMap::new();
    loop {
        let mut header = [0; 8];
        socket.read_exact(&mut header)?;
        let (connection, length) = (number(&header[..4]), number(&header[4..]));
        let mut frame = vec![0; length as usize];
        socket.read_exact(&mut frame)?;
        let bytes = unread.entry(connection).or_default();
        bytes.extend(frame);
        while bytes.len() >= 10 && bytes.len() >= 10 + number(&bytes[..4]) as usize {
            let rest = bytes.split_off(10 + number(&bytes[..4]) as usize);
            let message = std::mem::replace(bytes, rest);
            // The other connection carries the answer to the registration: none is needed.
            if connection == PLUGIN && message[8] == REQUEST {
                let payload = answer(&message[10..], adjust)?;
                let response = Response { payload }.encode_to_vec();
                send(socket, PLUGIN, number(&message[4..8]), RESPONSE, &response)?;
            }
        }
    }
}

fn answer(request: &[u8], adjust: fn(&str) -> Option<Adjustment>) -> std::io::Result<Vec<u8>> {
    let request = Request::decode(request)?;
    Ok(match request.method.as_str() {
        "Configure" => Configured { events: CREATE_CONTAINER }.encode_to_vec(),
        "CreateContainer" => {
            let container = Create::decode(&request.payload[..])?.container.unwrap_or_default();
            Created { adjust: adjust(&container.name) }.encode_to_vec()
        }
        // Nothing to say to the rest, which is as good as an empty answer.
        _ => Vec::new(),
    })
}

fn send(
    socket: &mut UnixStream,
    connection: u32,
    stream: u32,
    kind: u8,
    payload: &[u8],
) -> std::io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(std::io::Error::other)?;
    let mut frame = Vec::new();
    frame.extend(connection.to_be_bytes());
    frame.extend((length + 10).to_be_bytes());
    frame.extend(length.to_be_bytes());
    frame.extend(stream.to_be_bytes());
    frame.extend([kind, 0]);
    frame.extend(payload);
    socket.write_all(&frame)
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}
