//! A document of any kind that a policy directory holds.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::policy::Kind as PolicyKind;
use super::waiver::{Kind as WaiverKind, WaiverDocument, WaiverSpec};
use super::{ApiVersion, At, DocumentError, Metadata, PolicyDocument, PolicySpec};

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// A policy.
    Policy(Box<PolicyDocument>),
    /// A waiver.
    Waiver(Box<WaiverDocument>),
}

/// Reads the documents of one file; several are separated by `---`.
///
/// # Errors
/// [`DocumentError::Invalid`] with the place.
pub fn parse_documents(file: &str, text: &str) -> Result<Vec<Document>, DocumentError> {
    let documents: Vec<Document> = serde_saphyr::from_multiple_with_options(text, super::options())
        .map_err(|error| super::error::from_yaml(file, &error))?;
    for document in &documents {
        match document {
            Document::Policy(policy) => policy.check(file)?,
            Document::Waiver(waiver) => waiver.check(file)?,
        }
    }
    Ok(documents)
}

/// Reads the policies of one file that holds nothing else.
///
/// # Errors
/// [`DocumentError::Invalid`] with the place.
pub fn parse_policies(file: &str, text: &str) -> Result<Vec<PolicyDocument>, DocumentError> {
    parse_documents(file, text)?
        .into_iter()
        .map(|document| match document {
            Document::Policy(policy) => Ok(*policy),
            Document::Waiver(waiver) => Err(DocumentError::at(
                file,
                waiver.metadata.line,
                "a waiver; only policies may stand here".to_owned(),
            )),
        })
        .collect()
}

const FIELDS: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];
const KINDS: [&str; 2] = ["Policy", "Waiver"];

/// Read by hand: the derived ways to choose a type by a field lose the lines, and the names of fields
/// that are not known.
impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("Document", &FIELDS, Fields)
    }
}

/// The spec, by what `kind` said.
enum Spec {
    Policy(Box<PolicySpec>),
    Waiver(Box<WaiverSpec>),
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Document;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a document with apiVersion, kind, metadata and spec")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Document, M::Error> {
        let mut api_version: Option<ApiVersion> = None;
        let mut kind: Option<String> = None;
        let mut metadata: Option<At<Metadata>> = None;
        let mut spec: Option<Spec> = None;
        // A key that stands twice is refused by the parser of YAML and, for JSON, is YAML's too.
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "apiVersion" => api_version = Some(map.next_value()?),
                "kind" => {
                    let name: String = map.next_value()?;
                    if !KINDS.contains(&name.as_str()) {
                        return Err(de::Error::unknown_variant(&name, &KINDS));
                    }
                    kind = Some(name);
                }
                "metadata" => metadata = Some(map.next_value()?),
                "spec" => {
                    spec = Some(match kind.as_deref() {
                        Some("Policy") => Spec::Policy(Box::new(map.next_value()?)),
                        Some(_) => Spec::Waiver(Box::new(map.next_value()?)),
                        None => {
                            return Err(de::Error::custom(
                                "spec stands before kind; write apiVersion and kind first, so that it is \
                                 known what is read",
                            ));
                        }
                    });
                }
                other => return Err(de::Error::unknown_field(other, &FIELDS)),
            }
        }
        let api_version = api_version.ok_or_else(|| de::Error::missing_field("apiVersion"))?;
        if kind.is_none() {
            return Err(de::Error::missing_field("kind"));
        }
        let metadata = metadata.ok_or_else(|| de::Error::missing_field("metadata"))?;
        match spec.ok_or_else(|| de::Error::missing_field("spec"))? {
            Spec::Policy(spec) => Ok(Document::Policy(Box::new(PolicyDocument {
                api_version,
                kind: PolicyKind::Policy,
                metadata,
                spec: *spec,
            }))),
            Spec::Waiver(spec) => Ok(Document::Waiver(Box::new(WaiverDocument {
                api_version,
                kind: WaiverKind::Waiver,
                metadata,
                spec: *spec,
            }))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIVER: &str = "apiVersion: coaming.dev/v1alpha1\nkind: Waiver\nmetadata: {name: w}\nspec:\n  \
                          match: {namespaces: [a], containers: [c]}\n  waives: [landlock]\n  owner: o\n  \
                          reason: r\n  expires: 2027-03-31\n";
    const POLICY: &str = "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n  \
                          noNewPrivileges: true\n";

    fn message(text: &str) -> String {
        parse_documents("f.yaml", text).unwrap_err().to_string()
    }

    #[test]
    fn kinds_stand_beside_each_other_with_their_lines() {
        let read = parse_documents("f.yaml", &format!("{POLICY}---\n{WAIVER}")).unwrap();
        let [Document::Policy(policy), Document::Waiver(waiver)] = read.as_slice() else {
            panic!("{read:?}")
        };
        assert_eq!(policy.spec.no_new_privileges.as_ref().unwrap().line, 5);
        assert_eq!(waiver.metadata.line, 9);
        assert!(parse_policies("f.yaml", WAIVER).unwrap_err().to_string().contains("a waiver"));
    }

    #[test]
    fn what_is_not_known_is_named_with_its_place() {
        for (text, words) in [
            (POLICY.replace("kind: Policy", "kind: Polcy"), "\"Policy\""),
            (POLICY.replace("spec:", "specs:"), "specs"),
            (POLICY.replace("noNewPrivileges", "noNewPrivilege"), "noNewPrivileges"),
            (POLICY.replace("kind: Policy\n", ""), "before kind"),
            (format!("{POLICY}kind: Policy\n"), "duplicate"),
            (WAIVER.replace("owner: o\n  ", ""), "owner"),
            (WAIVER.replace("waives", "waive"), "waives"),
        ] {
            let message = message(&text);
            assert!(message.contains(words) && message.starts_with("f.yaml:"), "{message}");
        }
    }
}
