//! `coaming bake`: coaming into the root directory of a node image, so that its first container crosses the gate.

mod filters;
mod plan;
mod policies;
mod programs;
mod record;
mod report;

use std::io::Write;
use std::path::{Path, PathBuf};

use coaming_config::Configuration;

use self::plan::{Plan, Wish};
use self::policies::Policies;
use self::report::Report;
use crate::error::CommandError;
use crate::install::tree::Tree;
use crate::install::{self, Wanted};
use crate::output::{self, Format, Outcome};

/// Put coaming into the root directory of a node image (mkosi, Packer, debootstrap), before it boots for the first time.
///
/// Programs and units, configuration, policies, the snapshot of the policies in force, compiled seccomp filters for ordinary
/// containers and those of --manifest, and the files by which containerd, CRI-O, Docker and Podman know of coaming. All of it is
/// written below the root; no link leads out of it. Repeated runs change nothing. Exit codes: 0 the root is as asked, 1 something
/// was refused, or --check found it otherwise, 2 there is no answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The root directory of the image.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Where coaming's files are: this machine's root, or that of an unpacked tarball of the same version.
    #[arg(long, value_name = "DIR", default_value = "/")]
    programs: PathBuf,
    /// A file that becomes the node's configuration. By default the image keeps its own.
    #[arg(long, value_name = "FILE")]
    configuration: Option<PathBuf>,
    /// A directory that becomes the node's policies. By default the image keeps its own.
    #[arg(long, value_name = "DIR")]
    policy: Option<PathBuf>,
    /// Manifests whose containers' filters are compiled too; those of the image's /etc/kubernetes/manifests are in any case.
    #[arg(long = "manifest", value_name = "FILE")]
    manifests: Vec<PathBuf>,
    /// Leave containerd, CRI-O, Docker and Podman as they are.
    #[arg(long, conflicts_with_all = ["managers", "handler", "default", "shim", "config", "replace"])]
    no_managers: bool,
    #[command(flatten)]
    wanted: Wanted,
    /// Take the place of files that are there and that no earlier run has written.
    #[arg(long)]
    force: bool,
    /// Say whether the root is as asked, and write nothing.
    #[arg(long)]
    check: bool,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    let tree = open(&arguments.root)?;
    let mut report = {
        let _alone = (!arguments.check)
            .then(|| install::alone(&tree))
            .transpose()
            .map_err(CommandError::Bake)?;
        bake(arguments, &tree)?
    };
    if !arguments.no_managers && report.refused.is_empty() {
        let Arguments { wanted, force, check, .. } = arguments;
        match install::into_image(tree.path(), wanted, *force, *check) {
            Ok(managers) => report.managers = Some(managers),
            Err(CommandError::Install(why)) => report.unmanaged = Some(why),
            Err(other) => return Err(other),
        }
    }
    match arguments.output {
        Format::Text => report.show(out)?,
        Format::Json => output::json(&report, out)?,
    }
    Ok(if report.is_fine() { Outcome::Fine } else { Outcome::Findings })
}

/// A root that is not the running machine's, and has a system in it.
fn open(root: &Path) -> Result<Tree, CommandError> {
    let failed = |error| CommandError::Path { path: root.to_owned(), error };
    let tree = Tree::open(root).map_err(failed)?;
    if tree.is_machine() || tree.is_same_folder(Path::new("/")).map_err(failed)? {
        return Err(CommandError::Bake(format!(
            "{} is the root of this machine, which runs: `coaming install` is for it",
            root.display()
        )));
    }
    if !tree.exists("/usr") {
        return Err(CommandError::Bake(format!(
            "{} has no /usr: lay the image's system out first (mmdebstrap, mkosi, debootstrap)",
            root.display()
        )));
    }
    Ok(tree)
}

fn bake(arguments: &Arguments, tree: &Tree) -> Result<Report, CommandError> {
    let failed = CommandError::Bake;
    let mut wishes = programs::wishes(&arguments.programs).map_err(failed)?;
    let configuration = match &arguments.configuration {
        Some(path) => {
            let bytes = std::fs::read(path)
                .map_err(|error| CommandError::Path { path: path.clone(), error })?;
            let text = String::from_utf8_lossy(&bytes);
            let parsed = Configuration::parse(&path.display().to_string(), &text)
                .map_err(CommandError::Policy)?;
            wishes.push(Wish::file(coaming_config::CONFIG_FILE, bytes.clone(), 0o644));
            parsed
        }
        None => install::configuration(tree)?,
    };
    let policies = Policies::read(tree, &configuration, arguments.policy.as_deref())?;
    wishes.extend(policies.wishes);
    let compiled = filters::compile(tree, &configuration, &policies.set, &arguments.manifests)?;
    wishes.extend(compiled.wishes);
    wishes.extend(programs::folders(&configuration));

    // What a run before was given, and this one is not, is the image's own by now.
    let directory = format!("{}/", configuration.policy_directory.display());
    let left = |path: &str| {
        arguments.policy.is_none() && path.starts_with(&directory)
            || arguments.configuration.is_none() && path == coaming_config::CONFIG_FILE
    };
    let mut plan = Plan::of(tree, wishes, left).map_err(failed)?;
    plan.refused.extend(policies.refused);
    if arguments.force {
        plan.allow_all();
    }
    let written = if arguments.check || !plan.refused.is_empty() {
        false
    } else {
        plan.carry_out(tree).map_err(failed)?;
        true
    };
    Ok(Report {
        root: tree.path().display().to_string(),
        checked: arguments.check,
        version: env!("CARGO_PKG_VERSION"),
        policies: policies.counts.0,
        waivers: policies.counts.1,
        signed_by: policies.signed_by,
        filters: compiled.filters,
        changes: plan.changes(written),
        refused: plan.refused,
        notes: policies.notes.into_iter().chain(compiled.notes).collect(),
        managers: None,
        unmanaged: None,
    })
}
