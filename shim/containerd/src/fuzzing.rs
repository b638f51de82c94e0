//! What the parsers of what others wrote promise, whatever the bytes: one function each, which panics where a promise is
//! broken. The fuzz targets call them, and so does the test below, with odd inputs made by a stable toolchain.

// A broken promise is a panic here.
#![allow(clippy::expect_used)]

#[cfg(test)]
mod tests;

use std::path::{Component, Path};

use containerd_shim_protos::bootstrap_api::BootstrapResult;
use protobuf::well_known_types::any::Any;
use protobuf::{CodedOutputStream, Message};
use serde::de::IgnoredAny;

use crate::bootstrap::Introduction;
use crate::cgroup::remove;
use crate::flags::{Flags, Verb};
use crate::mounts::options::{Options as MountOptions, compacted, layers};
use crate::options::{CHECKPOINT, GENERIC, Options, RUNC, decode_checkpoint};
use crate::runtime::log;
use crate::socket::Address;
use crate::stdio::uri::{self, Output};
use crate::task::{bundle, resources};
use crate::verbs::{delete, start};

/// The command line, its words separated by NUL: what is to be done is done for names that are fit for paths.
pub fn flags(data: &[u8]) {
    let words =
        data.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    let Ok(flags) = Flags::parse(words) else { return };
    if matches!(flags.verb, Verb::Start | Verb::Delete | Verb::Serve) {
        for name in [&flags.namespace, &flags.id] {
            assert!(is_one_name(name), "{name:?}");
            bundle::check_id("container", name).expect("what is an id for us is one for a runtime");
        }
    }
}

/// What containerd says to `start` on standard input: it is answered in the protocol that it spoke, and in that alone.
pub fn introduction(data: &[u8]) {
    const ADDRESS: &str = "unix:///run/s/x";
    let Ok(said) = Introduction::read(data, "c1", "k8s.io") else { return };
    let _ = Options::decode(said.options.as_ref()).map(keeps_its_promises);
    let answer = said.reply(ADDRESS);
    if answer == ADDRESS.as_bytes() {
        return;
    }
    let result = BootstrapResult::parse_from_bytes(&answer).expect("a BootstrapResult");
    assert_eq!((result.address.as_str(), result.version), (ADDRESS, 2));
    if let Ok(other) = Introduction::read(data, "c2", "k8s.io") {
        assert_eq!(other.reply(ADDRESS), ADDRESS.as_bytes(), "another container's parameters");
    }
}

/// A handler's options. The first byte chooses how the others are read: as an `Any`, as either kind of options, as the
/// TOML in the generic kind, or as those of a checkpoint.
pub fn options(data: &[u8]) {
    let Some((kind, value)) = data.split_first() else { return };
    let any = |type_url: &str, value: &[u8]| Any {
        type_url: type_url.to_owned(),
        value: value.to_vec(),
        ..Any::default()
    };
    let any = match kind % 5 {
        0 => match Any::parse_from_bytes(value) {
            Ok(any) => any,
            Err(_) => return,
        },
        1 => any(RUNC, value),
        2 => any(GENERIC, value),
        3 => {
            let mut message = Vec::new();
            let mut stream = CodedOutputStream::vec(&mut message);
            stream.write_bytes(3, value).and_then(|()| stream.flush()).expect("memory is written");
            drop(stream);
            any(GENERIC, &message)
        }
        _ => any(CHECKPOINT, value),
    };
    let _ = decode_checkpoint(Some(&any));
    let _ = Options::decode(Some(&any)).map(keeps_its_promises);
}

/// `delete` reads from the bundle what the create was given, and no path in it leads astray.
fn keeps_its_promises(options: Options) {
    let text = serde_json::to_vec(&options).expect("options are written");
    assert_eq!(serde_json::from_slice::<Options>(&text).expect("options are read"), options);
    for path in [&options.root, &options.criu_image_path, &options.criu_work_path] {
        assert!(path.is_empty() || is_plain(Path::new(path)), "{path:?}");
    }
}

/// The string of a stream: what comes of it is fit for the kernel.
pub fn stream(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(output) = uri::output(text) else {
        assert!(uri::input(text).is_err());
        return;
    };
    let path = match &output {
        Output::Null => return assert!(text.is_empty()),
        Output::Path(path) | Output::File(path) => path,
        Output::Logger(logger) => {
            assert!(logger.arguments.len().is_multiple_of(2));
            assert!(logger.arguments.iter().all(|argument| !argument.contains('\0')));
            &logger.program
        }
    };
    assert!(path.is_absolute() && !path.as_os_str().as_encoded_bytes().contains(&0), "{path:?}");
    assert_eq!(uri::input(text).is_ok(), matches!(output, Output::Path(_)));
}

/// The options of a mount, one a line: an overlay that is fitted into a page has the layers that were asked for.
pub fn mount_options(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let options: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let Ok(parsed) = MountOptions::parse(&options) else { return };
    let (directory, fitted) = parsed.fitted("overlay", 1024);
    assert!(!fitted.contains('\0'));
    let Some((common, short)) = compacted(&parsed.data) else {
        return assert!(directory.is_none());
    };
    assert!(common.is_absolute());
    let (_, asked) = layers(&parsed.data).expect("what is compacted has layers");
    let (_, given) = layers(&short).expect("what was compacted has layers");
    assert_eq!(asked.len(), given.len());
    for (asked, given) in asked.iter().zip(given) {
        assert!(!given.is_empty() && Path::new(given).is_relative(), "{given:?}");
        assert_eq!(Path::new(asked), common.join(given));
    }
}

/// The log of a runtime: there is something to say, and it is not too long.
pub fn runtime_log(data: &[u8]) {
    if let Some(error) = log::last_error_of(data) {
        assert!(!error.is_empty() && error.len() <= log::LONGEST);
    }
}

/// What lies in a bundle: `config.json`, `options.json`, a pid file, the address of a socket.
pub fn bundle(data: &[u8]) {
    let group = start::group_of(data);
    let cgroups = delete::cgroups_path_of(data);
    if serde_json::from_slice::<IgnoredAny>(data).is_err() {
        assert!(group.is_err() && cgroups.is_none(), "that is no JSON");
        assert!(bundle::outlives_init_of(data));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert!(bundle::pid_of(text).is_none_or(|pid| pid > 0));
    if let Some(address) = Address::parse(text) {
        assert_eq!(address.url(), text);
    }
    let _ = serde_json::from_str::<Options>(text);
    for path in [Some(text), cgroups.as_deref()].into_iter().flatten() {
        if let Some(own) = remove::own(path, "c1") {
            assert!(own.components().all(|part| matches!(part, Component::Normal(_))), "{own:?}");
            assert!(own.ends_with("c1"));
        }
    }
}

/// New limits for a container: a JSON object, or nothing that a runtime is bothered with.
pub fn resources(data: &[u8]) {
    if resources::check(data).is_ok() {
        let value: serde_json::Value = serde_json::from_slice(data).expect("JSON");
        assert!(value.is_object());
    }
}

fn is_one_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name)
        && !name.starts_with('-')
}

fn is_plain(path: &Path) -> bool {
    path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
}
