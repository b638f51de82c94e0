//! Holds every attempt, in every way, against what the same request gives under the stock runtime.

use coaming_integration::{Door, Error};
use serde_json::Value;

use crate::attempts::{ALL, Attempt, Floor, STRICT};
use crate::drive::Side;
use crate::ways::{Caller, Request, Said, Way};

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It works under the stock runtime, and here it ended so.
    Stopped(String),
    /// It did not work under the stock runtime either, as said, and did not work here.
    NotShown(String),
    /// It worked.
    Through,
    /// What was said shows nothing.
    Unclear(String),
}

/// One attempt in one way.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) attempt: &'static Attempt,
    pub(crate) caller: Caller,
    pub(crate) way: Way,
    pub(crate) floor: Floor,
    pub(crate) outcome: Outcome,
}

/// Somewhere with callers: a containerd's node, an engine's world.
pub(crate) trait Place {
    fn callers(&self) -> &'static [Caller];

    /// The ways to coaming that its callers can be sent; each is taken by turns.
    fn doors(&self) -> &[Door];

    /// A policy's `spec` above the floor `baseline`, from now on.
    ///
    /// # Errors
    /// The file system's.
    fn enforce(&self, policy: &str) -> Result<(), Error>;

    /// Asks in each way that the caller has.
    ///
    /// # Errors
    /// The harness's, and the runtime's where it does not start.
    fn ask(&self, caller: Caller, request: &Request<'_>) -> Result<Said, Error>;
}

/// Every caller in turn; the rows, and what is not as it should be, a line each.
///
/// # Errors
/// The harness's own.
pub(crate) fn hold(place: &impl Place) -> Result<(Vec<Row>, Vec<String>), Error> {
    let (mut rows, mut surprises) = (Vec::new(), Vec::new());
    for (turn, caller) in place.callers().iter().copied().enumerate() {
        let asked = |name: &str, side, floor| {
            let command = |way| words(floor, way);
            let name = format!("{}-{name}", caller.title().replace(' ', "-").to_lowercase());
            place.ask(caller, &Request { name: &name, side, command: &command })
        };
        let stock = match asked("stock", Side::Stock, Floor::Strict) {
            Ok(said) => said,
            Err(why) => {
                surprises.push(format!("{} under stock does not run: {why}", caller.title()));
                continue;
            }
        };
        for (number, (floor, policy)) in
            [(Floor::Baseline, ""), (Floor::Strict, STRICT)].into_iter().enumerate()
        {
            place.enforce(policy)?;
            let doors = place.doors();
            let door = doors[(turn + number) % doors.len()];
            match asked(&format!("coaming-{number}"), Side::Coaming(door), floor) {
                Err(why) => {
                    surprises.push(format!("{} through {door:?}: {why}", caller.title()));
                }
                Ok(ours) => {
                    for (way, said) in &ours {
                        compare(caller, *way, floor, &stock, said, &mut rows, &mut surprises);
                    }
                }
            }
        }
    }
    Ok((rows, surprises))
}

/// The attempts that a floor is shown by in one way. The stricter floor is held to the other's as well.
fn attempts(floor: Floor, way: Way) -> impl Iterator<Item = &'static Attempt> {
    ALL.iter()
        .filter(move |attempt| floor == Floor::Strict || attempt.floor == Floor::Baseline)
        .filter(move |attempt| !attempt.beside || way.is_beside())
}

fn words(floor: Floor, way: Way) -> Vec<String> {
    let mut words = ["/bin/probe", "each"].map(str::to_owned).to_vec();
    for (number, attempt) in attempts(floor, way).enumerate() {
        if number > 0 {
            words.push("--".to_owned());
        }
        words.extend(attempt.words.split(' ').map(str::to_owned));
    }
    words
}

fn compare(
    caller: Caller,
    way: Way,
    floor: Floor,
    stock: &Said,
    ours: &[Value],
    rows: &mut Vec<Row>,
    surprises: &mut Vec<String>,
) {
    let none = Vec::new();
    let stock = stock.iter().find(|(said, _)| *said == way).map_or(&none, |(_, lines)| lines);
    let all: Vec<_> = attempts(Floor::Strict, way).collect();
    let held: Vec<_> = attempts(floor, way).collect();
    if stock.len() != all.len() || ours.len() != held.len() {
        surprises.push(format!(
            "{}, {}: {} answers under stock and {} under coaming, of {} and {}",
            caller.title(),
            way.title(),
            stock.len(),
            ours.len(),
            all.len(),
            held.len()
        ));
        return;
    }
    for (attempt, line) in held.into_iter().zip(ours) {
        let Some(at) = all.iter().position(|known| known.words == attempt.words) else { continue };
        let outcome = judge(attempt, caller.is_wide(way), &stock[at], line);
        let wrong = match &outcome {
            Outcome::Stopped(_) | Outcome::NotShown(_) => None,
            Outcome::Through => Some("GOT THROUGH".to_owned()),
            Outcome::Unclear(why) => Some(why.clone()),
        };
        surprises.extend(wrong.map(|wrong| {
            let (caller, way) = (caller.title(), way.title());
            format!(
                "{:?}, {caller}, {way}, {floor:?}: {wrong}\n  stock {}\n  ours  {line}",
                attempt.words, stock[at]
            )
        }));
        rows.push(Row { attempt, caller, way, floor, outcome });
    }
}

fn judge(attempt: &Attempt, wide: bool, stock: &Value, ours: &Value) -> Outcome {
    let outcome = |line: &Value| line["outcome"].as_str().unwrap_or_default().to_owned();
    let told = |line: &Value| {
        let reason = ["errno", "signal"].iter().find_map(|key| line[*key].as_str());
        reason.map_or_else(|| outcome(line), str::to_owned)
    };
    let (before, after) = (outcome(stock), outcome(ours));
    if after == "allowed" {
        return Outcome::Through;
    }
    if !["denied", "killed", "unsupported"].contains(&after.as_str()) {
        return Outcome::Unclear(format!("coaming's answer shows nothing: {after:?}"));
    }
    if before == "allowed" {
        return Outcome::Stopped(told(ours));
    }
    match attempt.needs {
        Some(what) => Outcome::NotShown(format!("{} ({what})", told(stock))),
        None if attempt.privileged && !wide => Outcome::NotShown("not asked for".to_owned()),
        None => Outcome::Unclear("it does not work under the stock runtime".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(outcome: &str) -> Value {
        json!({"outcome": outcome, "errno": "EPERM"})
    }

    #[test]
    fn nothing_counts_as_stopped_that_was_not_seen_to_work() {
        let plain = &ALL[0];
        let lacking = Attempt { needs: Some("a thing"), ..*plain };
        let judged =
            |attempt: &Attempt, stock, ours| judge(attempt, true, &line(stock), &line(ours));
        assert_eq!(judged(plain, "allowed", "denied"), Outcome::Stopped("EPERM".to_owned()));
        assert_eq!(judged(plain, "allowed", "allowed"), Outcome::Through);
        assert_eq!(judged(&lacking, "unsupported", "allowed"), Outcome::Through);
        assert!(matches!(judged(plain, "denied", "denied"), Outcome::Unclear(_)));
        assert!(matches!(judged(plain, "allowed", "inconclusive"), Outcome::Unclear(_)));
        assert!(matches!(judged(&lacking, "unsupported", "denied"), Outcome::NotShown(_)));
    }
}
