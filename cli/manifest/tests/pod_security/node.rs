//! A node with nothing but an included level of Pod Security above an empty floor.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use coaming_manifest::{Behind, Image, Planned, Settings, read_with};
use coaming_policy::controls::origin::Origin;
use coaming_policy::controls::{self, Joined};
use coaming_policy::decide::{Door, Request, decide};
use coaming_policy::demands::Demands;
use coaming_policy::document::{Directory, Moment};
use coaming_policy::facts::Facts;
use coaming_policy::floor::Floor;
use coaming_policy::verdict::Verdict;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fixtures::Level;

/// What a node's kernel confines with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Kind {
    /// Neither AppArmor nor SELinux.
    #[serde(skip)]
    Plain,
    AppArmor,
    SeLinux,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Plain, Kind::AppArmor, Kind::SeLinux];
}

#[derive(Clone, Copy)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Whether images run as root; else as the pause image does.
    pub(crate) image_of_root: bool,
    pub(crate) level: Level,
}

type Decided = Result<BTreeSet<String>, String>;

thread_local! {
    /// What was decided: most containers of most fixtures are those of the minimal pod.
    static DECIDED: RefCell<BTreeMap<(Level, Kind, String), Decided>> = RefCell::default();
}

/// What containerd gives whoever asks for nothing (container-selinux, and a level of the pod's own).
const DEFAULT_LABEL: &str = "system_u:system_r:container_t:s0:c1,c2";

impl Node {
    /// The controls that refuse one of the pod's containers; none where the pod runs as it is, and nothing
    /// where no Linux node runs it.
    pub(crate) fn decide(&self, pod: &Value) -> Result<Option<BTreeSet<String>>, String> {
        let manifests = read_with("fixture", &pod.to_string(), &self.settings())
            .map_err(|error| error.to_string())?;
        let Some(pod) = manifests.pods.first() else { return Ok(None) };
        let mut refused = BTreeSet::new();
        for planned in &pod.containers {
            refused.extend(self.decide_container(planned)?);
        }
        Ok(Some(refused))
    }

    fn decide_container(&self, planned: &Planned) -> Decided {
        let joins: Vec<_> = planned.joins.iter().collect();
        let key =
            (self.level, self.kind, format!("{} {joins:?} {:?}", planned.spec, planned.origins));
        let known = DECIDED.with_borrow(|decided| decided.get(&key).cloned());
        known.unwrap_or_else(|| {
            let decided = self.decide_anew(planned);
            DECIDED.with_borrow_mut(|all| all.insert(key, decided.clone()));
            decided
        })
    }

    fn decide_anew(&self, planned: &Planned) -> Decided {
        let mut spec = planned.spec.clone();
        if self.kind == Kind::SeLinux {
            let process = spec["process"].as_object_mut().unwrap();
            process.entry("selinuxLabel").or_insert(json!(DEFAULT_LABEL));
        } else {
            // Where it is not enabled containerd writes no label, whatever is asked.
            spec["process"].as_object_mut().unwrap().shift_remove("selinuxLabel");
            spec["linux"].as_object_mut().unwrap().shift_remove("mountLabel");
        }
        if self.kind != Kind::AppArmor {
            spec["process"].as_object_mut().unwrap().shift_remove("apparmorProfile");
        }
        let facts = Facts::of(&planned.name, &spec);
        let joins = planned.joins.iter().map(|(path, behind)| {
            let joined = match behind {
                Behind::Host => Joined::Host,
                Behind::Pod => Joined::Other,
            };
            (path.clone(), joined)
        });
        let origins = planned
            .origins
            .iter()
            .map(|(source, path)| (source.clone(), vec![Origin { paths: [path.clone()].into() }]));
        let lsms = match self.kind {
            Kind::Plain => vec!["capability"],
            Kind::AppArmor => vec!["capability", "apparmor"],
            Kind::SeLinux => vec!["capability", "selinux"],
        };
        let node = controls::Node {
            landlock_abi: 7,
            kernel: (6, 12),
            lsms: lsms.into_iter().map(str::to_owned).collect(),
            joins: joins.collect(),
            origins: origins.collect(),
            ..controls::Node::default()
        };
        let request =
            Request { door: Door::Create, spec: &spec, facts: &facts, node: &node, exec: None };
        match decide(&request, &self.floor(&facts)) {
            Verdict::Refuse(refusal) => {
                let level = format!("include pss/{:?}", self.level).to_lowercase();
                let stranger = refusal.reasons.iter().find(|reason| {
                    reason.policy.as_ref().is_none_or(|policy| !policy.to_string().contains(&level))
                });
                match stranger {
                    Some(reason) => Err(format!("not the level's own: {reason}")),
                    None => Ok(refusal.reasons.into_iter().map(|reason| reason.control).collect()),
                }
            }
            Verdict::Admit(admission) if admission.changes.is_empty() && admission.spec == spec => {
                Ok(BTreeSet::new())
            }
            Verdict::Admit(admission) => {
                Err(format!("{} is changed: {:?}", planned.name, admission.changes))
            }
        }
    }

    fn floor(&self, facts: &Facts) -> Floor {
        let level = format!("{:?}", self.level).to_lowercase();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.yaml");
        let text = format!(
            "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n  match: \
             {{containerTypes: [sandbox, container]}}\n  include: [pss/{level}]\n"
        );
        fs::write(&file, text).unwrap();
        // Whatever the umask: files that others can write are refused.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(&file, mode).unwrap();
        let directory = Directory::of_file(&file).unwrap();
        Demands::upon(facts, &directory, ("none", Floor::default()), Moment(0)).floor
    }

    fn settings(&self) -> Settings {
        let user = if self.image_of_root { None } else { Some("65535:65535".to_owned()) };
        let testing = json!({"defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{"names": ["read", "exit_group"], "action": "SCMP_ACT_ALLOW"}]});
        Settings {
            image: Image { user, ..Image::default() },
            app_armor: self.kind == Kind::AppArmor,
            seccomp_profiles: [("testing".to_owned(), testing)].into(),
            ..Settings::default()
        }
    }
}
