//! Whether one set of policies is looser than another; conservatively: what is not equal is.

use std::fmt;

use crate::document::Directory;

/// What differs.
#[derive(Debug, Default)]
pub struct Comparison(Vec<Difference>);

/// One difference that may loosen, in words.
#[derive(Debug)]
pub struct Difference(String);

impl Comparison {
    /// What the new set demands less of.
    pub fn looser(&self) -> impl Iterator<Item = &Difference> {
        self.0.iter()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Compares two sets.
pub fn compare(old: &Directory, new: &Directory) -> Comparison {
    let mut differences = Vec::new();
    for (policy, floor) in old.floors() {
        if !new.floors().any(|other| other == (policy, floor)) {
            let name = &policy.metadata.value.name;
            differences.push(Difference(format!("policy {name} is gone or says something else")));
        }
    }
    for (file, waiver) in new.waivers() {
        if !old.waivers().any(|(_, other)| other == waiver) {
            let name = &waiver.metadata.value.name;
            differences.push(Difference(format!("waiver {name} ({file}) is new")));
        }
    }
    Comparison(differences)
}
