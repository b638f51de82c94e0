//! Reads the fields of the crate `oci-spec` out of its source: structs, serde's names, and the types of fields.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::Places;

/// The fields of every struct: their name in JSON, and their type.
type Structs = BTreeMap<String, Vec<(String, String)>>;

/// Every place of the type `Spec`.
pub(crate) fn places(package: &str) -> io::Result<Places> {
    let mut structs = Structs::new();
    for entry in fs::read_dir(source_of(package)?.join("src/runtime"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            parse(&fs::read_to_string(path)?, &mut structs);
        }
    }
    // In mod.rs; the rest is named by its fields.
    assert!(structs.contains_key("Spec"), "no type Spec");
    let mut places = Places::new();
    walk(&structs, "Spec", "", &mut places);
    Ok(places)
}

/// Where cargo keeps the sources of the package that this workspace is locked to.
fn source_of(package: &str) -> io::Result<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform"])
        // Packages for other platforms need not be here.
        .arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| {
        io::Error::other(format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    })?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages
        .filter(|found| found["name"] == package)
        .find_map(|found| found["manifest_path"].as_str());
    let manifest =
        manifest.ok_or_else(|| io::Error::other(format!("{package} is not in the workspace")))?;
    Ok(PathBuf::from(manifest).parent().map(PathBuf::from).unwrap_or_default())
}

/// The crate is formatted by rustfmt: a struct ends at a brace alone, and a field is a line, or an
/// attribute is several.
fn parse(source: &str, structs: &mut Structs) {
    let (mut name, mut camel, mut attributes) = (None::<String>, false, String::new());
    let mut open_attribute = false;
    for line in source.lines().map(str::trim) {
        if open_attribute || line.starts_with("#[") {
            attributes.push_str(line);
            open_attribute = !line.ends_with(']');
        } else if line.starts_with("//") || line.is_empty() {
        } else if let Some(rest) =
            line.strip_prefix("pub struct ").filter(|rest| rest.ends_with('{'))
        {
            let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
            name = Some(rest[..end].to_owned());
            camel = attributes.contains("rename_all = \"camelCase\"");
            structs.insert(rest[..end].to_owned(), Vec::new());
            attributes.clear();
        } else if line == "}" {
            name = None;
            attributes.clear();
        } else if let (Some(of), Some((field, kind))) = (&name, line.split_once(": ")) {
            let field = field.trim_start_matches("pub ").trim_start_matches("r#");
            let renamed =
                attributes.split_once("rename = \"").and_then(|(_, rest)| rest.split_once('"'));
            let field = match renamed {
                Some((renamed, _)) => renamed.to_owned(),
                None if camel => camel_case(field),
                None => field.to_owned(),
            };
            structs
                .entry(of.clone())
                .or_default()
                .push((field, kind.trim_end_matches(',').to_owned()));
            attributes.clear();
        } else {
            attributes.clear();
        }
    }
}

fn camel_case(field: &str) -> String {
    let mut parts = field.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| {
        let mut letters = part.chars();
        let capital = letters.next().map(|letter| letter.to_ascii_uppercase());
        name + &capital.into_iter().chain(letters).collect::<String>()
    })
}

fn walk(structs: &Structs, name: &str, place: &str, places: &mut Places) {
    for (field, kind) in structs.get(name).into_iter().flatten() {
        let mut below = if place.is_empty() { field.clone() } else { format!("{place}.{field}") };
        places.insert(below.clone());
        let mut kind = kind.as_str();
        while let Some((outer, inner)) =
            kind.strip_suffix('>').and_then(|kind| kind.split_once('<'))
        {
            kind = inner;
            match outer {
                "Vec" if structs.contains_key(kind) => {
                    below.push_str("[]");
                    places.insert(below.clone());
                }
                "HashMap" => {
                    kind = kind.split_once(", ").map_or(kind, |(_, value)| value);
                    below.push_str("{}");
                    places.insert(below.clone());
                }
                _ => {}
            }
        }
        walk(structs, kind, &below, places);
    }
}
