//! A state on a hook's stdin, held against the runtime-spec (1.2, runtime.md, "State").

use serde_json::Value;

use crate::{Phase, StateSeen};

const FIELDS: [&str; 6] = ["ociVersion", "id", "status", "pid", "bundle", "annotations"];

/// Says what is in a state, and what is wrong with it for a hook of this phase.
pub(crate) fn examine(bytes: &[u8], phase: Phase) -> StateSeen {
    let mut seen = StateSeen::default();
    let state: Value = match serde_json::from_slice(bytes) {
        Ok(state) => state,
        Err(error) => {
            seen.problems.push(format!("it is not JSON: {error}"));
            return seen;
        }
    };
    let Some(fields) = state.as_object() else {
        seen.problems.push("it is not a JSON object".to_owned());
        return seen;
    };
    seen.more = fields.keys().filter(|key| !FIELDS.contains(&key.as_str())).cloned().collect();
    let text = |field: &str| fields.get(field).and_then(Value::as_str).map(str::to_owned);
    for field in ["ociVersion", "id", "status", "bundle"] {
        match text(field) {
            None => seen.problems.push(format!("{field} is missing, or no string")),
            Some(value) if value.is_empty() => seen.problems.push(format!("{field} is empty")),
            Some(_) => {}
        }
    }
    seen.id = text("id");
    seen.status = text("status");
    seen.bundle = text("bundle");
    seen.pid = fields.get("pid").and_then(Value::as_i64);
    if let Some(status) = seen.status.as_deref().filter(|status| !phase.statuses().contains(status))
    {
        let expected = phase.statuses().join(" or ");
        seen.problems.push(format!("status is {status}, and should be {expected} in {phase}"));
    }
    if seen.bundle.as_ref().is_some_and(|bundle| !bundle.starts_with('/')) {
        seen.problems.push("bundle is not an absolute path".to_owned());
    }
    // On Linux required while there is a process.
    let has_process = matches!(seen.status.as_deref(), Some("created" | "running"));
    if has_process && seen.pid.is_none_or(|pid| pid <= 0) {
        seen.problems.push("pid is missing, or not a process's".to_owned());
    }
    match fields.get("annotations") {
        None | Some(Value::Null) => {}
        Some(Value::Object(map)) if map.values().all(Value::is_string) => {}
        Some(_) => seen.problems.push("annotations are not a map of strings".to_owned()),
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        r#"{"ociVersion":"1.0.2","id":"c","status":"creating","pid":7,"bundle":"/b","root":"/r"}"#;

    fn problems(text: &str, phase: Phase) -> String {
        examine(text.as_bytes(), phase).problems.join("; ")
    }

    #[test]
    fn a_good_state_has_no_problem() {
        let seen = examine(GOOD.as_bytes(), Phase::CreateRuntime);
        assert_eq!(seen.problems, [""; 0]);
        assert_eq!((seen.id.as_deref(), seen.pid), (Some("c"), Some(7)));
        assert_eq!(seen.more.iter().collect::<Vec<_>>(), ["root"]);
    }

    #[test]
    fn each_departure_is_named() {
        let changed = |from: &str, to: &str| GOOD.replacen(from, to, 1);
        let create = Phase::CreateRuntime;
        assert!(problems("{", create).contains("not JSON"));
        assert!(problems("[]", create).contains("not a JSON object"));
        assert!(problems(&changed("\"id\":\"c\",", ""), create).contains("id is missing"));
        assert!(problems(&changed("/b", ""), create).contains("bundle is empty"));
        assert!(problems(&changed("/b", "b"), create).contains("absolute"));
        assert!(problems(&changed("creating", "running"), create).contains("status is running"));
        assert!(problems(GOOD, Phase::Poststop).contains("should be stopped"));
        let running = changed("creating", "running").replacen("\"pid\":7", "\"pid\":0", 1);
        assert!(problems(&running, Phase::Poststart).contains("pid"));
        let annotated = changed("\"root\":\"/r\"", "\"annotations\":{\"a\":1}");
        assert!(problems(&annotated, create).contains("annotations"));
    }
}
