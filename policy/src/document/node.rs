//! The node's own configuration: `/etc/coaming/config.yaml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ApiVersion, DocumentError};

/// What this node's wrapper does. Every field has a default; a file that is absent is all defaults.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeConfiguration {
    /// `coaming.dev/v1alpha1`.
    pub api_version: ApiVersion,
    /// `NodeConfiguration`.
    pub kind: Kind,
    /// The directory of policies. Default: `/etc/coaming/policy.d`.
    #[serde(default = "default_policy_directory")]
    pub policy_directory: String,
    /// The built-in floor that is always in force beneath the policies. Default: `baseline`.
    #[serde(default)]
    pub floor: BuiltIn,
    /// The runtimes, by the name under which the wrapper is called (the last part of its path).
    /// Default: `coaming-runc`, handing off to the first of `/usr/bin/runc`, `/usr/sbin/runc`,
    /// `/usr/local/bin/runc` and `/usr/local/sbin/runc` that exists, and `coaming-crun` likewise.
    #[serde(default)]
    pub runtimes: BTreeMap<String, Runtime>,
}

/// One runtime behind the wrapper.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Runtime {
    /// Absolute path of the OCI runtime that the wrapper hands off to.
    pub path: String,
    /// The built-in floor beneath this runtime, where it is not the node's.
    #[serde(default)]
    pub floor: Option<BuiltIn>,
}

/// The built-in floors.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum BuiltIn {
    /// For a runtime class that pods choose: Pod Security *baseline*, without io_uring, x32, AF_ALG.
    #[default]
    Baseline,
    /// For coaming as the node's default runtime: denies only what no container needs.
    Node,
}

/// The kind of this document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
pub enum Kind {
    /// The only one.
    NodeConfiguration,
}

fn default_policy_directory() -> String {
    "/etc/coaming/policy.d".to_owned()
}

impl Default for NodeConfiguration {
    fn default() -> Self {
        NodeConfiguration {
            api_version: ApiVersion::V1Alpha1,
            kind: Kind::NodeConfiguration,
            policy_directory: default_policy_directory(),
            floor: BuiltIn::default(),
            runtimes: BTreeMap::new(),
        }
    }
}

impl NodeConfiguration {
    /// Reads the document.
    ///
    /// # Errors
    /// [`DocumentError::Invalid`], with the place; also for a path that is not absolute.
    pub fn parse(file: &str, text: &str) -> Result<Self, DocumentError> {
        let configuration: NodeConfiguration =
            serde_saphyr::from_str_with_options(text, super::options())
                .map_err(|error| DocumentError::from_yaml(file, &error))?;
        let paths = configuration
            .runtimes
            .values()
            .map(|runtime| &runtime.path)
            .chain([&configuration.policy_directory]);
        for path in paths {
            if !path.starts_with('/') {
                return Err(DocumentError::at(
                    file,
                    1,
                    format!("{path:?} is not an absolute path; nothing is looked up in PATH"),
                ));
            }
        }
        Ok(configuration)
    }

    /// The built-in floor beneath the runtime of this name.
    pub fn floor_for(&self, runtime: &str) -> BuiltIn {
        self.runtimes.get(runtime).and_then(|runtime| runtime.floor).unwrap_or(self.floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: coaming.dev/v1alpha1\nkind: NodeConfiguration\n";

    #[test]
    fn a_runtime_may_have_a_floor_of_its_own() {
        let text = format!(
            "{HEAD}floor: node\nruntimes:\n  coaming-runc: {{path: /usr/sbin/runc}}\n  \
             coaming-crun: {{path: /usr/bin/crun, floor: baseline}}\n"
        );
        let configuration = NodeConfiguration::parse("c.yaml", &text).unwrap();
        assert_eq!(configuration.floor_for("coaming-runc"), BuiltIn::Node);
        assert_eq!(configuration.floor_for("coaming-crun"), BuiltIn::Baseline);
        assert_eq!(NodeConfiguration::default().floor_for("x"), BuiltIn::Baseline);
    }

    #[test]
    fn errors_say_where_and_suggest() {
        let error =
            |text: String| NodeConfiguration::parse("c.yaml", &text).unwrap_err().to_string();
        let unknown = error(format!("{HEAD}polcyDirectory: /x\n"));
        assert!(
            unknown.starts_with("c.yaml:3:1: ") && unknown.contains("\"policyDirectory\""),
            "{unknown}"
        );
        assert!(error(format!("{HEAD}floor: basline\n")).contains("did you mean \"baseline\""));
        assert!(
            error(format!("{HEAD}runtimes: {{coaming-runc: {{path: runc}}}}\n"))
                .contains("absolute")
        );
        assert!(error(format!("{HEAD}floor: node\nfloor: node\n")).contains("c.yaml:4"));
    }
}
