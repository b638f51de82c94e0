//! From text to what the kernel takes: by the node's own apparmor_parser(8).

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use coaming_policy::controls::app_armor::check;
use sha2::{Digest, Sha256};

use super::AppArmorError;
use crate::host::hex;

/// The longest answer of the parser that is shown, in characters.
const SHOWN: usize = 500;
/// How deep the kernel's features may be.
const DEPTH: usize = 8;

/// Compiles a text. `features` are those of another kernel than this one's, as a file or folder.
///
/// What it includes is the node's, and is put in its place first, so that it is looked at as the rest was.
pub(super) fn compile(
    parser: &Path,
    name: &str,
    text: &str,
    features: Option<&Path>,
) -> Result<Vec<u8>, AppArmorError> {
    let failed = |problem: String| AppArmorError::Compile { name: name.to_owned(), problem };
    let whole =
        run(parser, &["--preprocess", "--quiet", "--skip-cache", "--skip-kernel-load"], None, text)
            .map_err(failed)?;
    let whole =
        String::from_utf8(whole).map_err(|_| failed("an include is not UTF-8".to_owned()))?;
    let found = check(&whole).map_err(|problem| failed(format!("with its includes: {problem}")))?;
    if found.text != name {
        return Err(failed(format!("with its includes it is called {:?}", found.text)));
    }
    // No cache is read or written; nothing is loaded; the binary comes on standard output.
    let words = ["--quiet", "--skip-cache", "--skip-kernel-load", "--stdout"];
    run(parser, &words, features, text).map_err(failed)
}

/// Runs the parser on a text. Its environment is empty: what it reads is its own configuration and what is included.
fn run(
    parser: &Path,
    words: &[&str],
    features: Option<&Path>,
    text: &str,
) -> Result<Vec<u8>, String> {
    let mut command = Command::new(parser);
    command.args(words).env_clear().current_dir("/");
    if let Some(features) = features {
        command.arg("--kernel-features").arg(features);
    }
    let shown = parser.display();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{shown} cannot be run: {error}"))?;
    // A text is smaller than what it can be made to answer before it has read it all.
    let given = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().map_err(|error| format!("{shown}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let said: String = said.trim().chars().take(SHOWN).collect();
        return Err(format!("{shown} {}: {said}", output.status));
    }
    if let Some(Err(error)) = given {
        return Err(format!("{shown} does not read: {error}"));
    }
    match output.stdout.is_empty() {
        true => Err(format!("{shown} gave nothing: {}", said.trim())),
        false => Ok(output.stdout),
    }
}

/// The digest of a kernel's features: of the folder in securityfs, or of a file that says the same in the parser's
/// own form (`name {value` or nested blocks, libapparmor's features.c).
///
/// # Errors
/// What cannot be read.
pub fn features_digest(features: &Path) -> Result<String, AppArmorError> {
    let failed = |error| AppArmorError::Unseen { path: features.to_owned(), error };
    let mut all = BTreeMap::new();
    match fs::metadata(features).map_err(failed)?.is_dir() {
        true => gather(features, "", &mut all, DEPTH).map_err(failed)?,
        false => blocks(&fs::read_to_string(features).map_err(failed)?, &mut all),
    }
    let mut whole = Sha256::new();
    for (name, value) in all {
        whole.update(format!("{name}\0{value}\0"));
    }
    Ok(hex(&whole.finalize()))
}

fn gather(
    folder: &Path,
    place: &str,
    all: &mut BTreeMap<String, String>,
    depth: usize,
) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{place}/{}", entry.file_name().display());
        if !entry.file_type()?.is_dir() {
            all.insert(name, fs::read_to_string(entry.path())?.trim().to_owned());
        } else if depth > 0 {
            gather(&entry.path(), &name, all, depth - 1)?;
        }
    }
    Ok(())
}

fn blocks(text: &str, all: &mut BTreeMap<String, String>) {
    let mut place: Vec<&str> = Vec::new();
    let mut from = 0;
    for (at, brace) in text.match_indices(['{', '}']) {
        let words = text.get(from..at).unwrap_or_default().trim();
        from = at + 1;
        if brace == "{" {
            place.push(words);
            continue;
        }
        if !words.is_empty() {
            let name: String = place.iter().map(|part| format!("/{part}")).collect();
            all.insert(name, words.to_owned());
        }
        place.pop();
    }
}
