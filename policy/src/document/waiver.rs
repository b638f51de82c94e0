//! The `Waiver` document: for whom a policy's control does not count, why, and until when.
//!
//! The one thing that loosens. It is a root-owned file like any policy, has an owner, a reason and an
//! end, and names the containers narrowly; every record of a container that it served says so.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, de};

use super::policy::CONTROLS;
use super::{ApiVersion, At, DocumentError, Match, Metadata};
use crate::facts::Facts;
use crate::floor::Floor;
use coaming_config::suggest;

/// A waiver: controls that do not count for some containers, until a day.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaiverDocument {
    /// `coaming.dev/v1alpha1`.
    pub api_version: ApiVersion,
    /// `Waiver`.
    pub kind: Kind,
    /// The waiver's name.
    pub metadata: At<Metadata>,
    /// What is waived, for whom, and until when.
    pub spec: WaiverSpec,
}

/// The kind of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
pub enum Kind {
    /// A waiver.
    Waiver,
}

/// What a waiver says.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaiverSpec {
    /// The containers that it is for. `namespaces` must be given, and each must begin with a letter or
    /// digit: pod and container names, images and annotations are chosen by whoever writes the pod, a
    /// namespace is not.
    #[serde(rename = "match")]
    pub selector: At<Match>,
    /// The controls that do not count, by their names in a policy's `spec`.
    pub waives: At<BTreeSet<String>>,
    /// The policies whose controls do not count. Left out: every policy of the directory. The built-in
    /// floor's are waived only where it is named here (`baseline`, `node`).
    #[serde(default)]
    pub policies: Option<BTreeSet<String>>,
    /// Who answers for it.
    pub owner: At<String>,
    /// Why it is needed.
    pub reason: At<String>,
    /// When it ends: a date (the whole day counts, in UTC), or a time (RFC 3339).
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub expires: Option<At<Moment>>,
    /// When it begins, where it has a `duration` and no `expires`: a time (RFC 3339).
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub starts: Option<At<Moment>>,
    /// How long it holds from `starts` on, such as `12h` or `30days`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub duration: Option<At<Span>>,
}

/// A date or a time, as seconds since 1970; a date is its last second's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// A duration, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub u64);

const DAY: u64 = 24 * 60 * 60;
/// How long before its end a waiver is warned of, in seconds.
pub const SOON: u64 = 14 * DAY;

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let seconds = |text: &str| {
            let time = humantime::parse_rfc3339(text).ok()?;
            time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
        };
        seconds(&text)
            .or_else(|| Some(seconds(&format!("{text}T00:00:00Z"))? + DAY))
            .map(Moment)
            .ok_or_else(|| {
                de::Error::custom(format!(
                    "{text:?} is neither a date such as 2027-03-31 nor a time in UTC such as \
                     2027-03-31T18:00:00Z"
                ))
            })
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match humantime::parse_duration(&text) {
            Ok(span) => Ok(Span(span.as_secs())),
            Err(error) => Err(de::Error::custom(format!(
                "{text:?} is not a duration such as 12h or 30days: {error}"
            ))),
        }
    }
}

impl Moment {
    /// The system's time.
    pub fn now() -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Moment(since.map_or(0, |since| since.as_secs()))
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The last second that RFC 3339 can name, of the year 9999.
        let seconds = self.0.min(253_402_300_799);
        let time: SystemTime = UNIX_EPOCH + Duration::from_secs(seconds);
        write!(formatter, "{}", humantime::format_rfc3339_seconds(time))
    }
}

/// What a waiver did for a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waived {
    /// The waiver's name.
    pub waiver: String,
    /// Its file.
    pub file: String,
    /// Its line, from 1.
    pub line: u64,
    /// The controls that did not count, and whose they were: `landlock of payments`.
    pub waived: Vec<String>,
    /// Who answers for it.
    pub owner: String,
    /// Why it is needed.
    pub reason: String,
    /// Its end, RFC 3339.
    pub expires: String,
    /// The key that signed it, where it was broken out in an emergency rather than loaded with the
    /// policies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<String>,
}

impl WaiverDocument {
    pub(super) fn check(&self, file: &str) -> Result<(), DocumentError> {
        self.metadata.value.check(file, self.metadata.line)?;
        let spec = &self.spec;
        let wrong =
            |line: u64, message: &str| Err(DocumentError::at(file, line, message.to_owned()));
        if let Some(name) = spec.waives.value.iter().find(|name| !CONTROLS.contains(&name.as_str()))
        {
            let known = CONTROLS.iter().copied();
            let message = suggest::unknown("control in spec.waives", name, known);
            return wrong(spec.waives.line, &message);
        }
        if spec.waives.value.is_empty() {
            return wrong(
                spec.waives.line,
                "spec.waives is empty: name the controls that do not count",
            );
        }
        for (name, text) in [("owner", &spec.owner), ("reason", &spec.reason)] {
            if text.value.trim().is_empty() {
                return wrong(
                    text.line,
                    &format!("spec.{name} is empty; a waiver without one is not honoured"),
                );
            }
        }
        let selector = &spec.selector;
        let namespaces = selector.value.namespaces.as_deref().unwrap_or_default();
        let narrow = |text: &str| text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if namespaces.is_empty() || !namespaces.iter().all(|glob| narrow(glob.as_str())) {
            return wrong(
                selector.line,
                "spec.match.namespaces must name the namespaces, without * in front: whoever writes a pod \
                 chooses its other names and its image, and could claim the waiver for any pod",
            );
        }
        match (&spec.expires, &spec.starts, &spec.duration) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => Ok(()),
            _ => wrong(
                self.metadata.line,
                "a waiver has an end: spec.expires, or spec.starts with spec.duration",
            ),
        }
    }

    /// Its end, in seconds since 1970; it does not count from then on.
    pub fn end(&self) -> Moment {
        let spec = &self.spec;
        match (&spec.expires, &spec.starts, &spec.duration) {
            (Some(expires), _, _) => expires.value,
            (None, Some(starts), Some(span)) => Moment(starts.value.0.saturating_add(span.value.0)),
            // Refused when it is read.
            _ => Moment(0),
        }
    }

    /// Whether it counts at a moment.
    pub fn is_alive(&self, now: Moment) -> bool {
        let begun = self.spec.starts.as_ref().is_none_or(|starts| starts.value <= now);
        begun && now < self.end()
    }

    /// Whether it is for a container.
    pub fn selects(&self, facts: &Facts) -> bool {
        self.spec.selector.value.selects_for_certain(facts)
    }

    /// Takes what is waived out of a policy's clauses, and says what that was.
    pub(crate) fn take_from(
        &self,
        policy: &str,
        built_in: bool,
        floor: Floor,
    ) -> (Floor, Vec<String>) {
        let spec = &self.spec;
        let named = match &spec.policies {
            Some(policies) => policies.contains(policy),
            None => !built_in,
        };
        if !named {
            return (floor, Vec::new());
        }
        // By field, so that what Landlock implies is waived with it, and only with it.
        let waives = |field: &str| {
            field.strip_prefix("spec.").is_some_and(|control| spec.waives.value.contains(control))
        };
        let (waived, left) = floor.partition(waives);
        let controls = waived.fields().into_iter().filter_map(|field| {
            field.strip_prefix("spec.").map(|control| format!("{control} of {policy}"))
        });
        let controls = controls.collect();
        (left, controls)
    }
}
