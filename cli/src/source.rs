//! Where the containers come from that a command looks at: a bundle, this node, or a manifest.

use std::path::PathBuf;

use coaming_shim::config::state;

use crate::demanded::Choice;
use crate::manifests::Assumed;

/// One of the three, and what must be known to look there.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("subject").required(true))]
pub(crate) struct Source {
    /// A bundle: the folder of a config.json that has not been through coaming.
    #[arg(long, value_name = "DIR", group = "subject")]
    pub(crate) bundle: Option<PathBuf>,
    /// A container that was created through coaming, by its id or the beginning of it.
    #[arg(long, value_name = "ID", group = "subject")]
    pub(crate) container: Option<String>,
    /// A file of Kubernetes manifests, YAML or JSON: every container of every pod as a node would get
    /// it. - is standard input.
    #[arg(long, value_name = "FILE", group = "subject")]
    pub(crate) manifest: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) assumed: Assumed,
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// The runtime's state directory, where containers of several have the same id.
    #[arg(long, value_name = "DIR", requires = "container")]
    pub(crate) root: Option<PathBuf>,
    /// Where coaming keeps its records.
    #[arg(long, value_name = "DIR", default_value_os_t = state(), hide = true)]
    pub(crate) state: PathBuf,
}
