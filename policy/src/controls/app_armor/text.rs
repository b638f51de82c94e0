//! The text of a profile that comes with a policy: what of it must be known before it is used, and the name
//! under which it is loaded.
//!
//! The kernel's profiles have one space of names for all. Ours carry the digest of their text, so that no
//! other can stand in their place under the same name without being told from them. What a profile says
//! is the parser's to understand; read here is only what would let a process out of it, or others into it.

use sha2::{Digest, Sha256};

use super::words::{Statement, Token, statements, tokens};

/// What the names of profiles begin with that come with policies.
pub const PREFIX: &str = "coaming.";
/// How many bytes of the digest a name carries.
const DIGEST: usize = 16;
/// Flags that change how paths are seen, and not whether rules are enforced (apparmor.d(5), "Profile Flags").
const FLAGS: [&str; 8] = [
    "attach_disconnected",
    "no_attach_disconnected",
    "mediate_deleted",
    "delegate_deleted",
    "chroot_relative",
    "namespace_relative",
    "chroot_attach",
    "chroot_no_attach",
];

/// A profile that comes with a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// As the file calls it.
    pub name: String,
    /// As it is called in the kernel.
    pub kernel_name: String,
    /// The text, with that name.
    pub text: String,
}

impl Brought {
    /// A built-in profile, by the name that policies call it by.
    pub fn built_in(name: &str) -> Option<&'static Brought> {
        super::builtin(name)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What keeps it from being used, with the line.
    pub fn read(text: &str) -> Result<Brought, String> {
        let header = check(text)?;
        let name = header.text.to_owned();
        let usable = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(usable) {
            return Err(format!(
                "line {}: {name:?} is no name for a profile that comes with a policy: 1 to 64 letters, \
                 digits, -, _ and .; a path would confine programs of the node",
                header.line
            ));
        }
        let digest = Sha256::digest(text);
        let hex: String = digest.iter().take(DIGEST).map(|byte| format!("{byte:02x}")).collect();
        let kernel_name = format!("{PREFIX}{name}-{hex}");
        let (before, after) = text.split_at_checked(header.at).unwrap_or_default();
        let after = after.get(name.len()..).unwrap_or_default();
        let text = format!("{before}{kernel_name}{after}");
        Ok(Brought { name, kernel_name, text })
    }
}

/// Checks a text, which may be one in which all includes were put in their places, and gives the name of its
/// profile.
///
/// # Errors
/// What keeps it from being used, with the line.
pub fn check(text: &str) -> Result<Token<'_>, String> {
    let tokens = tokens(text)?;
    let open = tokens.iter().position(|token| token.text == "{");
    let open = open.ok_or("no profile in it: profile NAME { ... }")?;
    let (before, body) = tokens.split_at(open);
    let name = header(before)?;
    let body = body.get(1..).unwrap_or_default();
    let end = body
        .iter()
        .position(|token| ["{", "}"].contains(&token.text))
        .ok_or("the profile has no end: } is missing")?;
    let (body, rest) = body.split_at(end);
    match rest {
        [close] if close.text == "}" => {}
        [nested, ..] if nested.text == "{" => {
            return Err(format!(
                "line {}: a profile, hat or block within the profile; a profile that comes with a policy has \
                 none, since a process may not leave it for another",
                nested.line
            ));
        }
        [_, more, ..] => {
            return Err(format!(
                "line {}: {:?} after the profile's end; a file holds one profile",
                more.line, more.text
            ));
        }
        _ => return Err("the profile has no end: } is missing".to_owned()),
    }
    for statement in statements(body) {
        check_statement(&statement, name.text)?;
    }
    Ok(name)
}

/// What stands before the profile's block: settings, and its name and flags.
fn header<'a>(before: &[Token<'a>]) -> Result<Token<'a>, String> {
    let at = before
        .iter()
        .position(|token| token.text == "profile")
        .ok_or("no profile with a name in it: profile NAME { ... }")?;
    let (preamble, own) = before.split_at(at);
    for statement in statements(preamble) {
        let Some(first) = statement.words.first() else { continue };
        let known =
            ["abi", "include", "#include"].contains(&first.text) || first.text.starts_with("@{");
        if !known {
            return Err(format!(
                "line {}: {:?} before the profile; what is taken there is abi, include and @{{VARIABLE}} = ...",
                first.line, first.text
            ));
        }
    }
    let name = *own.get(1).ok_or("the profile has no name: profile NAME { ... }")?;
    let flags: String = own.iter().skip(2).map(|token| token.text).collect::<Vec<_>>().join(" ");
    if flags.is_empty() {
        return Ok(name);
    }
    let list = flags
        .strip_prefix("flags")
        .map(|rest| rest.trim_start().trim_start_matches('=').trim_start())
        .and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')'))
        .ok_or_else(|| {
            format!(
                "line {}: {flags:?} between the profile's name and its block; what is taken there is \
                 flags=(...), since anything else would attach it to programs of the node",
                name.line
            )
        })?;
    let words = list.split([',', ' ']).filter(|word| !word.is_empty());
    match words.into_iter().find(|word| !FLAGS.contains(word)) {
        None => Ok(name),
        Some(flag) => Err(format!(
            "line {}: flag {flag:?}; of flags, {} are taken, since a profile that comes with a policy is \
             enforced",
            name.line,
            FLAGS.join(", ")
        )),
    }
}

/// A rule must not let a process leave the profile.
fn check_statement(statement: &Statement<'_>, name: &str) -> Result<(), String> {
    let leaves = |token: &Token<'_>, what: &str| {
        Err(format!(
            "line {}: {what}; a process could leave the profile by it, and what it is confined by would no \
             longer be what the policy says (write ix, or deny it)",
            token.line
        ))
    };
    if let Some(peer) = statement.words.iter().find(|token| {
        token.text.strip_prefix("peer=").is_some_and(|peer| peer.trim_matches('"') == name)
    }) {
        return Err(format!(
            "line {}: {:?}: in the kernel the profile has another name; write peer=@{{profile_name}}",
            peer.line, peer.text
        ));
    }
    if statement.denies() {
        return Ok(());
    }
    let Some(first) = statement.rule() else { return Ok(()) };
    if ["change_profile", "hat", "^"].iter().any(|word| first.text.starts_with(word)) {
        return leaves(first, "a change_profile rule");
    }
    if first.text == "pivot_root" && statement.words.iter().any(|token| token.text == "->") {
        return leaves(first, "a pivot_root rule with a profile");
    }
    match statement.execute().filter(|access| access.contains(['u', 'U', 'p', 'P', 'c', 'C'])) {
        Some(access) => leaves(first, &format!("execute permission {access:?}")),
        None => Ok(()),
    }
}
