//! Runs the cases of a group: one container under the stock runtime and one under coaming, which attempts everything
//! in its first process and stays, so that an exec can attempt it again.

use coaming_integration::cri::{ContainerSpec, Pod, Sandbox};
use coaming_integration::{Door, Error, Exec, Output, Run, default_spec, images, wait_for};
use serde_json::Value;

use crate::case::{Ask, Case, Group, Places, See, Told};
use crate::ground::{FOLDER, Ground};

/// Under which runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Stock,
    Coaming(Door),
}

/// What differs from the table, a line each.
///
/// # Errors
/// The harness's own.
pub(crate) fn group(ground: &Ground, group: &Group) -> Result<Vec<String>, Error> {
    ground.enforce(group.floor, group.policy)?;
    let runtime = ground.node.config().runtime;
    let cases: Vec<&Case> = group.cases.iter().filter(|case| (case.runtimes)(runtime)).collect();
    let root = ground.rootfs(group.name)?;
    let mut surprises = Vec::new();
    let doors = ground.doors.iter().map(|door| Side::Coaming(*door));
    for side in std::iter::once(Side::Stock).chain(doors) {
        let container = match start(ground, group, &root, side, &command(ground, &cases)) {
            Ok(container) => container,
            Err(why) => {
                surprises.push(format!("{} under {side:?} does not start: {why}", group.name));
                continue;
            }
        };
        for (case, place, told) in attempt(ground, &container, &cases)? {
            let as_said = match side {
                Side::Stock => told.is_stock(case.stock),
                Side::Coaming(_) => told.is_ours(case.ours),
            };
            if !as_said {
                let expected = match side {
                    Side::Stock => format!("{:?}", case.stock),
                    Side::Coaming(_) => format!("{:?}", case.ours),
                };
                surprises.push(format!(
                    "{} ({}) under {side:?}, {place:?}: {:?} should be {expected}: {}",
                    group.name, case.control, case.see, told.detail
                ));
            }
        }
        container.remove(ground)?;
    }
    ground.drop_rootfs(group.name)?;
    Ok(surprises)
}

/// A container that has started.
pub(crate) struct Container {
    id: String,
    sandbox: Option<Sandbox>,
}

/// What the first process runs: everything, and then it stays.
fn command(ground: &Ground, cases: &[&Case]) -> Vec<String> {
    let mut words = each(ground, cases, Places::Init);
    words.extend(["--", "pause"].map(str::to_owned));
    words
}

/// `probe each` of what is attempted there.
fn each(ground: &Ground, cases: &[&Case], place: Places) -> Vec<String> {
    let mut words = ["/bin/probe", "each"].map(str::to_owned).to_vec();
    for (number, attempt) in attempts(cases, place).map(|(_, attempt)| attempt).enumerate() {
        if number > 0 {
            words.push("--".to_owned());
        }
        words.extend(ground.words(attempt));
    }
    words
}

fn attempts<'a>(
    cases: &'a [&'a Case],
    place: Places,
) -> impl Iterator<Item = (&'a Case, &'static str)> {
    cases.iter().filter_map(move |case| match case.see {
        See::Probe(attempt) if case.places == Places::Both || case.places == place => {
            Some((*case, attempt))
        }
        _ => None,
    })
}

/// Starts a group's container to run `command`; an error says why it did not start.
///
/// # Errors
/// The harness's own, and the runtime's.
pub(crate) fn start(
    ground: &Ground,
    group: &Group,
    root: &str,
    side: Side,
    command: &[String],
) -> Result<Container, Error> {
    let node = &ground.node;
    let world = node.world();
    let side_name = match side {
        Side::Stock => "stock",
        Side::Coaming(door) => door.handler(),
    };
    let id = format!("{}-{side_name}", group.name);
    for file in ["log", "hook", "hook-stdout"] {
        world.run(["rm", "-f", &format!("{FOLDER}/{file}")])?;
    }
    let log = format!("file://{FOLDER}/log");
    match group.ask {
        Ask::Spec(edit) => {
            let mut spec = default_spec(&id, command)?;
            edit(&mut spec);
            spec["root"]["path"] = root.into();
            let file = format!("{FOLDER}/{id}.json");
            world.write(&file, spec.to_string(), 0o644)?;
            let mut words = vec!["run".to_owned(), "--detach".to_owned()];
            words.extend(match side {
                Side::Stock => Door::none(node.config().runtime),
                Side::Coaming(door) => door.ctr_flags(node.config().runtime),
            });
            words.extend(["--log-uri", &log, "--config", &file, &id].map(str::to_owned));
            started(node.ctr().raw(words)?, &id, node)?;
        }
        Ask::Ctr(flags) => {
            let run = Run::new(images::PROBE, &id).args(command);
            let run = match side {
                Side::Stock => run,
                Side::Coaming(door) => run.through(door),
            };
            let run = flags.iter().fold(run, |run, flag| run.flag(*flag));
            started(node.ctr().start(&run.flag("--log-uri").flag(log))?, &id, node)?;
        }
        Ask::Cri(edit) => {
            let handler = match side {
                Side::Stock => "runc",
                Side::Coaming(door) => door.handler(),
            };
            let mut pod = Pod::new(&id, handler);
            let mut spec = ContainerSpec::new("main", images::PROBE, command);
            edit(&mut pod, &mut spec);
            let cri = node.cri()?;
            let sandbox = cri.run_pod(&pod)?;
            let id = match cri.launch(&sandbox, &spec) {
                Ok(id) => id,
                Err(error) => {
                    cri.remove_pod(&sandbox)?;
                    return Err(error);
                }
            };
            return Ok(Container { id, sandbox: Some(sandbox) });
        }
    }
    Ok(Container { id, sandbox: None })
}

/// A container whose task did not start is left to its client.
fn started(output: Output, id: &str, node: &coaming_integration::Node) -> Result<(), Error> {
    if !output.success() {
        node.ctr().raw(["containers", "delete", id])?;
    }
    output.ok("ctr run").map(drop)
}

fn attempt<'a>(
    ground: &Ground,
    container: &Container,
    cases: &'a [&'a Case],
) -> Result<Vec<(&'a Case, Places, Told)>, Error> {
    let mut told = Vec::new();
    let wanted: Vec<_> = attempts(cases, Places::Init).collect();
    let mut said = String::new();
    let lines = wait_for("the first process", || {
        said = container.said(ground)?;
        let lines = verdicts(&said);
        Ok((lines.len() >= wanted.len()).then_some(lines))
    })
    .unwrap_or_else(|error| panic!("{}: {error}: {said}", container.id));
    told.extend(
        wanted
            .iter()
            .zip(&lines)
            .map(|((case, _), line)| (*case, Places::Init, Told::by_probe(line))),
    );

    let wanted: Vec<_> = attempts(cases, Places::Exec).collect();
    if !wanted.is_empty() {
        let output = container.exec(ground, each(ground, cases, Places::Exec))?;
        let lines = verdicts(&output.stdout);
        assert_eq!(lines.len(), wanted.len(), "{}: {output:?}", container.id);
        told.extend(
            wanted
                .iter()
                .zip(&lines)
                .map(|((case, _), line)| (*case, Places::Exec, Told::by_probe(line))),
        );
    }

    for case in cases {
        if let See::Node(file, text) = case.see {
            let file = file.replace("{id}", &container.id);
            let found = ground.node.world().read(&file).unwrap_or_default();
            told.push((*case, Places::Init, Told::by_effect(found.contains(text), found)));
        }
    }
    Ok(told)
}

/// The probe's lines.
pub(crate) fn verdicts(text: &str) -> Vec<Value> {
    text.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["attempt"].is_string())
        .collect()
}

impl Container {
    fn said(&self, ground: &Ground) -> Result<String, Error> {
        match self.sandbox {
            None => Ok(ground.node.world().read(format!("{FOLDER}/log")).unwrap_or_default()),
            Some(_) => Ok(ground.node.cri()?.logs(&self.id)?.text()),
        }
    }

    fn exec(&self, ground: &Ground, words: Vec<String>) -> Result<Output, Error> {
        match self.sandbox {
            None => ground.node.ctr().exec(&Exec::new(&self.id, words)),
            Some(_) => ground.node.cri()?.exec_sync(&self.id, words),
        }
    }

    /// # Errors
    /// When it is still there.
    pub(crate) fn remove(self, ground: &Ground) -> Result<(), Error> {
        match self.sandbox {
            None => ground.node.ctr().remove(&self.id),
            Some(sandbox) => ground.node.cri()?.remove_pod(&sandbox),
        }
    }
}
