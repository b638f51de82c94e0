//! `update`: new limits for a container, held to the floor's ceilings.

use std::io::{Read, stdin};

use coaming_policy::controls::{Asked, Finding, Node, Rule};
use coaming_policy::facts::Door;
use coaming_policy::floor::Source;
use coaming_policy::json;
use coaming_policy::verdict::Reason;
use serde_json::{Map, Value, json};

use super::{Gate, GateError, Handover, account, read_named, refused};
use crate::argv::{Command, Global, Invocation, Resources, Update};
use crate::handoff::ProcessFile;
use crate::journal::event::{Container, Decision};
use crate::record::Record;

impl Gate {
    pub(super) fn update(
        &self,
        global: Global,
        update: Update,
        decision: &mut Decision,
    ) -> Result<Handover, GateError> {
        let id = update.id.as_str().to_owned();
        let record = Record::read(&self.state_of(&global, &id))?;
        let mut facts = record.facts_for(Door::Update);
        decision.container = Container::of(&facts);
        let (policies, demands) = self.demanding(&global, &mut facts)?;
        account::under(decision, &policies);
        let floor = record.floor_for(Door::Update).meet(&demands.floor);
        let document = match &update.resources {
            None => None,
            Some(Resources::File(path)) => Some((path.display().to_string(), read_named(path)?)),
            Some(Resources::Stdin) => {
                let mut bytes = Vec::new();
                let limit = json::MAX_BYTES as u64 + 1;
                stdin()
                    .take(limit)
                    .read_to_end(&mut bytes)
                    .map_err(|error| GateError::Read { path: "standard input".into(), error })?;
                Some(("standard input".to_owned(), bytes))
            }
        };
        let asked = match &document {
            Some((what, bytes)) => json::parse_resources(bytes)
                .map_err(|error| GateError::Json { what: what.clone(), error })?,
            None => of_flags(&update),
        };
        let mut reasons = Vec::new();
        for clause in floor.resources.clauses() {
            let findings = clause.rule.check_update(&asked);
            let source = &clause.source;
            reasons
                .extend(findings.into_iter().map(|finding| reason("resources", finding, source)));
        }
        // Cache and bandwidth schemas are a field of their own in the spec.
        if ["l3-cache-schema", "mem-bw-schema"].iter().any(|flag| update.limits.contains_key(flag))
        {
            let spec = json!({"linux": {"intelRdt": {}}});
            let node = Node::default();
            let asked = Asked::of(&spec, &facts, &node);
            for clause in floor.fields.clauses() {
                let findings = clause.rule.tighten(&asked);
                let source = &clause.source;
                reasons
                    .extend(findings.into_iter().map(|finding| reason("fields", finding, source)));
            }
        }
        if !reasons.is_empty() {
            return Err(refused("update", &id, reasons));
        }
        // What was judged is what the runtime reads: the document goes on in memory.
        let Some((_, bytes)) = document else {
            return Ok(Handover::of(&Invocation { global, command: Command::Update(update) }));
        };
        let sealed = ProcessFile::seal(&bytes, 0)?;
        let update = Update { resources: Some(Resources::File(sealed.path())), ..update };
        let handover = Handover::of(&Invocation { global, command: Command::Update(update) });
        Ok(Handover { document: Some(sealed), ..handover })
    }
}

fn reason(control: &str, finding: Finding, source: &Source) -> Reason {
    Reason {
        control: control.to_owned(),
        field: finding.field,
        asked: finding.asked,
        allowed: finding.allowed,
        policy: Some(source.clone()),
    }
}

/// The limits that flags name, as the document would have them. A number that cannot be read is for
/// the runtime to refuse, and is judged as unlimited.
fn of_flags(update: &Update) -> Value {
    let number =
        |flag: &str| Some(json!(update.limits.get(flag)?.to_str().and_then(bytes).unwrap_or(-1)));
    let mut memory = Map::new();
    for (flag, key) in [("memory", "limit"), ("memory-swap", "swap")] {
        if let Some(value) = number(flag) {
            memory.insert(key.to_owned(), value);
        }
    }
    let mut resources = Map::new();
    if !memory.is_empty() {
        resources.insert("memory".to_owned(), memory.into());
    }
    if let Some(limit) = number("pids-limit") {
        resources.insert("pids".to_owned(), json!({"limit": limit}));
    }
    resources.into()
}

/// A number with a binary unit, as runc reads it (docker/go-units, RAMInBytes): `64M`, `64MiB`, `1g`.
fn bytes(text: &str) -> Option<i64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = lower.strip_prefix(digits)?;
    let unit = unit.strip_suffix('b').unwrap_or(unit);
    let power = match unit.strip_suffix('i').unwrap_or(unit) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    digits.trim().parse::<i64>().ok()?.checked_mul(1024_i64.checked_pow(power)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_units() {
        assert_eq!(bytes("67108864"), Some(64 << 20));
        assert_eq!(bytes("64M"), Some(64 << 20));
        assert_eq!(bytes("64MiB"), Some(64 << 20));
        assert_eq!(bytes("1gb"), Some(1 << 30));
        assert_eq!(bytes("-1"), Some(-1));
        for text in ["", "m", "1x", "1.5g", "9999999999999p"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
