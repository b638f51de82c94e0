//! Plays every scenario on two stages of one node at once, and compares.

use std::sync::Mutex;

use coaming_integration::task_api::Shim;
use coaming_integration::{
    Bundle, Containerd, Error, Events, Node, NodeConfig, Runtime, SHIM_TYPE, configuration,
    default_spec, residue,
};

use crate::differences::{self, Difference};
use crate::restart;
use crate::scenarios::{self, Scenario};
use crate::stage::Stage;
use crate::transcript::{Parting, Transcript};

/// Who plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Play {
    StockAndOurs,
    StockTwice,
}

/// Some answers of the stock shim and of containerd depend on what comes first. What is unlike in each of so many plays is
/// so of itself; what is unlike in one is shown.
const ATTEMPTS: usize = 3;

/// The containerd namespaces of the two stages.
const NAMESPACES: [&str; 2] = ["first", "second"];

/// What is not as it should be, a paragraph each.
///
/// # Errors
/// The harness's own.
pub(crate) fn plays(
    containerd: Containerd,
    runtime: Runtime,
    play: Play,
) -> Result<Vec<String>, Error> {
    let node = Node::start(NodeConfig::new(containerd, runtime))?;
    let world = node.world();
    world.install_coaming()?;
    world.write("/etc/coaming/config.toml", configuration(runtime, "node"), 0o644)?;
    let events = Events::subscribe(&node)?;
    let mut roots = Vec::new();
    for namespace in NAMESPACES {
        let bundle = Bundle::new(world, namespace, &default_spec(namespace, ["unused"])?)?;
        roots.push(bundle.path().join("rootfs").display().to_string());
    }
    // Parts of names, with commas between.
    let wanted = std::env::var("COAMING_SCENARIO").ok().filter(|wanted| !wanted.is_empty());
    let is_wanted = |name: &str| {
        let any = |wanted: &String| wanted.split(',').any(|word| name.contains(word));
        wanted.as_ref().is_none_or(any)
    };
    let scenarios: Vec<Scenario> =
        scenarios::all().into_iter().filter(|scenario| is_wanted(scenario.name)).collect();
    let stock = Shim::stock(runtime.wrapper_path());
    let ours = match play {
        Play::StockAndOurs => Shim { runtime: SHIM_TYPE.to_owned(), ..stock.clone() },
        Play::StockTwice => stock.clone(),
    };
    let shims = [stock, ours];
    let all = both(&node, &events, &shims, &roots, &scenarios);
    let mut judge =
        Judge { containerd, runtime, play, is_shown: wanted.is_some(), surprises: Vec::new() };
    for (number, scenario) in scenarios.iter().enumerate() {
        if let [Some(first), Some(second)] = [&all[0], &all[1]].map(|all| all.get(number)) {
            let mut surprises = judge.compare(scenario.name, first.as_ref(), second.as_ref());
            for attempt in 1..ATTEMPTS {
                if surprises.is_empty() {
                    break;
                }
                eprintln!(
                    "{containerd} with {runtime}, played again after:\n{}",
                    surprises.join("\n")
                );
                let [first, second] = [0, 1].map(|stage| {
                    let namespace = format!("{}-{attempt}", NAMESPACES[stage]);
                    played(&node, &events, &shims[stage], &namespace, &roots[stage], *scenario)
                });
                surprises = judge.compare(scenario.name, first.as_ref(), second.as_ref());
            }
            judge.surprises.extend(surprises);
        }
    }
    if is_wanted(restart::name()) {
        let [first, second] = &shims;
        let stage = |shim: &Shim, number: usize| {
            let tasks = node.tasks(NAMESPACES[number])?;
            let root = roots[number].clone();
            Ok::<_, Error>(Stage::new(tasks, &events, shim.clone(), root, restart::name()))
        };
        let [first, second] = restart::play(&node, [stage(first, 0)?, stage(second, 1)?])?;
        let surprises = judge.compare(restart::name(), Ok(&first), Ok(&second));
        judge.surprises.extend(surprises);
    }
    let mut surprises = judge.surprises;
    // Sockets have been looked for by the names of their containers.
    let mut left = residue::of_all(world);
    left.retain(|path| !path.starts_with("/run/containerd/s/"));
    surprises.extend(left.into_iter().map(|path| format!("left behind: {path}")));
    Ok(surprises)
}

/// Every scenario on both stages at once, in lanes: of each scenario the most is waiting.
fn both(
    node: &Node,
    events: &Events,
    shims: &[Shim; 2],
    roots: &[String],
    scenarios: &[Scenario],
) -> [Vec<Result<Transcript, Error>>; 2] {
    const LANES: usize = 2;
    std::thread::scope(|scope| {
        let stages = [0, 1].map(|stage| {
            [0, 1].map(|lane| {
                scope.spawn(move || {
                    let (shim, namespace) = (&shims[stage], NAMESPACES[stage]);
                    let play = |scenario: &Scenario| {
                        played(node, events, shim, namespace, &roots[stage], *scenario)
                    };
                    let own = scenarios.iter().skip(lane).step_by(LANES);
                    own.map(play).collect::<Vec<_>>()
                })
            })
        });
        stages.map(|lanes| {
            let [even, odd] = lanes
                .map(|lane| lane.join().unwrap_or_else(|_| panic!("a stage fell down")))
                .map(Vec::into_iter);
            let mut lanes = [even, odd];
            (0..scenarios.len()).filter_map(|number| lanes[number % LANES].next()).collect()
        })
    })
}

fn played(
    node: &Node,
    events: &Events,
    shim: &Shim,
    namespace: &str,
    root: &str,
    scenario: Scenario,
) -> Result<Transcript, Error> {
    static SLOW: Mutex<()> = Mutex::new(());
    let start = std::time::Instant::now();
    let stage =
        Stage::new(node.tasks(namespace)?, events, shim.clone(), root.to_owned(), scenario.name);
    let ended = (scenario.play)(&stage);
    let transcript = stage.close()?;
    if std::env::var_os("COAMING_TIMES").is_some() {
        let _one = SLOW.lock();
        eprintln!("{namespace} {} took {:?}", scenario.name, start.elapsed());
    }
    match ended {
        Ok(()) => Ok(transcript),
        Err(error) => Err(Error::Unavailable(format!("{namespace}: {error}\n{transcript}"))),
    }
}

struct Judge {
    containerd: Containerd,
    runtime: Runtime,
    play: Play,
    is_shown: bool,
    surprises: Vec<String>,
}

impl Judge {
    fn compare(
        &self,
        scenario: &str,
        first: Result<&Transcript, &Error>,
        second: Result<&Transcript, &Error>,
    ) -> Vec<String> {
        let (first, second) = match (first, second) {
            (Ok(first), Ok(second)) => (first, second),
            (first, second) => {
                let errors = [first.err(), second.err()].into_iter().flatten();
                return errors.map(|error| format!("{scenario}: {error}")).collect();
            }
        };
        if self.is_shown {
            eprintln!("{scenario}\n{first}\n{second}");
        }
        let known = if self.play == Play::StockTwice { &[] } else { differences::ALL };
        let here: Vec<&Difference> = known
            .iter()
            .filter(|known| known.scenario == scenario && (known.on)(self.containerd, self.runtime))
            .collect();
        let surprises = unexpected(&first.partings(second), &here);
        surprises.into_iter().map(|surprise| format!("{scenario}: {surprise}")).collect()
    }
}

/// What parts and is not in the table, and what is in the table and does not part.
fn unexpected(partings: &[Parting], known: &[&Difference]) -> Vec<String> {
    let is_it = |difference: &Difference, parting: &Parting| {
        difference.what == differences::WHOLE
            || (difference.what, difference.stock, difference.ours)
                == (parting.what.as_str(), parting.stock.as_str(), parting.ours.as_str())
    };
    let new = partings
        .iter()
        .filter(|parting| !known.iter().any(|difference| is_it(difference, parting)))
        .map(ToString::to_string);
    let gone = known
        .iter()
        .filter(|difference| !partings.iter().any(|parting| is_it(difference, parting)))
        .map(|difference| {
            format!(
                "{} is listed as different ({}, {}), which it is not any more; its reason was: {}",
                difference.what, difference.stock, difference.ours, difference.why
            )
        });
    new.chain(gone).collect()
}

#[test]
fn a_listed_difference_must_occur_and_an_unlisted_must_not() {
    let transcript = |value: &str| {
        let mut transcript = Transcript::default();
        transcript.push("delete a", value.to_owned(), String::new());
        transcript
    };
    let listed = Difference {
        scenario: "any",
        what: "delete a",
        stock: "ok",
        ours: "NotFound",
        on: |_, _| true,
        why: "a reason",
    };
    let (ok, gone, other) = (transcript("ok"), transcript("NotFound"), transcript("Unknown"));
    assert!(unexpected(&ok.partings(&gone), &[&listed]).is_empty());
    assert_eq!(unexpected(&ok.partings(&gone), &[]).len(), 1);
    assert_eq!(unexpected(&ok.partings(&ok), &[&listed]).len(), 1);
    assert_eq!(unexpected(&ok.partings(&other), &[&listed]).len(), 2);
}
