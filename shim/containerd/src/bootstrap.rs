//! How containerd and `start` introduce themselves to each other.
//!
//! Up to 2.2 containerd writes the handler's options to `start`'s standard input, an `Any` or nothing, and every version
//! understands a bare address in reply. From 2.3 on it writes a `BootstrapParams` and expects a `BootstrapResult`
//! (containerd, api/runtime/bootstrap/v1; core/runtime/v2/shim.go, `parseStartResponse`).

use std::io::Read;

use containerd_shim_protos::bootstrap_api::{BootstrapParams, BootstrapResult};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;

use crate::options;

/// As much as containerd's own shim reads.
const LARGEST: u64 = 10 << 20;
/// The version of the task service that is announced. With 3, containerd 2.x runs neither `start` nor `delete` for the
/// other containers of a pod, and after a crash nobody cleans up after them; with 2 it runs both for each.
const TASK_SERVICE: i32 = 2;
/// `LOG_LEVEL_DEBUG`; what is more verbose is less.
const DEBUG: i32 = -4;

/// What containerd said at `start`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Introduction {
    /// It spoke the protocol of 2.3, and is answered in it.
    bootstrap: bool,
    /// The handler's options.
    pub(crate) options: Option<Any>,
    pub(crate) debug: bool,
    /// Where 2.3 wants sockets; before, and where it does not say: the usual place.
    pub(crate) socket_directory: Option<String>,
    /// containerd's addresses, where it said them here.
    pub(crate) grpc_address: Option<String>,
    pub(crate) ttrpc_address: Option<String>,
}

/// An introduction that is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootstrapError {
    #[error("reading what containerd says on standard input: {0}")]
    Read(#[source] std::io::Error),
    #[error("containerd said more than {LARGEST} bytes on standard input; that is no introduction")]
    TooLong,
    #[error(
        "what containerd said on standard input is neither options of a runtime nor, for this id and \
         namespace, bootstrap parameters: {0}"
    )]
    NotUnderstood(#[source] protobuf::Error),
}

impl Introduction {
    /// Reads what containerd said, to its end. `id` and `namespace` are those of the command line: options decode as
    /// parameters too, but not as those of this very container.
    pub(crate) fn read(
        input: impl Read,
        id: &str,
        namespace: &str,
    ) -> Result<Self, BootstrapError> {
        let mut bytes = Vec::new();
        input.take(LARGEST + 1).read_to_end(&mut bytes).map_err(BootstrapError::Read)?;
        if bytes.len() as u64 > LARGEST {
            return Err(BootstrapError::TooLong);
        }
        Self::decode(&bytes, id, namespace)
    }

    fn decode(bytes: &[u8], id: &str, namespace: &str) -> Result<Self, BootstrapError> {
        if bytes.is_empty() {
            return Ok(Introduction::default());
        }
        match BootstrapParams::parse_from_bytes(bytes) {
            Ok(said) if said.instance_id == id && said.namespace == namespace => Ok(said.into()),
            _ => {
                let any = Any::parse_from_bytes(bytes).map_err(BootstrapError::NotUnderstood)?;
                Ok(Introduction { options: Some(any), ..Introduction::default() })
            }
        }
    }

    /// What `start` answers: where the task service listens.
    pub(crate) fn reply(&self, address: &str) -> Vec<u8> {
        if !self.bootstrap {
            return address.as_bytes().to_vec();
        }
        let result = BootstrapResult {
            version: TASK_SERVICE,
            address: address.to_owned(),
            protocol: "ttrpc".to_owned(),
            ..BootstrapResult::default()
        };
        // Writing to memory what has no required fields cannot fail; were it to, the bare address is understood too.
        result.write_to_bytes().unwrap_or_else(|_| address.as_bytes().to_vec())
    }
}

impl From<BootstrapParams> for Introduction {
    fn from(said: BootstrapParams) -> Self {
        let some = |text: String| (!text.is_empty()).then_some(text);
        Introduction {
            bootstrap: true,
            options: said
                .extensions
                .into_iter()
                .filter_map(|extension| extension.value.into_option())
                .find(|value| options::is_options(&value.type_url)),
            debug: said.log_level.value() <= DEBUG,
            socket_directory: said.socket_dir.and_then(some),
            grpc_address: some(said.containerd_grpc_address),
            ttrpc_address: some(said.containerd_ttrpc_address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Any{containerd.runc.v1.Options{binary_name: "runc", systemd_cgroup: true}}`, as 1.6 to 2.2 send it.
    const OPTIONS: &[u8] = b"\x0a\x1acontainerd.runc.v1.Options\x12\x08\x32\x04runc\x48\x01";

    /// What containerd 2.3 writes (cmd/containerd, pkg/shim.Command), field by field.
    fn of_2_3(level: &[u8], socket_directory: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x0a\x02c1\x12\x06k8s.io".to_vec();
        bytes.extend_from_slice(level);
        bytes.extend_from_slice(b"\x22\x06v2.3.4");
        bytes.extend_from_slice(b"\x2a\x25/run/containerd/containerd.sock.ttrpc");
        bytes.extend_from_slice(b"\x32\x1f/run/containerd/containerd.sock");
        bytes.extend_from_slice(b"\x3a\x13/usr/bin/containerd");
        // Extension{value: OPTIONS}
        bytes.extend_from_slice(&[0x42, OPTIONS.len() as u8 + 2, 0x0a, OPTIONS.len() as u8]);
        bytes.extend_from_slice(OPTIONS);
        bytes.extend_from_slice(socket_directory);
        bytes
    }

    fn read(bytes: &[u8]) -> Introduction {
        Introduction::read(bytes, "c1", "k8s.io").unwrap()
    }

    #[test]
    fn until_2_2_there_are_options_or_nothing_and_a_bare_address() {
        let nothing = read(b"");
        assert_eq!(nothing, Introduction::default());
        assert_eq!(nothing.reply("unix:///run/s/x"), b"unix:///run/s/x");
        let options = read(OPTIONS);
        assert_eq!(options.options.as_ref().unwrap().type_url, "containerd.runc.v1.Options");
        assert_eq!(options.reply("unix:///run/s/x"), b"unix:///run/s/x");
    }

    #[test]
    fn from_2_3_on_there_are_parameters_and_a_result() {
        // log_level -4 is a varint of ten bytes.
        let debug = b"\x18\xfc\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        let said = read(&of_2_3(debug, b"\x4a\x0d/run/c/sockets"[..15].as_ref()));
        assert!(said.debug);
        assert_eq!(said.socket_directory.as_deref(), Some("/run/c/socket"));
        assert_eq!(said.grpc_address.as_deref(), Some("/run/containerd/containerd.sock"));
        assert_eq!(said.ttrpc_address.as_deref(), Some("/run/containerd/containerd.sock.ttrpc"));
        assert_eq!(said.options.as_ref().unwrap().value, OPTIONS[30..]);
        assert_eq!(said.reply("unix:///s/x"), b"\x08\x02\x12\x0bunix:///s/x\x1a\x05ttrpc");
        let quiet = read(&of_2_3(b"", b""));
        assert!(!quiet.debug && quiet.socket_directory.is_none());
        assert!(!read(&of_2_3(b"\x18\x08", b"")).debug);
    }

    #[test]
    fn parameters_of_another_container_are_not_ours() {
        let bytes = of_2_3(b"", b"");
        // As an Any this has the id for its type: no options of ours, and an error where they are needed.
        let other = Introduction::read(&bytes[..], "c2", "k8s.io").unwrap();
        assert!(!other.bootstrap);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(matches!(
            Introduction::read(&b"\xff\xff\xff"[..], "c1", "n"),
            Err(BootstrapError::NotUnderstood(_))
        ));
        let long = std::io::repeat(0x20).take(LARGEST + 5);
        assert!(matches!(Introduction::read(long, "c1", "n"), Err(BootstrapError::TooLong)));
    }
}
