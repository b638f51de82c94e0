//! A profile made of a policy's own rules, so that two modules of the kernel enforce one set of rules.
//!
//! AppArmor's words are coarser than Landlock's: one `w` stands for writing, creating, removing and renaming.
//! Where a policy gives a part of them on a path, the profile gives `w`, and Landlock keeps the rest. AppArmor
//! goes by the path that a file has, Landlock by the file: folders that are links on usual systems are
//! given by both names. TCP ports, and the scope of abstract sockets, AppArmor does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::super::landlock::Layer;
use super::super::landlock::names::{EXECUTE, READ, WRITE};
use super::super::{Rule, socket_family};
use crate::floor::Floor;

/// Folders that are links on usual systems, and where they lead (file-hierarchy(7)).
const LINKS: [(&str, &str); 7] = [
    ("/bin", "/usr/bin"),
    ("/sbin", "/usr/sbin"),
    ("/lib", "/usr/lib"),
    ("/lib32", "/usr/lib32"),
    ("/lib64", "/usr/lib64"),
    ("/var/run", "/run"),
    ("/var/lock", "/run/lock"),
];
/// Rights of files, with the letters that they are in a profile. A file that may be read may be mapped and locked.
const LETTERS: [(u64, &str); 3] = [(READ, "rmk"), (WRITE, "wkl"), (EXECUTE, "ix")];
/// What every profile says, whatever the policy.
const ALWAYS: &str = include_str!("always.aa");

/// The text of a profile for what a policy demands, under the policy's name.
///
/// # Errors
/// A path that cannot be written in a profile.
pub fn generate(policy: &str, floor: &Floor) -> Result<String, String> {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "# Made of the policy {policy} by coaming.\nprofile {policy} flags=(attach_disconnected,mediate_deleted) {{"
    );
    let mut capabilities: Vec<String> = match floor.capabilities.met().allow {
        None => vec!["  capability,".to_owned()],
        Some(allow) => allow
            .iter()
            .map(|capability| {
                format!("  capability {},", capability.to_string().to_ascii_lowercase())
            })
            .collect(),
    };
    capabilities.insert(0, "  # capabilities".to_owned());
    for line in capabilities {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "  # seccomp.denySocketFamilies\n  network,\n  unix,");
    for name in socket_family::names(&floor.seccomp.met().deny_socket_families) {
        let family = name.trim_start_matches("AF_").to_ascii_lowercase();
        // Not a family that a profile can name: the parser's list has no number 0.
        if family != "unspec" {
            let _ = writeln!(text, "  audit deny network {family},");
        }
    }
    files(&mut text, &floor.landlock.met().layers())?;
    text.push_str(ALWAYS);
    text.push_str("}\n");
    Ok(text)
}

fn files(text: &mut String, layers: &BTreeSet<Layer>) -> Result<(), String> {
    let _ = writeln!(text, "  # landlock");
    let mut rules: BTreeMap<String, String> = BTreeMap::new();
    for (rights, letters) in LETTERS {
        let paths = layers
            .iter()
            .filter(|layer| layer.handled_fs & rights != 0)
            .map(|layer| allowed(layer, rights))
            .reduce(|ours, theirs| both(&ours, &theirs));
        for path in paths.unwrap_or_else(|| BTreeSet::from(["/".to_owned()])) {
            rules.entry(path).or_default().push_str(letters);
        }
    }
    for (path, letters) in rules {
        let mut once: Vec<char> = letters.chars().collect();
        // `ix` is one word.
        let executes = letters.contains("ix");
        once.retain(|letter| !"ix".contains(*letter));
        once.sort_unstable();
        once.dedup();
        let letters: String =
            once.into_iter().chain(if executes { "ix" } else { "" }.chars()).collect();
        for path in spellings(&path) {
            let path = quoted(&path)?;
            let _ = writeln!(text, "  {path} {letters},");
        }
    }
    Ok(())
}

/// Below which paths a layer gives any of some rights.
fn allowed(layer: &Layer, rights: u64) -> BTreeSet<String> {
    let given = layer.paths.iter().filter(|(_, given)| **given & rights != 0);
    given.map(|(path, _)| path.clone()).collect()
}

/// The places that are below a path of each: AppArmor goes by spelling, so that of two paths the longer one is what
/// both have, or nothing is.
fn both(ours: &BTreeSet<String>, theirs: &BTreeSet<String>) -> BTreeSet<String> {
    let pairs = ours.iter().flat_map(|a| theirs.iter().map(move |b| (a, b)));
    pairs
        .filter_map(|(a, b)| match (is_below(a, b), is_below(b, a)) {
            (true, _) => Some(a.clone()),
            (_, true) => Some(b.clone()),
            _ => None,
        })
        .collect()
}

fn is_below(path: &str, above: &str) -> bool {
    let rest = path.strip_prefix(above.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A path by all the names that it may have.
fn spellings(path: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::from([path.to_owned()]);
    for (link, target) in LINKS {
        if is_below(path, link)
            && let Some(rest) = path.strip_prefix(link)
        {
            all.insert(format!("{target}{rest}"));
        }
    }
    all
}

/// A path and all below it, as a profile writes them; nothing in it stands for anything else.
fn quoted(path: &str) -> Result<String, String> {
    if path.contains(|c: char| c.is_control() || c == '"') {
        return Err(format!(
            "{path:?} cannot be written in an AppArmor profile; write the profile by hand"
        ));
    }
    let mut text = String::new();
    for character in path.trim_end_matches('/').chars() {
        if "\\*?[]{}^@,".contains(character) {
            text.push('\\');
        }
        text.push(character);
    }
    Ok(match text.as_str() {
        "" => "/**".to_owned(),
        text => format!("\"{text}{{,/**}}\""),
    })
}
