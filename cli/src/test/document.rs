//! The `PolicyTest` document: containers, and what policies are expected to do with them.

use std::collections::BTreeSet;

use coaming_policy::document::{ApiVersion, At, BuiltIn, Metadata, Moment};
use serde::Deserialize;
use serde_json::Value;

/// Cases for the policies beside it, in a file whose name ends in `.test.yaml`. A node never reads it: in a
/// directory of policies it stands in a folder, such as `tests/`.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PolicyTest {
    /// `coaming.dev/v1alpha1`.
    #[serde(rename = "apiVersion")]
    _api_version: ApiVersion,
    /// `PolicyTest`.
    #[serde(rename = "kind")]
    _kind: Kind,
    /// The name of the test.
    pub(super) metadata: At<Metadata>,
    /// What is tested.
    pub(super) spec: TestSpec,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
enum Kind {
    PolicyTest,
}

/// What is tested, and where.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TestSpec {
    /// The policies under test: a file or a directory, as a path from the folder of this file. Default: the
    /// folder above it.
    #[serde(default = "above")]
    pub(super) policies: At<String>,
    /// The built-in floor beneath them. Default: `baseline`.
    #[serde(default)]
    pub(super) floor: BuiltIn,
    /// The moment at which waivers are looked at: a time (RFC 3339), or a date, which is its end. Default:
    /// when the test runs.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(super) now: Option<Moment>,
    /// The node on which the containers start; nothing is asked of the machine that runs the test.
    #[serde(default)]
    pub(super) node: NodeSpec,
    /// The cases.
    pub(super) cases: Vec<At<Case>>,
}

fn above() -> At<String> {
    At { value: "..".to_owned(), line: 0 }
}

/// A node.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct NodeSpec {
    /// The version of its Landlock; 0 for none. Default: 7.
    #[serde(rename = "landlockABI")]
    pub(super) landlock_abi: u32,
    /// Its active security modules beside that. Default: `[apparmor]`.
    pub(super) lsms: Vec<String>,
    /// Its kernel's version. Default: `6.12`.
    pub(super) kernel: String,
    /// The kubelet's `seccompDefault`, for manifests. Default: `false`.
    pub(super) seccomp_default: bool,
    /// The user of images, for manifests, as in a Dockerfile. Default: root.
    pub(super) image_user: Option<String>,
}

impl Default for NodeSpec {
    fn default() -> NodeSpec {
        NodeSpec {
            landlock_abi: 7,
            lsms: vec!["apparmor".to_owned()],
            kernel: "6.12".to_owned(),
            seccomp_default: false,
            image_user: None,
        }
    }
}

/// A container, and what is expected. It is given by one of `manifest`, `bundle` and `spec`.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Case {
    /// What the case shows.
    pub(super) name: String,
    /// A Kubernetes manifest: a path from the folder of this file, or a Pod itself.
    #[serde(default)]
    pub(super) manifest: Option<Value>,
    /// The container of the manifest, where it has several; `POD` is a pod's sandbox.
    #[serde(default)]
    pub(super) container: Option<String>,
    /// The object of the manifest, by its name, where it has several.
    #[serde(default)]
    pub(super) object: Option<String>,
    /// A bundle: the path of a folder with a `config.json`.
    #[serde(default)]
    pub(super) bundle: Option<String>,
    /// An OCI runtime spec.
    #[serde(default)]
    pub(super) spec: Option<Value>,
    /// What is known of the container, in place of what the above says.
    #[serde(default)]
    pub(super) facts: FactsSpec,
    /// A process that is to join the container, of which `expect` is then said.
    #[serde(default)]
    pub(super) exec: Option<ExecSpec>,
    /// What is expected.
    pub(super) expect: Expect,
}

/// Facts, as containerd's CRI plugin would tell them.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct FactsSpec {
    /// Kubernetes namespace of the pod.
    pub(super) namespace: Option<String>,
    /// Name of the pod.
    pub(super) pod: Option<String>,
    /// Uid of the pod.
    #[serde(rename = "podUID")]
    pub(super) pod_uid: Option<String>,
    /// Name of the container in the pod.
    pub(super) container: Option<String>,
    /// Image reference.
    pub(super) image: Option<String>,
    /// Whether it is the pod's sandbox.
    pub(super) sandbox: Option<bool>,
}

/// An exec.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExecSpec {
    /// The command, word by word.
    pub(super) command: Vec<String>,
    /// Whether it has a terminal (`kubectl exec -t`).
    #[serde(default)]
    pub(super) terminal: bool,
    /// Whether it has a standard input (`kubectl exec -i`).
    #[serde(default)]
    pub(super) stdin: bool,
}

/// What is expected. What is left out is not looked at; an empty list says that there is nothing.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Expect {
    /// Whether it starts.
    pub(super) verdict: Decision,
    /// Controls that refuse it, by their names in a policy's `spec`. Others may refuse it too.
    #[serde(default)]
    pub(super) refused_by: Option<BTreeSet<String>>,
    /// Fields of the OCI spec that are changed. Others may be changed too, unless the list is empty.
    #[serde(default)]
    pub(super) changes: Option<Vec<ExpectedChange>>,
    /// Controls of audited policies that would have changed or refused something.
    #[serde(default)]
    pub(super) audit: Option<BTreeSet<String>>,
    /// Waivers that serve the container, by name.
    #[serde(default)]
    pub(super) waived: Option<BTreeSet<String>>,
    /// System calls that its filter answers.
    #[serde(default)]
    pub(super) seccomp: Option<ExpectedCalls>,
}

/// Whether a container starts.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub(super) enum Decision {
    /// It starts, within the floor.
    Admit,
    /// It does not start.
    Refuse,
}

/// A change.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExpectedChange {
    /// The field, as a place in the OCI spec: `process.noNewPrivileges`.
    pub(super) field: String,
    /// A policy that demands it.
    #[serde(default)]
    pub(super) policy: Option<String>,
}

/// System calls.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ExpectedCalls {
    /// Those that never pass, whatever their arguments.
    pub(super) denies: BTreeSet<String>,
    /// Those that always pass.
    pub(super) allows: BTreeSet<String>,
}
