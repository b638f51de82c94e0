//! containerd: a drop-in in a folder that its configuration imports, or a template of k3s and rke2.

mod dump;
mod handler;
mod loaded;
mod rancher;
mod text;

use toml::{Table, Value};

pub(super) use self::dump::Check;
pub(super) use self::loaded::parse;

use self::handler::{Handlers, STOCK};
use self::loaded::{Loaded, Merge};
use super::kept::{Entry, digest};
use super::plan::{self, Change, Context, Obstacle, Planned, is_plain_runtime};
use super::tree::above;
use crate::doctor::handlers::{CONTAINERD_PLACES, Manager};

/// The name of our file: in a folder whose files are read in the order of their names it is the last.
const NAME: &str = "zz-coaming.toml";
const MAIN: &str = "/etc/containerd/config.toml";
/// Where containerd keeps the tasks of pods while they run.
const TASKS: [&str; 2] = [
    "/run/containerd/io.containerd.runtime.v2.task/k8s.io",
    "/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io",
];

/// Where a containerd has its configuration, and what is known of it.
struct Found {
    main: String,
    /// Who makes the main file, and from what.
    made_from: Option<&'static str>,
    program: Option<String>,
    major: Option<u32>,
}

/// # Errors
/// It is not here, or must not be done, with what to do.
pub(super) fn plan(context: &Context<'_>) -> Result<Planned, Obstacle> {
    let found = Found::on(context)?;
    let mut planned = Planned::new(Manager::Containerd, found.units());
    planned.notes.extend(found.others(context));
    match found.made_from {
        Some(from) if found.main.contains("/rancher/") => {
            rancher::plan(context, &found, from, &mut planned)?;
        }
        Some(from) => {
            return Err(Obstacle::Refused(format!(
                "{} is made from {from}, which coaming does not write: put the handler there (docs/installing.md)",
                found.main
            )));
        }
        None => plain(context, &found, &mut planned)?,
    }
    Ok(planned)
}

/// A configuration that is people's own.
fn plain(context: &Context<'_>, found: &Found, planned: &mut Planned) -> Result<(), Obstacle> {
    let main = found.main.as_str();
    let conf_d = format!("{}/conf.d", above(main));
    let present = context.tree.read(main)?;
    let mut loaded = Loaded { files: Vec::new(), version: found.newest_version() };
    let folder = match &present {
        None => {
            if context.config.is_some() || found.program.is_none() {
                return Err(Obstacle::Absent(format!("there is no {main}")));
            }
            let pattern = pattern_for(context, &conf_d)?;
            let text = format!(
                "# Written by `coaming install`, where there was no file.\nversion = {}\nimports = [{}]\n",
                loaded.version,
                Value::from(pattern)
            );
            planned.changes.extend(context.own_file(main, text)?);
            conf_d
        }
        Some(seen) => {
            loaded = Loaded::read(context.tree, main, Some(&format!("{conf_d}/{NAME}")))?;
            match loaded.imported_folder(NAME) {
                Some(folder) => {
                    if folder != conf_d {
                        loaded =
                            Loaded::read(context.tree, main, Some(&format!("{folder}/{NAME}")))?;
                    }
                    folder
                }
                None => {
                    let pattern = pattern_for(context, &conf_d)?;
                    planned.changes.push(importing(context, main, seen, &pattern)?);
                    conf_d
                }
            }
        }
    };
    let path = format!("{folder}/{NAME}");
    let own = own_section(context, found, &loaded, &path)?;
    let text = text::drop_in(loaded.version, own.merge, own.section);
    planned.notes.extend(own.notes);
    planned.changes.extend(context.own_file(&path, text)?);
    if own.merge == Merge::Replaces {
        planned.notes.push(format!(
            "this containerd takes the CRI section of {path} in place of all others: after a change to those, run \
             `coaming install` again (`--dry-run` exits with 1 where that is due)"
        ));
    }
    planned.check = own.check;
    Ok(())
}

/// What stands in our file, and how it is checked.
struct Own {
    section: Table,
    merge: Merge,
    notes: Vec<String>,
    check: Option<plan::Check>,
}

fn own_section(
    context: &Context<'_>,
    found: &Found,
    loaded: &Loaded,
    path: &str,
) -> Result<Own, Obstacle> {
    if let Some(file) = loaded.cri_is_disabled() {
        return Err(Obstacle::Absent(format!(
            "{file} disables its CRI plugin: no pods are started through it, and other clients name their runtime \
             themselves"
        )));
    }
    let merge = found.merge(loaded.version);
    if loaded.version == 1 && found.major.is_some_and(|major| major > 1) {
        return Err(Obstacle::Refused(format!(
            "{} is of version 1, whose CRI settings containerd 2 does not take (it has its defaults now): \
             `containerd config migrate` prints it as one that it takes",
            found.main
        )));
    }
    let section = loaded.section(merge);
    let handlers = Handlers::of(&section);
    let is_written = !entries(context).is_empty();
    if !is_written && handlers.get(context.handler).is_some() {
        let file = loaded.file_with_handler(context.handler);
        return Err(Obstacle::Refused(match handlers.is_ours(context, context.handler) {
            true => format!(
                "{file} has the handler {} already, and it ends at coaming: it is left as it is",
                context.handler
            ),
            false => format!(
                "{file} has a handler {} of another kind; choose another name (--handler)",
                context.handler
            ),
        }));
    }
    let mut notes = Vec::new();
    let wrapper = handlers.wrapper();
    notes.extend(context.check_wrapper(&wrapper)?);
    if context.default {
        check_default(context, &handlers, &wrapper)?;
    }
    let before = found.before(context)?;
    let handler = handlers.ours(&wrapper, context.shim);
    let mut base = match merge {
        Merge::Replaces => section.clone(),
        Merge::Deep => Table::new(),
    };
    if merge == Merge::Replaces && loaded::table_at(&base, &["containerd", "runtimes"]).is_none() {
        // Those that it has by itself are gone as soon as a file names one.
        let mut built_in = before.as_ref().and_then(dump::runtimes).cloned().unwrap_or_else(|| {
            let runc = Table::from_iter([("runtime_type".to_owned(), STOCK.into())]);
            Table::from_iter([("runc".to_owned(), Value::Table(runc))])
        });
        built_in.remove(context.handler);
        for (name, runtime) in built_in {
            let Value::Table(runtime) = runtime else { continue };
            base = text::with_handler(base, &name, runtime, false);
        }
    }
    let is_update = context.kept.entry(path).is_some() && merge == Merge::Replaces;
    let check = found.program.as_ref().map(|program| {
        plan::Check::Containerd(Check {
            program: program.clone(),
            config: found.main.clone(),
            before: before.filter(|_| !is_update),
            trial: None,
            handler: context.handler.to_owned(),
            wrapper: wrapper.clone(),
            default: context.default,
        })
    });
    if check.is_none() {
        notes.push("no containerd was found to ask what it makes of this".to_owned());
    }
    let section = text::with_handler(base, context.handler, handler, context.default);
    Ok(Own { section, merge, notes, check })
}

/// Whether containers that name no handler may be given to ours.
fn check_default(
    context: &Context<'_>,
    handlers: &Handlers<'_>,
    wrapper: &str,
) -> Result<(), Obstacle> {
    let name = handlers.default();
    let plain = handlers.program(name).is_some_and(is_plain_runtime);
    if !plain && name != context.handler && !context.force {
        return Err(Obstacle::Refused(format!(
            "the default handler is {name}, which is more than runc or crun: pods that rely on what it does would \
             lose it. Put coaming behind it instead (docs/engines.md, \"Beside another wrapper\"), or take it as \
             the default by --force"
        )));
    }
    context.check_floor(wrapper)?;
    if context.shim && context.tree.is_machine() && !context.force {
        for folder in TASKS {
            let running = context.tree.names(folder)?.len();
            if running > 0 {
                return Err(Obstacle::Refused(format!(
                    "{running} containers of pods run under another shim ({folder}): those of them that start anew \
                     would find their pod in a shim of another make. Drain the node first, or leave --shim out"
                )));
            }
        }
    }
    Ok(())
}

/// A main file that is another's, with one more import.
fn importing(
    context: &Context<'_>,
    main: &str,
    seen: &super::tree::Seen,
    pattern: &str,
) -> Result<Change, Obstacle> {
    parse(main, &seen.bytes)?;
    let before = String::from_utf8_lossy(&seen.bytes);
    let after =
        text::importing(&before, pattern).map_err(|problem| format!("{main}: {problem}"))?;
    if !context.replace {
        let line = after.lines().find(|line| line.contains(pattern)).unwrap_or_default();
        let how = if before.lines().any(|line| line.trim_start().starts_with("imports")) {
            "change its imports to"
        } else {
            "add this line above its first section"
        };
        return Err(Obstacle::Refused(format!(
            "{main} imports no folder that a drop-in could be put into, and coaming does not edit it; {how}:\n    \
             {}\nand run this again. Or --replace: a copy with that line takes its place, and --uninstall puts the \
             original back",
            line.trim()
        )));
    }
    if context.tree.read_own(main)?.is_none() {
        return Err(Obstacle::Refused(format!("{main} has gone meanwhile")));
    }
    Ok(Change { path: main.to_owned(), before: Some(seen.clone()), after: after.into_bytes() })
}

/// What is imported: a folder, but for where this would bring into force what lies there and is not.
fn pattern_for(context: &Context<'_>, folder: &str) -> Result<String, Obstacle> {
    let names = context.tree.names(folder)?;
    let others = names.iter().any(|name| name.ends_with(".toml") && name != NAME);
    Ok(match others {
        true => format!("{folder}/zz-coaming*.toml"),
        false => format!("{folder}/*.toml"),
    })
}

fn entries<'a>(context: &Context<'a>) -> Vec<&'a Entry> {
    context.kept.files.iter().filter(|entry| entry.manager == Manager::Containerd).collect()
}

impl Found {
    fn on(context: &Context<'_>) -> Result<Found, Obstacle> {
        let is_there = |file: &str| context.tree.exists(file);
        let place = match context.config {
            Some(config) => CONTAINERD_PLACES.iter().find(|(file, ..)| *file == config).copied(),
            None => CONTAINERD_PLACES.iter().find(|(file, ..)| is_there(file)).copied(),
        };
        let main = context.config.or(place.map(|(file, ..)| file)).unwrap_or(MAIN);
        let (folders, made_from): (&[&str], _) =
            place.map_or((&[], None), |(_, folders, from)| (folders, from));
        let program = context.root.in_path("containerd", folders);
        if program.is_none() && !is_there(main) {
            return Err(Obstacle::Absent(format!(
                "there is neither {main} nor a program containerd"
            )));
        }
        let major = match &program {
            Some(program) => Some(dump::major(context.tree, program)?),
            None => None,
        };
        Ok(Found { main: main.to_owned(), made_from, program, major })
    }

    fn merge(&self, version: i64) -> Merge {
        match self.major {
            Some(0 | 1) => Merge::Replaces,
            Some(_) => Merge::Deep,
            None if version > 2 => Merge::Deep,
            // Right for both: what is repeated says the same.
            None => Merge::Replaces,
        }
    }

    /// The version of a file that this containerd would rather have.
    fn newest_version(&self) -> i64 {
        if self.major == Some(1) { 2 } else { 3 }
    }

    /// What containerd makes of its configuration now.
    fn before(&self, context: &Context<'_>) -> Result<Option<Table>, Obstacle> {
        let Some(program) = &self.program else { return Ok(None) };
        let said = match context.tree.exists(&self.main) {
            true => dump::dump(context.tree, program, &self.main),
            false => dump::defaults(context.tree, program),
        };
        said.map(Some).map_err(|problem| {
            Obstacle::Refused(format!(
                "containerd does not take its configuration as it is: {problem}"
            ))
        })
    }

    fn units(&self) -> &'static [&'static str] {
        match self.main.as_str() {
            main if main.contains("/rancher/k3s/") => &["k3s.service", "k3s-agent.service"],
            main if main.contains("/rancher/rke2/") => {
                &["rke2-server.service", "rke2-agent.service"]
            }
            _ => &["containerd.service"],
        }
    }

    /// A sentence for each other containerd of the node.
    fn others(&self, context: &Context<'_>) -> Vec<String> {
        let others = CONTAINERD_PLACES.iter().map(|(file, ..)| *file);
        others
            .filter(|file| *file != self.main && context.config.is_none() && context.tree.exists(file))
            .map(|file| format!("{file} is there too: `coaming install --for containerd --config {file}` is for it"))
            .collect()
    }
}

/// A string as TOML has it.
pub(super) fn toml_of(text: &str) -> String {
    Value::from(text).to_string()
}

/// Whether a file is as it was written.
fn is_untouched(entry: &Entry, bytes: &[u8]) -> bool {
    digest(bytes) == entry.sha256
}
