//! Runs one attempt in a child of its own, so that a signal, a namespace, a root or an identity ends with it.

use serde_json::{Value, json};

use crate::attempts::Attempt;
use crate::errno::Errno;
use crate::sys;
use crate::sys::child::{self, Exit};
use crate::verdict::{Outcome, Report, Stop, Verdict};

/// The longest an attempt may take: a lost packet or a lock must not hold the suite.
const SECONDS: u32 = 20;

/// Judges `attempt`; an error is a usage error.
pub(crate) fn judge(attempt: &'static Attempt, args: &[String]) -> Result<Report, String> {
    if args.len() < attempt.min || args.len() > attempt.max {
        return Err(format!("usage: probe {} {}", attempt.name, attempt.args));
    }
    let verdict = match child::run(|| answer(attempt, args), SECONDS) {
        Ok((bytes, exit)) => read_answer(&bytes, exit)?,
        Err(errno) => {
            Verdict::inconclusive(Some(errno), format!("no child process to try in: {errno}"))
        }
    };
    Ok(Report { attempt: attempt.name, verdict })
}

fn answer(attempt: &Attempt, args: &[String]) -> Vec<u8> {
    let value = match (attempt.run)(args) {
        Ok(verdict) => verdict.to_json(),
        Err(Stop::Unclear(why)) => Verdict::inconclusive(None, why).to_json(),
        Err(Stop::Usage(message)) => json!({ "usage": message }),
    };
    value.to_string().into_bytes()
}

/// A child that answered is believed, however it ended; one that did not is judged by its end.
pub(crate) fn read_answer(bytes: &[u8], exit: Exit) -> Result<Verdict, String> {
    let value: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
    if let Some(message) = value.get("usage").and_then(Value::as_str) {
        return Err(message.to_owned());
    }
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    if let Some(outcome) = text("outcome").and_then(Outcome::named) {
        return Ok(Verdict {
            outcome,
            errno: text("errno").and_then(number),
            signal: None,
            detail: text("detail").unwrap_or_default().to_owned(),
        });
    }
    Ok(match exit {
        Exit::Signal(libc::SIGALRM) => {
            Verdict::inconclusive(None, format!("no answer within {SECONDS} seconds"))
        }
        Exit::Signal(libc::SIGABRT) => Verdict::inconclusive(None, "the attempt itself failed"),
        Exit::Signal(signal) => Verdict {
            outcome: Outcome::Killed,
            errno: None,
            signal: Some(signal),
            detail: format!("the attempting process was killed by {}", sys::signal_name(signal)),
        },
        Exit::Code(code) => {
            Verdict::inconclusive(None, format!("the attempt ended without answer, code {code}"))
        }
    })
}

fn number(name: &str) -> Option<Errno> {
    Errno::named(name).or_else(|| name.strip_prefix("E#")?.parse().ok().map(Errno))
}
