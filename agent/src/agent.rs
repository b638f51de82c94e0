//! The agent at work: hears the API server, writes sets, reports.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use coaming_policy::document::Moment;
use coaming_shim::config::Node;
use coaming_shim::in_force::{Access, Keeper};
use coaming_shim::journal as node_journal;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::{interval, sleep_until, timeout};

use crate::directory::{Directory, Written};
use crate::error::AgentError;
use crate::journal::{Follower, Limit, told};
use crate::report::{self, InForce, Report, Reporter, place_within, seconds};
use crate::set::{Fault, Rendered, render};
use crate::watch::{self, Watched};

/// How long changes are waited for at most before those that came are taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the journal is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// At which look at what is in force the directory is held against the objects, though none of them changed.
const LOOKS_PER_WRITE: u64 = 10;
/// How often a report is written anew that says what it said, so that one can be told from one of a node that is gone.
const AFRESH: u64 = 6 * 3600;

/// Where a node's policies and journal are.
#[derive(Debug)]
pub struct Place {
    /// Its policy directory.
    pub directory: Directory,
    /// Who keeps the set in force; it is only looked at.
    pub keeper: Keeper,
    /// The folder of its journal.
    pub journal: PathBuf,
}

/// How the agent works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node's name.
    pub node: String,
    /// The namespace of its ConfigMaps.
    pub namespace: String,
    /// Within how many seconds a change is reported.
    pub report_within: u64,
    /// How many seconds after a report that was not taken the next is tried, at least.
    pub after_failure: u64,
    /// How often is looked at what is in force.
    pub look: Duration,
    /// Whether Events are written.
    pub events: bool,
    /// For how long nothing must have been heard before what was heard is taken for a set.
    pub quiet: Duration,
}

impl Place {
    /// This node's, as its configuration has it.
    ///
    /// # Errors
    /// A configuration that cannot be read.
    pub fn of_this_node() -> Result<Place, AgentError> {
        let node = Node::load("coaming-agent").map_err(AgentError::Configuration)?;
        let policy = node.configuration().policy.clone();
        Ok(Place {
            directory: Directory::of(node.policy_directory(), policy),
            keeper: node.keeper(),
            journal: node_journal::FOLDER.into(),
        })
    }
}

/// What is known and has been done.
struct State {
    place: Place,
    /// The set that stands in the directory.
    written: Option<report::Written>,
    /// What is wrong with the one that should.
    faults: Vec<Fault>,
    in_force: InForce,
    skew: Option<i64>,
}

/// Works until `end` comes.
///
/// # Errors
/// None that mends itself by waiting: those are logged and reported.
pub async fn run(
    client: Client,
    place: Place,
    settings: Settings,
    end: impl Future<Output = ()>,
) -> Result<(), AgentError> {
    let mut heard = watch::everything(&client, &settings.namespace);
    let mut watched = Watched::default();
    let mut follower = Follower::of(&place.journal);
    let mut limit = Limit::default();
    let mut reporter = Reporter::of(client.clone(), &settings.node);
    let began = Instant::now();
    let mut state = State {
        place,
        written: None,
        faults: Vec::new(),
        in_force: InForce::default(),
        skew: None,
    };
    state.look_at_force();
    let mut last: Option<Report> = None;
    let (mut changed, mut first_change) = (None::<Instant>, None::<Instant>);
    let (mut report_at, mut not_before) = (began + Duration::from_secs(AFRESH), began);
    let mut looks = interval(LOOK);
    let (mut force, mut looked) = (interval(settings.look), 0_u64);
    let mut end = std::pin::pin!(end);
    loop {
        let due = changed.zip(first_change);
        let due = due.map(|(last, first)| (last + settings.quiet).min(first + PATIENCE));
        tokio::select! {
            () = &mut end => return Ok(()),
            next = heard.next() => {
                let Some((source, what)) = next else { return Ok(()) };
                if watched.take(source, what) {
                    changed = Some(Instant::now());
                    first_change.get_or_insert_with(Instant::now);
                }
            }
            () = at(due) => {
                (changed, first_change) = (None, None);
                state.bring(&watched);
            }
            _ = force.tick() => {
                looked += 1;
                // What kept a set from being written may be mended, and what was written may be gone.
                match state.faults.is_empty() && looked % LOOKS_PER_WRITE != 0 {
                    true => state.look_at_force(),
                    false => state.bring(&watched),
                }
            }
            _ = looks.tick() => {
                if settings.events {
                    tell(&client, &settings.node, &mut follower, &mut limit, began).await;
                }
            }
            () = sleep_until(report_at.into()) => {
                let report = state.report(&watched);
                let later = match reporter.write(&report, Timestamp::now()).await {
                    Ok(skew) => {
                        state.skew = skew;
                        last = Some(report);
                        AFRESH + place_within(AFRESH / 4, &[&settings.node])
                    }
                    Err(error) => {
                        log(&error.to_string());
                        let later = settings.after_failure + place_within(settings.report_within, &[&settings.node]);
                        not_before = Instant::now() + Duration::from_secs(later);
                        later
                    }
                };
                report_at = Instant::now() + Duration::from_secs(later);
            }
        }
        // Each node at its own place in the span, which is another one for the next change.
        let report = state.report(&watched);
        if last.as_ref() != Some(&report) && (watched.cluster().is_some() || report.error_count > 0)
        {
            let words =
                [settings.node.as_str(), report.in_force.digest.as_deref().unwrap_or_default()];
            let soon =
                Instant::now() + Duration::from_secs(place_within(settings.report_within, &words));
            report_at = report_at.min(soon.max(not_before));
        }
    }
}

impl State {
    /// Brings the cluster's objects into the directory, if they are a set and a right one.
    fn bring(&mut self, watched: &Watched) {
        let Some(cluster) = watched.cluster() else { return };
        let written = match render(cluster) {
            Ok(set) => match self.place.directory.write(&set) {
                Ok(written) => written_as(written, &set, &mut self.written),
                Err(error) => Err(vec![Fault { object: None, message: error.to_string() }]),
            },
            Err(faults) => Err(faults),
        };
        let faults = written.err().unwrap_or_default();
        for Fault { object, message } in faults.iter().filter(|fault| !self.faults.contains(fault))
        {
            let object = object.as_deref().unwrap_or("the set");
            log(&format!("not written, and what was written before stays: {object}: {message}"));
        }
        self.faults = faults;
        self.look_at_force();
    }

    /// What a start would be held to now: read as a start reads it, and nothing written.
    fn look_at_force(&mut self) {
        self.in_force = match self.place.keeper.in_force(Access::Look) {
            Ok(set) => InForce {
                digest: set.digest_in_hex(),
                since: set.accepted.map(|at| Moment(at).to_string()),
                alarm: set.alarm().map(|alarm| report::short(&alarm, 2000)),
            },
            Err(error) => InForce {
                alarm: Some(report::short(&format!("no container starts: {error}"), 2000)),
                ..InForce::default()
            },
        };
    }

    fn report(&self, watched: &Watched) -> Report {
        let mut report = Report {
            agent: env!("CARGO_PKG_VERSION"),
            clock_skew_seconds: self.skew,
            written: self.written.clone(),
            in_force: self.in_force.clone(),
            ..Report::default()
        };
        report.blame(self.faults.iter().cloned());
        report.blame(watched.trouble().map(|message| Fault { object: None, message }));
        report
    }
}

fn written_as(
    written: Written,
    set: &Rendered,
    known: &mut Option<report::Written>,
) -> Result<(), Vec<Fault>> {
    if let Written::Refused(faults) = written {
        return Err(faults);
    }
    let now = report::Written {
        digest: set.digest(),
        policies: set.policies,
        waivers: set.waivers,
        profiles: set.profiles.len(),
        signed: set.signed.is_some(),
    };
    if written == Written::Anew {
        log(&format!(
            "{} policies, {} waivers, {} profiles written",
            now.policies, now.waivers, now.profiles
        ));
    }
    *known = Some(now);
    Ok(())
}

/// Tells what the journal says of pods, as far as the limit lets.
async fn tell(
    client: &Client,
    node: &str,
    follower: &mut Follower,
    limit: &mut Limit,
    began: Instant,
) {
    let lines = match follower.new_lines() {
        Ok(lines) => lines,
        Err(error) => return log(&error.to_string()),
    };
    for line in lines {
        let Some(told) = told(&line) else { continue };
        if !limit.lets(&told, began.elapsed()) {
            continue;
        }
        let event = told.event(node, line.seq, &seconds(Timestamp::now()));
        let Ok(event) = serde_json::from_value::<Event>(event) else { continue };
        let events = Api::<Event>::namespaced(client.clone(), &told.pod.0);
        // The journal has it; an Event that is lost is lost.
        let written = timeout(report::ANSWER, events.create(&PostParams::default(), &event)).await;
        let why = match &written {
            Ok(Ok(_)) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        log(&format!("cannot write an Event of {}/{}: {why}", told.pod.0, told.pod.1));
        // Whatever else there is would be waited for as long.
        if written.is_err() {
            return;
        }
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Ends when the process is told to: SIGTERM, as a pod is ended, or SIGINT.
///
/// # Errors
/// Signals that cannot be listened to.
pub fn terminated() -> Result<impl Future<Output = ()>, AgentError> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen =
        |kind| signal(kind).map_err(|error| AgentError::Client(format!("no signals: {error}")));
    let (mut end, mut interrupt) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = end.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Says something in the pod's log.
pub fn log(words: &str) {
    eprintln!("coaming-agent: {}", words.replace(['\n', '\r'], " "));
}
