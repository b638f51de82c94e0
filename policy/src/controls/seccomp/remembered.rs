//! What a rule made of a profile, as it is kept in a [`Memory`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Seccomp;
use crate::controls::Finding;
use crate::memory::Memory;
use crate::seccomp;
use crate::spec::edit::Edit;

/// Raised whenever the same rule and profile come to another answer, or an answer is written otherwise.
const FORMAT: u8 = 1;

/// All that an answer depends on: this version's algebra, the names that libseccomp knows, the rule, the profile, and
/// what profiles with conditions are resolved by.
pub(super) fn key(
    rule: &Seccomp,
    section: Option<&Value>,
    capabilities: &BTreeSet<String>,
    kernel: (u32, u32),
) -> [u8; 32] {
    let mut digest = Digesting(Sha256::new());
    let versions = (env!("CARGO_PKG_VERSION"), FORMAT, seccomp::library_version());
    // Written to a digest, which takes everything.
    let _ = serde_json::to_writer(&mut digest, &(versions, rule, section, capabilities, kernel));
    digest.0.finalize().into()
}

/// The key of the same answer without its profile.
pub(super) fn brief(key: [u8; 32]) -> [u8; 32] {
    key.map(|byte| !byte)
}

/// What was kept; outside is whether anything was, inside whether anything was wrong.
#[allow(clippy::option_option)]
pub(super) fn recall(memory: &dyn Memory, key: &[u8; 32]) -> Option<Option<Finding>> {
    let kept: Option<Kept> = serde_json::from_slice(&memory.recall(key)?).ok()?;
    Some(kept.map(|Kept { field, asked, allowed, remedy, profile }| Finding {
        remedy: remedy.then(|| {
            profile.map(|profile| Edit::Set(field.clone(), profile)).into_iter().collect()
        }),
        field,
        asked,
        allowed,
    }))
}

/// Keeps an answer.
pub(super) fn keep(memory: &dyn Memory, key: &[u8; 32], finding: Option<&Finding>) {
    let profile = match finding.and_then(|finding| finding.remedy.as_deref()) {
        None | Some([]) => None,
        Some([Edit::Set(field, profile)]) if finding.is_some_and(|f| f.field == *field) => {
            Some(profile.clone())
        }
        // Not what is written here, and so not kept.
        Some(_) => return,
    };
    let kept = finding.cloned().map(|Finding { field, asked, allowed, remedy }| Kept {
        remedy: remedy.is_some(),
        field,
        asked,
        allowed,
        profile,
    });
    if let Ok(bytes) = serde_json::to_vec(&kept) {
        memory.keep(key, &bytes);
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    field: String,
    asked: Value,
    allowed: String,
    /// Whether anything but refusing is a remedy.
    remedy: bool,
    profile: Option<Value>,
}

struct Digesting(Sha256);

impl std::io::Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::controls::seccomp::SeccompDocument;
    use crate::controls::{Asked, Node, Rule};
    use crate::facts::Facts;
    use crate::memory::Forgetful;

    /// Keeps all, and counts what it was asked for in vain.
    #[derive(Debug, Default)]
    struct Notebook {
        pages: RefCell<BTreeMap<[u8; 32], Vec<u8>>>,
        missed: RefCell<usize>,
    }

    impl Memory for Notebook {
        fn recall(&self, key: &[u8; 32]) -> Option<Vec<u8>> {
            let found = self.pages.borrow().get(key).cloned();
            *self.missed.borrow_mut() += usize::from(found.is_none());
            found
        }

        fn keep(&self, key: &[u8; 32], answer: &[u8]) {
            self.pages.borrow_mut().insert(*key, answer.to_vec());
        }
    }

    fn rule(document: Value) -> Seccomp {
        let document: SeccompDocument = serde_json::from_value(document).unwrap();
        Seccomp::load(document, &mut |_| panic!("no files")).unwrap()
    }

    fn findings(rule: &Seccomp, spec: &Value, memory: &dyn Memory) -> Vec<Finding> {
        let (facts, node) = (Facts::of("c", spec), Node { kernel: (6, 1), ..Node::default() });
        rule.tighten(&Asked {
            spec,
            facts: &facts,
            node: &node,
            exec: None,
            memory,
            in_brief: false,
        })
    }

    /// The same, in brief.
    fn faults(rule: &Seccomp, spec: &Value, memory: &dyn Memory) -> Vec<Finding> {
        let (facts, node) = (Facts::of("c", spec), Node { kernel: (6, 1), ..Node::default() });
        rule.tighten(&Asked {
            spec,
            facts: &facts,
            node: &node,
            exec: None,
            memory,
            in_brief: true,
        })
    }

    fn spec(section: Value, capabilities: &[&str]) -> Value {
        json!({"linux": {"seccomp": section}, "process": {"capabilities": {"bounding": capabilities}}})
    }

    fn cases() -> Vec<(Seccomp, Value)> {
        let open = json!({"defaultAction": "SCMP_ACT_ALLOW"});
        let listener = json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"});
        let broken = json!({"defaultAction": "SCMP_ACT_NONSENSE"});
        let default = rule(json!({"floor": "runtime-default"}));
        let denies = rule(json!({"denySyscalls": ["keyctl"]}));
        let native = rule(json!({"architectures": []}));
        let sets = [vec![], vec!["CAP_SYS_ADMIN"]];
        let mut cases = Vec::new();
        for rule in [default, denies, native, Seccomp::top()] {
            for caps in &sets {
                for section in [&open, &listener, &broken] {
                    cases.push((rule.clone(), spec(section.clone(), caps)));
                }
                cases
                    .push((rule.clone(), json!({"process": {"capabilities": {"bounding": caps}}})));
            }
        }
        cases
    }

    #[test]
    fn what_is_remembered_is_what_would_be_worked_out() {
        let memory = Notebook::default();
        for round in 0..2 {
            for (rule, spec) in cases() {
                let worked_out = findings(&rule, &spec, &Forgetful);
                assert_eq!(findings(&rule, &spec, &memory), worked_out, "{round}: {rule:?} {spec}");
                let in_brief: Vec<Finding> = worked_out
                    .into_iter()
                    .map(|found| Finding { remedy: found.remedy.map(|_| Vec::new()), ..found })
                    .collect();
                assert_eq!(faults(&rule, &spec, &memory), in_brief, "{round}: {rule:?} {spec}");
            }
        }
        let missed = *memory.missed.borrow();
        // What failed is not kept: a broken profile is looked at anew, each time, under each rule and set.
        let kept = memory.pages.borrow().len();
        assert_eq!(missed, kept + 2 * 2 * 3 * 2, "{kept} kept");
        assert!(kept >= 30, "{kept}");
    }

    #[test]
    fn nothing_is_taken_for_something_else() {
        let mut keys = BTreeSet::new();
        let caps = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let cases = cases();
        let mut count = 0;
        for (rule, spec) in &cases {
            for kernel in [(6, 1), (6, 12)] {
                for caps in [caps(&[]), caps(&["CAP_BPF"]), caps(&["CAP_BPF", "CAP_KILL"])] {
                    keys.insert(key(rule, spec.pointer("/linux/seccomp"), &caps, kernel));
                    count += 1;
                }
            }
        }
        // The capabilities of the specs are given beside them here: each case is there twice.
        assert_eq!(keys.len(), count / 2);
    }

    #[test]
    fn what_is_damaged_is_worked_out_again() {
        let memory = Notebook::default();
        let (rule, spec) = cases().swap_remove(0);
        let first = findings(&rule, &spec, &memory);
        for page in memory.pages.borrow_mut().values_mut() {
            page.truncate(page.len() / 2);
        }
        assert_eq!(findings(&rule, &spec, &memory), first);
    }
}
