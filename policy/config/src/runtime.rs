//! `[runtimes.NAME]`: a runtime behind the wrapper, and what holds for it alone.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{BuiltIn, DocumentError};

/// One runtime behind the wrapper.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Runtime {
    /// Absolute path of the OCI runtime that the wrapper hands off to.
    pub path: PathBuf,
    /// The built-in floor beneath this runtime, where it is not the node's.
    #[serde(default)]
    pub floor: Option<BuiltIn>,
    /// What becomes of a container where this runtime has a known way out, if it is not the node's answer.
    #[serde(default)]
    pub vulnerable: Option<Vulnerable>,
    /// The CVEs that are mended in this runtime under a version that has them elsewhere (`CVE-2024-21626`):
    /// distributions mend old versions. Debian's and Ubuntu's packages need no word, their changelogs say it.
    #[serde(default)]
    pub fixed: BTreeSet<String>,
}

/// What becomes of a container whose runtime has a version with a known way out.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Vulnerable {
    /// It starts, and its record says so.
    #[default]
    Warn,
    /// It does not start.
    Refuse,
    /// It starts, and nothing is said.
    Ignore,
}

impl Runtime {
    pub(crate) fn check(&self, name: &str, file: &str, text: &str) -> Result<(), DocumentError> {
        let is_cve = |text: &str| {
            let mut parts = text.split('-');
            let digits = |part: Option<&str>, least: usize| {
                part.is_some_and(|part| {
                    part.len() >= least && part.bytes().all(|byte| byte.is_ascii_digit())
                })
            };
            parts.next() == Some("CVE")
                && digits(parts.next(), 4)
                && digits(parts.next(), 4)
                && parts.next().is_none()
        };
        let Some(other) = self.fixed.iter().find(|fixed| !is_cve(fixed)) else {
            return Ok(());
        };
        let problem = format!(
            "runtimes.{name}: fixed has {other:?}, which is no name of a CVE; write it as CVE-2024-21626"
        );
        Err(DocumentError::in_value(file, text, other, problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Configuration;

    #[test]
    fn a_runtime_may_have_an_answer_of_its_own() {
        let text = "vulnerable_runtimes = \"refuse\"\n[runtimes.coaming-runc]\npath = \"/usr/sbin/runc\"\n\
                    fixed = [\"CVE-2024-21626\"]\n[runtimes.old]\npath = \"/opt/runc\"\nvulnerable = \"ignore\"\n";
        let configuration = Configuration::parse("c.toml", text).unwrap();
        assert_eq!(configuration.vulnerable("coaming-runc"), Vulnerable::Refuse);
        assert_eq!(configuration.vulnerable("coaming-crun"), Vulnerable::Refuse);
        assert_eq!(configuration.vulnerable("old"), Vulnerable::Ignore);
        assert_eq!(configuration.fixed("coaming-runc"), ["CVE-2024-21626".to_owned()].into());
        assert!(configuration.fixed("old").is_empty());
        assert_eq!(Configuration::default().vulnerable("coaming-runc"), Vulnerable::Warn);
    }

    #[test]
    fn a_cve_that_is_none_is_refused_where_it_stands() {
        for wrong in ["CVE-24-1", "cve-2024-21626", "CVE-2024-21626 ", "CVE-2024-21626-1", ""] {
            let text = format!("[runtimes.r]\npath = \"/r\"\nfixed = [\"{wrong}\"]\n");
            let error = Configuration::parse("c.toml", &text).unwrap_err().to_string();
            assert!(error.starts_with("c.toml:3:") && error.contains("CVE-2024-21626"), "{error}");
        }
    }
}
