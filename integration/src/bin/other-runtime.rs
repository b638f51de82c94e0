//! Another wrapper around an OCI runtime, as nvidia-container-runtime is one: where `create` stands anywhere among its
//! words it adds a hook and a mount to the bundle's config.json, in place, and becomes the runtime that
//! `/etc/other-runtime` names. For tests of chains.

use std::error::Error;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    if words.iter().any(|word| word == "create") {
        edit(Path::new(&bundle(&words)).join("config.json").as_path())?;
    }
    let runtime = fs::read_to_string("/etc/other-runtime")?;
    Err(Command::new(runtime.trim()).args(words).exec().into())
}

/// `--bundle DIR`, `--bundle=DIR` or `-b DIR`; else the working directory.
fn bundle(words: &[OsString]) -> OsString {
    let mut following = words.iter();
    while let Some(word) = following.next() {
        let text = word.to_string_lossy();
        if let Some(folder) = text.strip_prefix("--bundle=") {
            return folder.into();
        }
        if ["--bundle", "-bundle", "-b"].contains(&text.as_ref()) {
            return following.next().cloned().unwrap_or_default();
        }
    }
    ".".into()
}

fn edit(file: &Path) -> Result<(), Box<dyn Error>> {
    let mut spec: Value = serde_json::from_slice(&fs::read(file)?)?;
    append(
        &mut spec,
        "/hooks/prestart",
        json!({"path": "/usr/bin/other-hook", "args": ["other-hook"]}),
    );
    append(
        &mut spec,
        "/mounts",
        json!({"destination": "/other", "type": "bind", "source": "/etc/hostname", "options": ["bind", "ro"]}),
    );
    Ok(fs::write(file, spec.to_string())?)
}

/// Appends to a list that may not be there yet.
fn append(spec: &mut Value, pointer: &str, value: Value) {
    let list = pointer.split('/').skip(1).fold(spec, |inner, key| {
        if !inner.is_object() {
            *inner = json!({});
        }
        &mut inner[key]
    });
    match list {
        Value::Array(list) => list.push(value),
        other => *other = json!([value]),
    }
}
