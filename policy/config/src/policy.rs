//! `[policy]`: how a changed policy directory comes into force.

use serde::{Deserialize, Serialize};

use crate::DocumentError;

/// The longest that break-glass may be allowed to last, in hours: a month.
const MAX_HOURS: u64 = 31 * 24;

/// `[policy]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// What holds while the directory is broken: `last-known-good`, the set of policies that was last
    /// in force, or `refuse`: no container starts. Default: `last-known-good`.
    pub broken: Broken,
    /// What it takes for a change to demand less than before: `explicit`, the command
    /// `coaming load --loosen` or a signature; `signed`, a signature; `free`, nothing. Default: `explicit`.
    pub loosening: Loosening,
    /// Whether a set of policies is taken only with a signature: `off` or `required`. Default: `off`.
    pub signatures: Signatures,
    /// Public keys of minisign (`RW...`) whose signatures count: of a set, and of a break-glass waiver.
    /// Default: none.
    pub trusted_keys: Vec<String>,
    /// The most hours that a break-glass waiver may last from its signature on. Default: 24.
    pub break_glass_hours: u64,
}

/// What holds while the directory is broken.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Broken {
    /// The set of policies that was last in force.
    #[default]
    LastKnownGood,
    /// No container starts.
    Refuse,
}

/// What it takes to loosen.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Loosening {
    /// A command, or a signature.
    #[default]
    Explicit,
    /// A signature.
    Signed,
    /// Nothing.
    Free,
}

/// Whether sets must be signed.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Signatures {
    /// They need not be.
    #[default]
    Off,
    /// Without a good one a set is not taken.
    Required,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            broken: Broken::default(),
            loosening: Loosening::default(),
            signatures: Signatures::default(),
            trusted_keys: Vec::new(),
            break_glass_hours: 24,
        }
    }
}

impl Policy {
    pub(crate) fn check(&self, file: &str, text: &str) -> Result<(), DocumentError> {
        let wrong =
            |value: &str, problem: String| Err(DocumentError::in_value(file, text, value, problem));
        if self.trusted_keys.is_empty() {
            for (is, key, value) in [
                (self.signatures == Signatures::Required, "signatures", "required"),
                (self.loosening == Loosening::Signed, "loosening", "signed"),
            ] {
                if is {
                    return wrong(
                        value,
                        format!(
                            "{key} is {value:?}, and trusted_keys names no key that could sign; list the \
                             signer's public key there"
                        ),
                    );
                }
            }
        }
        // 42 bytes in base64, of which the first two say Ed25519 (minisign's manual).
        if let Some(key) =
            self.trusted_keys.iter().find(|key| key.len() != 56 || !key.starts_with("RW"))
        {
            return wrong(
                key,
                format!(
                    "trusted_keys: {key:?} is no public key of minisign's; it is the second line of \
                     minisign.pub"
                ),
            );
        }
        if self.break_glass_hours > MAX_HOURS {
            let problem =
                format!("break_glass_hours is more than {MAX_HOURS}, which is a month; write less");
            return wrong("break_glass_hours", problem);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::Configuration;

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let parse = |text: &str| Configuration::parse("c.toml", &format!("[policy]\n{text}"));
        let key = format!("RW{}", "Q".repeat(54));
        assert!(parse(&format!("signatures = \"required\"\ntrusted_keys = [\"{key}\"]")).is_ok());
        for (text, words) in [
            ("signatures = \"required\"", "c.toml:2:14: signatures"),
            ("loosening = \"signed\"", "c.toml:2:13: loosening"),
            ("loosening = \"sigend\"", "did you mean \"signed\""),
            ("trusted_keys = [\"abc\"]", "minisign.pub"),
            ("break_glass_hours = 745", "a month"),
            ("brocken = \"refuse\"", "\"broken\""),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
