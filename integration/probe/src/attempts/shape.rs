//! What a container was made with, as its processes see it: limits, ids, and what /proc tells of them.

use std::fs;

use serde_json::Value;

use super::{Attempt, number, text, with};
use crate::errno::Errno;
use crate::state;
use crate::sys::child::Companion;
use crate::verdict::{Judged, Reading, Verdict};

pub(super) const ATTEMPTS: &[Attempt] = &[
    with("processes", "<count>", (1, 1), "have that many children at once", processes),
    with("holds", "<path> <text>", (2, 2), "does that file hold the text?", holds),
    with(
        "status-has",
        "<pointer> <value>",
        (2, 2),
        "does `status` have that value at the JSON pointer, or that element?",
        status_has,
    ),
];

fn processes(args: &[String]) -> Judged {
    let count: usize = number(args, 0, 0)?;
    let mut held = Vec::new();
    for made in 0..count {
        match Companion::start() {
            Ok(companion) => held.push(companion),
            Err(errno) => {
                return Ok(Reading::ALWAYS
                    .judge_errno(&format!("have {count} children: after {made}"), errno));
            }
        }
    }
    Ok(Verdict::allowed(format!("{count} children at once")))
}

fn holds(args: &[String]) -> Judged {
    let (path, wanted) = (text(args, 0, ""), text(args, 1, ""));
    Ok(match fs::read_to_string(path).map_err(Errno::from) {
        Err(errno) => Reading { absent: &[libc::ENOENT], ..Reading::ALWAYS }
            .judge_errno(&format!("read {path}"), errno),
        Ok(found) => told(found.contains(wanted), &format!("{path}: {:?}", found.trim_end())),
    })
}

fn status_has(args: &[String]) -> Judged {
    let (pointer, wanted) = (text(args, 0, ""), text(args, 1, ""));
    let status = state::status("");
    let Some(found) = status.pointer(pointer) else {
        return Ok(Verdict::unsupported(None, format!("status has no {pointer}")));
    };
    let parsed = serde_json::from_str::<Value>(wanted).ok();
    let is = |value: &Value| value.as_str() == Some(wanted) || Some(value) == parsed.as_ref();
    let has = is(found) || found.as_array().is_some_and(|values| values.iter().any(is));
    Ok(told(has, &format!("{pointer}: {found}")))
}

fn told(yes: bool, evidence: &str) -> Verdict {
    if yes { Verdict::allowed(evidence) } else { Verdict::denied(None, evidence) }
}
