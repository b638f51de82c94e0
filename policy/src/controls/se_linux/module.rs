//! SELinux modules that come with a policy: CIL files, whose types nobody else can have the names of.
//!
//! What a file says is put into a CIL block named after the file and the digest of its content. The kernel knows
//! the types of a block by the block's name (`payments.process`), so that a type with another meaning has another
//! name: a container runs in the domain that the policy's author wrote, or its type is unknown and it does not start.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// The largest module, in bytes.
pub const MAX_MODULE: usize = 64 * 1024;
/// Of the digest, in hexadecimal.
const DIGITS: usize = 16;

/// Why a file is no module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// Its name cannot be a module's.
    #[error(
        "the SELinux module {0:?} must be a file NAME.cil, with a NAME of at most 32 lower-case letters, digits and _, \
         a letter first: its types are called NAME.type"
    )]
    Name(String),
    /// Two files of one name.
    #[error(
        "two SELinux modules are called {0}; rename one, since their types are told apart by it"
    )]
    Twice(String),
    /// Too large, or not text.
    #[error("the SELinux module {name} {why}")]
    Content {
        /// The file.
        name: String,
        /// What is wrong.
        why: String,
    },
}

/// Modules: the block's name, which is the module's too, and its whole text.
pub type Modules = BTreeMap<String, String>;

/// The modules of files, and the names of their blocks by those of the files.
pub(super) fn of_files(
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<(Modules, BTreeMap<String, String>), ModuleError> {
    let (mut modules, mut blocks) = (Modules::new(), BTreeMap::new());
    for (path, bytes) in files {
        let stem = stem(path).ok_or_else(|| ModuleError::Name(path.clone()))?;
        let failed = |why: String| ModuleError::Content { name: path.clone(), why };
        if bytes.len() > MAX_MODULE {
            return Err(failed(format!("is larger than {MAX_MODULE} bytes; split it")));
        }
        let text =
            std::str::from_utf8(bytes).map_err(|error| failed(format!("is not UTF-8: {error}")))?;
        check_parentheses(text).map_err(|why| failed(why.to_owned()))?;
        let digest = Sha256::digest(bytes);
        let digits: String =
            digest.iter().map(|byte| format!("{byte:02x}")).take(DIGITS / 2).collect();
        let block = format!("coaming_{stem}_{digits}");
        if blocks.insert(stem.to_owned(), block.clone()).is_some() {
            return Err(ModuleError::Twice(stem.to_owned()));
        }
        modules.insert(block.clone(), format!("(block {block}\n{text}\n)\n"));
    }
    Ok((modules, blocks))
}

/// A type as the kernel knows it: `payments.process` is that of the block that `payments.cil` has become.
pub(super) fn known_as(kind: String, blocks: &BTreeMap<String, String>) -> String {
    let block = kind.split_once('.').and_then(|(file, rest)| Some((blocks.get(file)?, rest)));
    match block {
        Some((block, rest)) => format!("{block}.{rest}"),
        None => kind,
    }
}

fn stem(path: &str) -> Option<&str> {
    let stem = path.rsplit('/').next()?.strip_suffix(".cil")?;
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let plain =
        stem.starts_with(|first: char| first.is_ascii_lowercase()) && stem.bytes().all(letters);
    (plain && stem.len() <= 32).then_some(stem)
}

/// What closes more than it opens would end the block, and state in the node's policy what it likes.
fn check_parentheses(text: &str) -> Result<(), &'static str> {
    let mut depth = 0_usize;
    for line in text.lines() {
        let (mut quoted, mut comment) = (false, false);
        for character in line.chars() {
            match character {
                _ if comment => {}
                '"' => quoted = !quoted,
                _ if quoted => {}
                ';' => comment = true,
                '(' => depth += 1,
                ')' => depth = depth.checked_sub(1).ok_or("has a ) that nothing opened")?,
                _ => {}
            }
        }
        if quoted {
            return Err("has a string that does not end on its line");
        }
    }
    if depth > 0 { Err("has a ( that nothing closes") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, text: &str) -> Result<(Modules, BTreeMap<String, String>), ModuleError> {
        of_files(&[(path.to_owned(), text.as_bytes().to_vec())].into())
    }

    #[test]
    fn a_module_is_a_block_named_by_what_it_says() {
        let (modules, blocks) = of("profiles/payments.cil", "(type process)").unwrap();
        let (block, text) = modules.first_key_value().unwrap();
        // sha256sum of the file.
        assert_eq!(block, "coaming_payments_8549953c1ada2e1b");
        assert_eq!(text, &format!("(block {block}\n(type process)\n)\n"));
        assert_eq!(known_as("payments.process".into(), &blocks), format!("{block}.process"));
        for other in ["container_t", "udica.process", "payments"] {
            assert_eq!(known_as(other.into(), &blocks), other);
        }
        let (changed, _) = of("profiles/payments.cil", "(type process) ").unwrap();
        assert_ne!(changed.first_key_value().unwrap().0, block);
    }

    #[test]
    fn a_module_cannot_leave_its_block() {
        for text in [
            ")(allow all all (file (all)))(block x",
            "(type a",
            "(type a))",
            "; (\n)",
            "(x \";)\n(y \")\")",
        ] {
            assert!(matches!(of("a.cil", text), Err(ModuleError::Content { .. })), "{text}");
        }
        for text in ["", "; it's )))\n(type a)", "(filecon \"/x;(\" any ())", "(a (b) (c))\n\n"] {
            of("a.cil", text).unwrap();
        }
        assert!(of("a.cil", &" ".repeat(MAX_MODULE + 1)).is_err());
    }

    #[test]
    fn a_name_is_one_that_semodule_and_the_kernel_take() {
        for name in
            ["a.CIL", "a", ".cil", "9.cil", "a-b.cil", "a b.cil", "a.b.cil", "A.cil", "x/", "é.cil"]
        {
            assert!(matches!(of(name, ""), Err(ModuleError::Name(_))), "{name}");
        }
        let twice = ["x/a.cil", "y/a.cil"].map(|path| (path.to_owned(), Vec::new()));
        assert!(matches!(of_files(&twice.into()), Err(ModuleError::Twice(_))));
    }
}
