//! What the agent tells the API server of its node: one small object, written when it says something else than before.

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff;
use std::time::Duration;

use kube::Client;
use kube::api::{Patch, PatchParams};
use kube::client::Body;
use kube::core::Request;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use tokio::time::timeout;

use crate::error::AgentError;
use crate::set::Fault;

/// How long an answer of the API server is waited for.
pub(crate) const ANSWER: Duration = Duration::from_secs(30);
/// The most errors that are told.
const MAX_ERRORS: usize = 20;
/// The most characters of a message.
const MAX_MESSAGE: usize = 1000;
/// Below this a difference between two clocks is not told, in seconds; what is told is a multiple of it.
const SKEW_STEP: i64 = 30;

/// What a node's agent reports: `status` of a `NodeReport`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The agent's version.
    pub agent: &'static str,
    /// By how much the node's clock is ahead of the API server's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_skew_seconds: Option<i64>,
    /// The set that was written last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<Written>,
    /// What a start is held to.
    pub in_force: InForce,
    /// How many errors there are.
    pub error_count: usize,
    /// The first of them.
    pub errors: Vec<Error>,
}

/// The set that the agent wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Its digest.
    pub digest: String,
    /// How many policies.
    pub policies: usize,
    /// How many waivers.
    pub waivers: usize,
    /// How many profiles.
    pub profiles: usize,
    /// Whether a signature came with it.
    pub signed: bool,
}

/// What a start is held to, as the node says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct InForce {
    /// The digest of the set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Why it is not what the directory holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm: Option<String>,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Error {
    /// With which object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What, and what to do.
    pub message: String,
}

impl Report {
    /// Takes in what is wrong.
    pub fn blame(&mut self, faults: impl IntoIterator<Item = Fault>) {
        for Fault { object, message } in faults {
            self.error_count += 1;
            if self.errors.len() < MAX_ERRORS {
                let object = object.map(|object| short(&object, 500));
                self.errors.push(Error { object, message: short(&message, MAX_MESSAGE) });
            }
        }
    }

    /// The object as it is applied.
    pub fn object(&self, node: &str, uid: Option<&str>, now: &str) -> Value {
        let mut status = json!(self);
        if let Value::Object(fields) = &mut status {
            fields.insert("observedAt".to_owned(), json!(now));
        }
        // Gone with its node.
        let owners: Vec<Value> = uid
            .iter()
            .map(|uid| json!({"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}))
            .collect();
        let labels = json!({"app.kubernetes.io/name": "coaming"});
        let metadata = json!({"name": node, "labels": labels, "ownerReferences": owners});
        json!({"apiVersion": "coaming.dev/v1alpha1", "kind": "NodeReport", "metadata": metadata, "status": status})
    }
}

/// Who writes the report of one node.
pub struct Reporter {
    client: Client,
    node: String,
    uid: Option<String>,
}

impl Reporter {
    /// The reporter of a node.
    pub fn of(client: Client, node: &str) -> Reporter {
        Reporter { client, node: node.to_owned(), uid: None }
    }

    /// Writes a report; gives by how much the node's clock is ahead, where that is worth telling.
    ///
    /// # Errors
    /// What the API server answered, or that it did not.
    pub async fn write(
        &mut self,
        report: &Report,
        now: jiff::Timestamp,
    ) -> Result<Option<i64>, AgentError> {
        let failed =
            |node: &str, why: String| AgentError::Write { what: format!("NodeReport {node}"), why };
        match timeout(ANSWER, self.apply(report, now)).await {
            Ok(written) => written.map_err(|why| failed(&self.node, why)),
            Err(_) => Err(failed(&self.node, format!("no answer within {} s", ANSWER.as_secs()))),
        }
    }

    async fn apply(
        &mut self,
        report: &Report,
        now: jiff::Timestamp,
    ) -> Result<Option<i64>, String> {
        if self.uid.is_none() {
            // So that the report goes with the node; without it, it is written all the same.
            let nodes = kube::Api::<Node>::all(self.client.clone());
            self.uid = nodes.get(&self.node).await.ok().and_then(|found| found.metadata.uid);
        }
        let object = report.object(&self.node, self.uid.as_deref(), &seconds(now));
        let parameters = PatchParams::apply("coaming-agent").force();
        let request = Request::new("/apis/coaming.dev/v1alpha1/nodereports")
            .patch(&self.node, &parameters, &Patch::Apply(&object))
            .map_err(|error| error.to_string())?;
        let answer = self.client.send(request.map(Body::from)).await;
        let (head, body) = answer.map_err(|error| error.to_string())?.into_parts();
        if !head.status.is_success() {
            let bytes = body.collect_bytes().await.unwrap_or_default();
            let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let message =
                short(said.get("message").and_then(Value::as_str).unwrap_or_default(), MAX_MESSAGE);
            return Err(format!("{} {message}", head.status));
        }
        let date = head.headers.get("date").and_then(|date| date.to_str().ok());
        Ok(date.and_then(|date| skew(date, now)))
    }
}

/// By how much a clock is ahead of the one that wrote this date (RFC 9110), in steps: what is told again and again shall not change each time.
pub fn skew(date: &str, now: jiff::Timestamp) -> Option<i64> {
    let theirs = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    let steps = (now.as_second() - theirs.as_second()) / SKEW_STEP;
    (steps != 0).then_some(steps * SKEW_STEP)
}

/// A moment within a span, the same each time for the same words: nodes that all have something to say do not say it at once.
pub fn place_within(seconds: u64, words: &[&str]) -> u64 {
    let mut whole = Sha256::new();
    words.iter().for_each(|word| whole.update(Sha256::digest(word)));
    let mut first = [0; 8];
    first.iter_mut().zip(whole.finalize()).for_each(|(to, from)| *to = from);
    u64::from_be_bytes(first) % seconds.max(1)
}

/// A time as RFC 3339 has it, to the second.
pub fn seconds(at: jiff::Timestamp) -> String {
    jiff::Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

pub(crate) fn short(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_told_in_steps() {
        let now: jiff::Timestamp = "2026-11-23T07:00:00Z".parse().unwrap();
        for (date, told) in [
            ("Mon, 23 Nov 2026 07:00:00 GMT", None),
            ("Mon, 23 Nov 2026 06:59:31 GMT", None),
            ("Mon, 23 Nov 2026 06:59:30 GMT", Some(30)),
            ("Mon, 23 Nov 2026 06:58:45 GMT", Some(60)),
            ("Mon, 23 Nov 2026 08:00:00 GMT", Some(-3600)),
            ("yesterday", None),
        ] {
            assert_eq!(skew(date, now), told, "{date}");
        }
    }

    #[test]
    fn places_spread_and_stay() {
        let place = |node: u32| place_within(120, &[&format!("node-{node}"), "digest"]);
        assert_eq!(place(1), place(1));
        let mut counts = [0_u32; 12];
        (0..5000).for_each(|node| counts[usize::try_from(place(node) / 10).unwrap()] += 1);
        // 5,000 in twelve parts: some 417 each.
        assert!(counts.iter().all(|count| (300..550).contains(count)), "{counts:?}");
        assert_eq!(place_within(0, &["a"]), 0);
    }

    #[test]
    fn a_report_is_short_whatever_is_wrong() {
        let mut report = Report::default();
        report.blame(
            (0..5000).map(|n| Fault { object: Some("x".repeat(n)), message: "é".repeat(n * 3) }),
        );
        assert_eq!((report.error_count, report.errors.len()), (5000, MAX_ERRORS));
        assert!(report.object("n", None, "t").to_string().len() < 64 * 1024);
    }
}
