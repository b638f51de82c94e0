//! The options of a runtime handler, as containerd hands them to the shim.
//!
//! A handler of the type `io.containerd.runc.v2` sends `containerd.runc.v1.Options`. Any other type sends
//! `runtimeoptions.v1.Options`, which carries the handler's table as TOML from 1.7 on, and nothing of it in 1.6
//! (containerd, internal/cri/config/config.go, `GenerateRuntimeOptions`).

use std::path::Path;

use coaming_config::Configuration;
pub(crate) use containerd_shim_protos::shim::oci::CheckpointOptions;
use containerd_shim_protos::shim::oci::Options as RuncOptions;
use protobuf::well_known_types::any::Any;
use protobuf::{CodedInputStream, Message};

pub(crate) const RUNC: &str = "containerd.runc.v1.Options";
pub(crate) const GENERIC: &str = "runtimeoptions.v1.Options";
pub(crate) const CHECKPOINT: &str = "containerd.runc.v1.CheckpointOptions";

/// What the client asks of the runtime. As JSON it lies in the bundle, for `delete`.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    /// The runtime, by name or path; empty for the configured one (`runtime::wrapper`).
    pub(crate) binary_name: String,
    /// The folder of the runtime's state; empty for the usual one.
    pub(crate) root: String,
    /// None where the client did not, or could not, say. See [`Options::systemd_cgroup`].
    pub(crate) systemd_cgroup: Option<bool>,
    pub(crate) no_pivot_root: bool,
    pub(crate) no_new_keyring: bool,
    /// The cgroup that the shim joins.
    pub(crate) shim_cgroup: String,
    /// Owner of the pipes of standard streams.
    pub(crate) io_uid: u32,
    pub(crate) io_gid: u32,
    pub(crate) criu_image_path: String,
    pub(crate) criu_work_path: String,
}

/// Options that cannot be used; the client's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    #[error(
        "options of the type {0:?} are not understood; a handler's options are {RUNC} or {GENERIC}"
    )]
    UnknownType(String),
    #[error("options of the type {kind}: {error}")]
    Malformed { kind: &'static str, error: protobuf::Error },
    #[error("the handler's options: {0}")]
    Toml(String),
    #[error(
        "the handler's options name the file {0:?}; this shim reads no file but /etc/coaming/config.toml: write \
         the options into the handler's table"
    )]
    ConfigPath(String),
    #[error("the handler's option {0:?} is not known: {known}", known = KNOWN.join(", "))]
    UnknownKey(String),
    #[error("the handler's option {key} is {found}, and must be {wanted}")]
    WrongType { key: String, found: String, wanted: &'static str },
    #[error(
        "the handler's option {key} is {value:?}, which is not an absolute path without \"..\""
    )]
    NotAPath { key: &'static str, value: String },
}

/// The keys of a handler's table.
const KNOWN: [&str; 10] = [
    "BinaryName",
    "Root",
    "SystemdCgroup",
    "NoPivotRoot",
    "NoNewKeyring",
    "ShimCgroup",
    "IoUid",
    "IoGid",
    "CriuImagePath",
    "CriuWorkPath",
];
/// Keys that other shims know and that have no meaning here: what names CRIU's binary was removed from containerd, and
/// the rest are of `runtimeoptions.v1.Options` itself or of sandboxes served elsewhere.
const IGNORED: [&str; 6] =
    ["CriuPath", "TypeUrl", "ConfigPath", "ConfigBody", "TaskApiAddress", "TaskApiVersion"];

/// Whether an `Any` of this type holds options.
pub(crate) fn is_options(type_url: &str) -> bool {
    matches!(message_name(type_url), RUNC | GENERIC)
}

impl Options {
    /// Decodes either kind; nothing, or an `Any` of no type, is the default.
    pub(crate) fn decode(any: Option<&Any>) -> Result<Options, OptionsError> {
        let Some(any) = any.filter(|any| !any.type_url.is_empty()) else {
            return Ok(Options::default());
        };
        let options = match message_name(&any.type_url) {
            RUNC => RuncOptions::parse_from_bytes(&any.value)
                .map(Options::from)
                .map_err(|error| OptionsError::Malformed { kind: RUNC, error })?,
            GENERIC => generic(&any.value)?,
            _ => return Err(OptionsError::UnknownType(any.type_url.clone())),
        };
        options.check()
    }

    /// Whether the runtime drives cgroups through systemd: as the client says, else as the node is configured.
    pub(crate) fn systemd_cgroup(&self, configuration: &Configuration) -> bool {
        self.systemd_cgroup.or(configuration.shim.systemd_cgroup).unwrap_or(false)
    }

    fn check(self) -> Result<Self, OptionsError> {
        let paths = [
            ("Root", &self.root),
            ("CriuImagePath", &self.criu_image_path),
            ("CriuWorkPath", &self.criu_work_path),
        ];
        for (key, value) in paths {
            if !value.is_empty() && !is_plain_absolute(value) {
                return Err(OptionsError::NotAPath { key, value: value.clone() });
            }
        }
        Ok(self)
    }
}

impl From<RuncOptions> for Options {
    fn from(runc: RuncOptions) -> Self {
        Options {
            binary_name: runc.binary_name,
            root: runc.root,
            systemd_cgroup: Some(runc.systemd_cgroup),
            no_pivot_root: runc.no_pivot_root,
            no_new_keyring: runc.no_new_keyring,
            shim_cgroup: runc.shim_cgroup,
            io_uid: runc.io_uid,
            io_gid: runc.io_gid,
            criu_image_path: runc.criu_image_path,
            criu_work_path: runc.criu_work_path,
        }
    }
}

/// `containerd.runc.v1.CheckpointOptions`; nothing is the default.
pub(crate) fn decode_checkpoint(any: Option<&Any>) -> Result<CheckpointOptions, OptionsError> {
    match any.filter(|any| !any.type_url.is_empty()) {
        None => Ok(CheckpointOptions::default()),
        Some(any) if message_name(&any.type_url) == CHECKPOINT => {
            CheckpointOptions::parse_from_bytes(&any.value)
                .map_err(|error| OptionsError::Malformed { kind: CHECKPOINT, error })
        }
        Some(any) => Err(OptionsError::UnknownType(any.type_url.clone())),
    }
}

fn message_name(type_url: &str) -> &str {
    type_url.rsplit('/').next().unwrap_or(type_url)
}

fn is_plain_absolute(path: &str) -> bool {
    let path = Path::new(path);
    path.is_absolute() && !path.components().any(|part| part == std::path::Component::ParentDir)
}

/// `runtimeoptions.v1.Options`: 1 type_url, 2 config_path, 3 config_body. Its type is not in the published crate.
fn generic(bytes: &[u8]) -> Result<Options, OptionsError> {
    let malformed = |error| OptionsError::Malformed { kind: GENERIC, error };
    let mut path = String::new();
    let mut body = Vec::new();
    let mut input = CodedInputStream::from_bytes(bytes);
    while let Some(tag) = input.read_raw_tag_or_eof().map_err(malformed)? {
        match tag {
            18 => path = input.read_string().map_err(malformed)?,
            26 => body = input.read_bytes().map_err(malformed)?,
            tag => skip(&mut input, tag).map_err(malformed)?,
        }
    }
    if !path.is_empty() {
        return Err(OptionsError::ConfigPath(path));
    }
    of_toml(std::str::from_utf8(&body).map_err(|error| OptionsError::Toml(error.to_string()))?)
}

fn skip(input: &mut CodedInputStream<'_>, tag: u32) -> protobuf::Result<()> {
    match tag & 7 {
        0 => input.read_raw_varint64().map(drop),
        1 => input.read_fixed64().map(drop),
        2 => input.read_bytes().map(drop),
        5 => input.read_fixed32().map(drop),
        // Groups, which proto3 has not: reading on finds the error.
        _ => input.read_bytes().map(drop),
    }
}

/// The handler's table. Keys are matched as containerd's own decoder matches them: without regard to case.
fn of_toml(text: &str) -> Result<Options, OptionsError> {
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| OptionsError::Toml(error.message().to_owned()))?;
    let mut options = Options::default();
    for (key, value) in table {
        match key.to_ascii_lowercase().as_str() {
            "binaryname" => options.binary_name = string(key, value)?,
            "root" => options.root = string(key, value)?,
            "systemdcgroup" => options.systemd_cgroup = Some(boolean(key, &value)?),
            "nopivotroot" => options.no_pivot_root = boolean(key, &value)?,
            "nonewkeyring" => options.no_new_keyring = boolean(key, &value)?,
            "shimcgroup" => options.shim_cgroup = string(key, value)?,
            "iouid" => options.io_uid = number(key, &value)?,
            "iogid" => options.io_gid = number(key, &value)?,
            "criuimagepath" => options.criu_image_path = string(key, value)?,
            "criuworkpath" => options.criu_work_path = string(key, value)?,
            _ if IGNORED.iter().any(|ignored| ignored.eq_ignore_ascii_case(&key)) => {}
            _ => return Err(OptionsError::UnknownKey(key)),
        }
    }
    Ok(options)
}

fn string(key: String, value: toml::Value) -> Result<String, OptionsError> {
    match value {
        toml::Value::String(text) => Ok(text),
        other => Err(wrong(key, &other, "a string")),
    }
}

fn boolean(key: String, value: &toml::Value) -> Result<bool, OptionsError> {
    value.as_bool().ok_or_else(|| wrong(key, value, "true or false"))
}

fn number(key: String, value: &toml::Value) -> Result<u32, OptionsError> {
    let fit = value.as_integer().and_then(|number| u32::try_from(number).ok());
    fit.ok_or_else(|| wrong(key, value, "a number from 0 to 4294967295"))
}

fn wrong(key: String, value: &toml::Value, wanted: &'static str) -> OptionsError {
    let found = match value {
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(value) => value.to_string(),
        toml::Value::String(text) => format!("{:?}", text.chars().take(100).collect::<String>()),
        other => format!("of the type {}", other.type_str()),
    };
    OptionsError::WrongType { key, found, wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(type_url: &str, value: &[u8]) -> Any {
        Any { type_url: type_url.to_owned(), value: value.to_vec(), ..Any::default() }
    }

    fn generic_any(toml: &str) -> Any {
        let mut bytes = b"\x0a\x01x".to_vec();
        bytes.push(0x1a);
        bytes.push(u8::try_from(toml.len()).unwrap());
        bytes.extend_from_slice(toml.as_bytes());
        any(GENERIC, &bytes)
    }

    #[test]
    fn no_options_are_the_default() {
        assert_eq!(Options::decode(None).unwrap(), Options::default());
        assert_eq!(Options::decode(Some(&Any::default())).unwrap(), Options::default());
        let options = Options::default();
        let mut configuration = Configuration::default();
        assert!(!options.systemd_cgroup(&configuration));
        configuration.shim.systemd_cgroup = Some(true);
        assert!(options.systemd_cgroup(&configuration));
    }

    #[test]
    fn runc_options_say_all() {
        let value =
            b"\x08\x01\x10\x01\x1a\x02/g\x20\x07\x28\x08\x32\x04runc\x3a\x02/r\x52\x02/i\x5a\x02/w";
        for url in [RUNC, "types.containerd.io/containerd.runc.v1.Options"] {
            let options = Options::decode(Some(&any(url, value))).unwrap();
            assert_eq!(
                options,
                Options {
                    binary_name: "runc".into(),
                    root: "/r".into(),
                    systemd_cgroup: Some(false),
                    no_pivot_root: true,
                    no_new_keyring: true,
                    shim_cgroup: "/g".into(),
                    io_uid: 7,
                    io_gid: 8,
                    criu_image_path: "/i".into(),
                    criu_work_path: "/w".into(),
                }
            );
            let json = serde_json::to_string(&options).unwrap();
            assert_eq!(serde_json::from_str::<Options>(&json).unwrap(), options);
        }
    }

    #[test]
    fn the_handlers_table_comes_as_toml() {
        let toml = "BinaryName = \"crun\"\nSystemdCgroup = true\niouid = 5\nCriuPath = \"/x\"\n";
        let options = Options::decode(Some(&generic_any(toml))).unwrap();
        assert_eq!((options.binary_name.as_str(), options.io_uid), ("crun", 5));
        assert_eq!(options.systemd_cgroup, Some(true));
        // 1.6 sends neither file nor table.
        assert_eq!(Options::decode(Some(&any(GENERIC, b""))).unwrap(), Options::default());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let error = |any: Any| Options::decode(Some(&any)).unwrap_err().to_string();
        assert!(error(any("a.b.C", b"")).contains("\"a.b.C\""));
        assert!(error(any(RUNC, b"\xff")).contains(RUNC));
        assert!(error(any(GENERIC, b"\x12\x02/x")).contains("config.toml"));
        assert!(error(generic_any("BinayName = \"x\"")).contains("\"BinayName\" is not known"));
        assert!(error(generic_any("SystemdCgroup = 1")).contains("must be true or false"));
        assert!(error(generic_any("IoUid = -1")).contains("IoUid is -1"));
        assert!(error(generic_any("Root = \"x/y\"")).contains("absolute"));
        assert!(error(generic_any("Root = \"/x/../y\"")).contains("absolute"));
        assert!(error(generic_any("=")).contains("options"));
    }

    #[test]
    fn checkpoint_options() {
        let decoded = decode_checkpoint(Some(&any(CHECKPOINT, b"\x08\x01\x42\x02/i"))).unwrap();
        assert!(decoded.exit);
        assert_eq!(decoded.image_path, "/i");
        assert!(!decode_checkpoint(None).unwrap().exit);
        assert!(decode_checkpoint(Some(&any(RUNC, b""))).is_err());
    }
}
