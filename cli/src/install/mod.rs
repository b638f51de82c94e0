//! `coaming install`: containerd, CRI-O, Docker and Podman are told of coaming by files of its own, and `--uninstall`
//! takes these away again.

mod ask;
mod containerd;
mod crio;
mod docker;
pub(crate) mod kept;
mod plan;
mod podman;
mod present;
mod report;
mod restart;
mod take_off;
pub(crate) mod tree;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use coaming_config::{CONFIG_FILE, Configuration};
use coaming_shim::config::STATE;
use nix::unistd::geteuid;

use self::kept::Kept;
use self::plan::{Change, Check, Context, Obstacle, Planned};
pub(crate) use self::report::Report;
use self::report::{Done, FileDone, State};
use self::tree::{Attributes, Tree};
use crate::doctor::handlers::{Found, Manager, Ours, Root};
use crate::error::CommandError;
use crate::output::{self, Format, Outcome};
use crate::records;

/// Tell containerd, CRI-O, Docker and Podman of coaming, by files of its own.
///
/// What is there stays as it is: a handler of this name comes beside the others, in a drop-in. Each manager that is
/// found on the node is told, and asked afterwards what it makes of its configuration; where it does not take it, or
/// would lose anything else, all is put back. What was written is recorded, and --uninstall restores every file byte for
/// byte. Nothing is restarted unless this is asked. Exit codes: 0 all is as asked, 1 something was refused, or --dry-run
/// would change something, 2 there is no answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    wanted: Wanted,
    /// The root of the tree that is written to, such as that of a node image.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Say what would be written, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Restart the managers that were changed.
    #[arg(long)]
    restart: bool,
    /// Take away what was written.
    #[arg(long, conflicts_with_all = ["default", "shim", "config", "replace"])]
    uninstall: bool,
    /// Do what would break running containers or pods. Files that others have changed stay theirs all the same.
    #[arg(long)]
    force: bool,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// What managers are to know.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Wanted {
    /// This manager alone; repeat it for several. By default each that is here.
    #[arg(long = "for", value_enum, value_name = "MANAGER")]
    managers: Vec<Which>,
    /// The name of the handler.
    #[arg(long, value_name = "NAME", default_value = "coaming", value_parser = handler_name)]
    handler: String,
    /// Make it the handler of containers that name none.
    #[arg(long)]
    default: bool,
    /// Run containerd's handler under coaming's own shim.
    #[arg(long)]
    shim: bool,
    /// containerd's configuration, where it is elsewhere; a path below the root.
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// Where a manager has no other way, put a changed copy in the place of a file that is not coaming's; the original is
    /// kept, and put back by --uninstall.
    #[arg(long)]
    replace: bool,
}

/// A manager, as it is named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    Containerd,
    #[value(name = "cri-o")]
    Crio,
    Docker,
    Podman,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    let report = perform(arguments)?;
    match arguments.output {
        Format::Text => report.show(out)?,
        Format::Json => output::json(&report, out)?,
    }
    Ok(if report.is_fine() { Outcome::Fine } else { Outcome::Findings })
}

/// The same below the root of an image. An image without any manager is none's concern.
pub(crate) fn into_image(
    root: &Path,
    wanted: &Wanted,
    force: bool,
    dry_run: bool,
) -> Result<Report, CommandError> {
    let arguments = Arguments {
        wanted: wanted.clone(),
        root: root.to_owned(),
        dry_run,
        restart: false,
        uninstall: false,
        force,
        output: Format::default(),
    };
    perform(&arguments)
}

fn perform(arguments: &Arguments) -> Result<Report, CommandError> {
    let tree = Tree::open(&arguments.root)
        .map_err(|error| CommandError::Path { path: arguments.root.clone(), error })?;
    if tree.is_machine() && !arguments.dry_run && !geteuid().is_root() {
        return Err(CommandError::Usage(
            "what managers of containers read is root's alone to write: run it as root, or with --dry-run to see what \
             it would write"
                .to_owned(),
        ));
    }
    let failed = |problem: String| CommandError::Install(problem);
    if let Some(config) = &arguments.wanted.config
        && !config.starts_with('/')
    {
        return Err(failed(format!("--config {config} is no path that begins with a slash")));
    }
    let _alone = (!arguments.dry_run).then(|| alone(&tree)).transpose().map_err(failed)?;
    let mut kept = Kept::read(&tree).map_err(failed)?;
    match arguments.uninstall {
        true => uninstall(arguments, &tree, &mut kept),
        false => install(arguments, &tree, &mut kept),
    }
}

fn install(arguments: &Arguments, tree: &Tree, kept: &mut Kept) -> Result<Report, CommandError> {
    let configuration = configuration(tree)?;
    let root = Root::new(tree.path());
    let ours = Ours::on(&root, &configuration);
    let node = Found::on(&root, &ours, None);
    let mut runtimes = Vec::new();
    for manager in arguments.managers() {
        let before = kept.clone();
        let context = Context {
            tree,
            root: &root,
            ours: &ours,
            configuration: &configuration,
            kept: &before,
            handler: &arguments.wanted.handler,
            default: arguments.wanted.default,
            shim: arguments.wanted.shim,
            replace: arguments.wanted.replace,
            force: arguments.force,
            config: arguments.wanted.config.as_deref(),
        };
        let done = match plan_for(&context, manager, &node) {
            Err(Obstacle::Absent(why)) if arguments.wanted.managers.is_empty() => {
                Done { reasons: vec![why], ..Done::new(manager, State::Absent) }
            }
            Err(Obstacle::Absent(why) | Obstacle::Refused(why)) => Done::refused(manager, why),
            Ok(planned) => carry_out(arguments, tree, kept, planned),
        };
        runtimes.push(done);
    }
    if runtimes.iter().all(|done| done.state == State::Absent) {
        let shown = tree.path().display();
        return Err(CommandError::Install(format!(
            "no containerd, CRI-O, Docker or Podman was found below {shown}: --for names one, and says why not"
        )));
    }
    Ok(Report { dry_run: arguments.dry_run, runtimes })
}

fn plan_for(context: &Context<'_>, manager: Manager, node: &Found) -> Result<Planned, Obstacle> {
    let of_manager =
        |entry: &&kept::Entry| entry.manager == manager && entry.handler != context.handler;
    if let Some(entry) = context.kept.files.iter().find(of_manager) {
        return Err(Obstacle::Refused(format!(
            "the handler {} is installed ({}): take it away first (coaming install --uninstall)",
            entry.handler, entry.path
        )));
    }
    match manager {
        Manager::Containerd => containerd::plan(context),
        Manager::Crio => crio::plan(context, node),
        Manager::Docker => docker::plan(context, node),
        Manager::Podman => podman::plan(context, node),
    }
}

/// Writes, asks, and takes back what is not taken.
fn carry_out(arguments: &Arguments, tree: &Tree, kept: &mut Kept, planned: Planned) -> Done {
    let mut done = Done::new(planned.manager, State::Unchanged);
    done.handler = Some(arguments.wanted.handler.clone());
    done.notes = planned.notes;
    if planned.changes.is_empty() {
        return done;
    }
    done.state = State::Installed;
    for change in &planned.changes {
        let before = change.before.as_ref().map(|seen| seen.bytes.as_slice());
        let action = match before {
            None => "new",
            Some(bytes) if bytes == change.after => "there already, and taken over",
            Some(_) if kept.entry(&change.path).is_some_and(|entry| entry.original.is_none()) => {
                "renewed"
            }
            Some(_) => "replaced by a changed copy",
        };
        done.files.push(FileDone::new(&change.path, action, before, Some(&change.after)));
    }
    if arguments.dry_run {
        return done;
    }
    let was = kept.clone();
    let made = match write(tree, kept, planned.manager, &arguments.wanted.handler, &planned.changes)
    {
        Ok(made) => made,
        Err(why) => return taken_back(tree, kept, &was, &planned.changes, &[], done, why),
    };
    match planned.check.as_ref().map(|check| check.ask(tree)) {
        Some(Err(why)) => return taken_back(tree, kept, &was, &planned.changes, &made, done, why),
        Some(Ok(by)) => {
            if by.is_none() {
                done.notes
                    .push("this version cannot be asked what it makes of its files".to_owned());
            }
            done.validated_by = by;
        }
        None => {}
    }
    if let Err(why) = kept.settle(tree) {
        done.notes.push(why);
    }
    restart::after(arguments.restart, tree, planned.units, &mut done);
    done
}

/// Writes each file, after it is recorded.
fn write(
    tree: &Tree,
    kept: &mut Kept,
    manager: Manager,
    handler: &str,
    changes: &[Change],
) -> Result<Vec<String>, String> {
    let mut made = Vec::new();
    // What is imported first, and what imports it last.
    for change in changes.iter().rev() {
        kept.remember(tree, manager, handler, change)?;
        if change.before.as_ref().is_some_and(|seen| seen.bytes == change.after) {
            continue;
        }
        let attributes = change
            .before
            .as_ref()
            .map_or(Attributes::OURS, |seen| Attributes { modified: None, ..seen.attributes });
        let folders = tree.write(&change.path, &change.after, attributes)?;
        made.extend(folders.iter().cloned());
        kept.remember_folders(tree, folders)?;
    }
    Ok(made)
}

/// Puts everything back as it was.
fn taken_back(
    tree: &Tree,
    kept: &mut Kept,
    was: &Kept,
    changes: &[Change],
    made: &[String],
    mut done: Done,
    why: String,
) -> Done {
    done.state = State::Refused;
    done.reasons.push(why);
    let mut problems = Vec::new();
    for change in changes {
        let undone = match &change.before {
            None => tree.remove(&change.path),
            Some(seen) if seen.bytes == change.after => Ok(()),
            Some(seen) => tree.write(&change.path, &seen.bytes, seen.attributes).map(drop),
        };
        problems.extend(undone.err());
        if was.entry(&change.path).is_none() {
            problems.extend(kept.forget(tree, &change.path).err());
        }
    }
    tree.remove_folders(made);
    problems.extend(kept.back_to(tree, was).err());
    match problems.is_empty() {
        true => done.reasons.push("all files are as they were".to_owned()),
        false => done.reasons.extend(problems),
    }
    for file in &mut done.files {
        "taken back".clone_into(&mut file.action);
    }
    done
}

impl Check {
    /// Asks the manager; none where it cannot be asked.
    fn ask(&self, tree: &Tree) -> Result<Option<String>, String> {
        match self {
            Check::Containerd(check) => check.ask(tree).map(Some),
            Check::Crio { program, handler, wrapper } => {
                crio::check(tree, program, handler, wrapper).map(Some)
            }
            Check::Docker { program } => docker::check(tree, program),
            Check::Podman { program, handler, wrapper } => {
                podman::check(tree, program, handler, wrapper).map(Some)
            }
        }
    }
}

fn uninstall(arguments: &Arguments, tree: &Tree, kept: &mut Kept) -> Result<Report, CommandError> {
    let managers = arguments.managers();
    let concerned = kept.files.iter().any(|entry| managers.contains(&entry.manager));
    if concerned && tree.is_machine() && !arguments.force {
        check_unused()?;
    }
    let mut runtimes = take_off::take_off(tree, kept, &managers, arguments.dry_run)
        .map_err(CommandError::Install)?;
    if !arguments.dry_run {
        for done in runtimes.iter_mut().filter(|done| done.state == State::Removed) {
            restart::after(
                arguments.restart,
                tree,
                restart::units_of(done.manager, &done.files),
                done,
            );
        }
    }
    Ok(Report { dry_run: arguments.dry_run, runtimes })
}

/// A container's shim calls the wrapper to stop and remove it, and a pod's handler must be there for its next container.
fn check_unused() -> Result<(), CommandError> {
    const MOST: usize = 5;
    let records = records::read_all(&Path::new(STATE).join("containers"))?;
    let number = records.found.len().saturating_add(records.unreadable.len());
    if number == 0 {
        return Ok(());
    }
    let names: Vec<&str> =
        records.found.iter().take(MOST).map(|record| record.id.as_str()).collect();
    Err(CommandError::Install(format!(
        "{} that went through coaming are still there ({}{}): without the handler they cannot be started anew, nor \
         their pods be stopped. Remove them first (`coaming status` lists them), or say --force",
        output::count(number, "container", "containers"),
        names.join(", "),
        if number > names.len() { ", ..." } else { "" }
    )))
}

pub(crate) fn configuration(tree: &Tree) -> Result<Configuration, CommandError> {
    if tree.is_machine() {
        return Configuration::load().map_err(CommandError::Policy);
    }
    let Some(seen) = tree.read(CONFIG_FILE).map_err(CommandError::Install)? else {
        return Ok(Configuration::default());
    };
    let text = String::from_utf8_lossy(&seen.bytes);
    Configuration::parse(CONFIG_FILE, &text).map_err(CommandError::Policy)
}

/// One at a time on one root.
pub(crate) fn alone(tree: &Tree) -> Result<File, String> {
    let folder = tree.lockable().map_err(|error| format!("cannot lock the root: {error}"))?;
    folder.try_lock().map_err(|_| {
        "another `coaming install` is at work on this root; run this again when it is done"
            .to_owned()
    })?;
    Ok(folder)
}

fn handler_name(text: &str) -> Result<String, String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    // A RuntimeClass's handler is a DNS label (Kubernetes node.k8s.io/v1), and a key of TOML as it stands.
    if text.is_empty() || text.len() > 63 || !text.chars().all(is_fine) {
        return Err("a name of at most 63 letters, digits and dashes".to_owned());
    }
    if ["runc", "crun"].contains(&text) {
        return Err("what is called runc or crun is there already, and stays what it is".to_owned());
    }
    Ok(text.to_owned())
}

impl Arguments {
    fn managers(&self) -> Vec<Manager> {
        let all = [Which::Containerd, Which::Crio, Which::Docker, Which::Podman];
        let named: &[Which] = if self.wanted.config.is_some() && self.wanted.managers.is_empty() {
            &[Which::Containerd]
        } else if self.wanted.managers.is_empty() {
            &all
        } else {
            &self.wanted.managers
        };
        let is_named = |which: &&Which| named.contains(*which);
        all.iter().filter(is_named).map(|which| which.manager()).collect()
    }
}

impl Which {
    fn manager(self) -> Manager {
        match self {
            Which::Containerd => Manager::Containerd,
            Which::Crio => Manager::Crio,
            Which::Docker => Manager::Docker,
            Which::Podman => Manager::Podman,
        }
    }
}
