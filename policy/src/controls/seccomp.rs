//! `seccomp`: which system calls a process may make (seccomp(2)).
//!
//! What a container asks and what the floor demands are met exactly, as functions from architecture,
//! call and arguments to an action ([`crate::seccomp`]); the result goes into `linux.seccomp`. Where
//! no exact single filter is found within the limits, the container is refused: a merge that could be
//! weaker than either is never made.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

mod remembered;

use super::{Asked, Finding, Mismatch, Rule, Scope, socket_family};
use crate::document::DocumentError;
use crate::proc::Seen;
use crate::seccomp::{
    Arch, Function, Logging, Profile, Reading, SeccompError, Source, Target, builtin, deny_profile,
    is_known, suggest as nearest_syscall,
};
use crate::spec::edit::Edit;
use crate::spec::view;
use coaming_config::suggest;

const FIELD: &str = "linux.seccomp";

/// What a policy writes. A profile is named by a path below the policy's directory (an OCI seccomp
/// section, the containerd and Docker format with conditions on capabilities and kernel, or a
/// `SeccompProfile` of the Security Profiles Operator), or is the built-in `runtime-default`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeccompDocument {
    /// The profile for a container that asks for none (`Unconfined`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// A profile that is met with whatever the container asks for, or stands alone where it asks for
    /// none: only what both allow is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<String>,
    /// System calls that are answered with EPERM, by name. On every architecture that stays allowed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty", deserialize_with = "syscalls")]
    pub deny_syscalls: BTreeSet<String>,
    /// Socket address families that cannot be opened, by name (`AF_ALG`). On 32-bit x86 this takes
    /// away `socketcall(SYS_SOCKET)` whole, since the family stands behind a pointer there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty", deserialize_with = "families")]
    pub deny_socket_families: BTreeSet<String>,
    /// Architectures whose calls stay allowed, by OCI name (`SCMP_ARCH_X86`); the machine's own
    /// always is. `[]` is the machine's own alone. Calls of others kill the process's thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architectures: Option<BTreeSet<String>>,
    /// `true`: for as long as the rule is audited, the kernel logs each call that it would deny
    /// (`SCMP_ACT_LOG`), with the process's id, its program and the call; nothing is denied by that. Where
    /// the rule is enforced it changes nothing: a profile's own flag `SECCOMP_FILTER_FLAG_LOG` is for
    /// calls that are denied.
    #[serde(default)]
    pub log: bool,
}

/// Names are checked as they are read, so that an error has the place of the name.
fn syscalls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(try_from = "String")]
    struct Name(String);

    impl TryFrom<String> for Name {
        type Error = String;

        fn try_from(name: String) -> Result<Name, String> {
            if is_known(&name) {
                return Ok(Name(name));
            }
            let message = suggest::unknown("system call", &name, nearest_syscall(&name).as_deref());
            match message.contains("did you mean") {
                true => Err(message),
                false => Err(format!("{message}; names are those of syscalls(2), such as openat")),
            }
        }
    }
    Ok(Vec::<Name>::deserialize(deserializer)?.into_iter().map(|Name(name)| name).collect())
}

fn families<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(try_from = "String")]
    struct Name(String);

    impl TryFrom<String> for Name {
        type Error = String;

        fn try_from(name: String) -> Result<Name, String> {
            socket_family::number(&name).map(|_| Name(name))
        }
    }
    Ok(Vec::<Name>::deserialize(deserializer)?.into_iter().map(|Name(name)| name).collect())
}

/// The rule: profiles with their content, and what they are met with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seccomp {
    pub(crate) defaults: BTreeMap<String, Source>,
    pub(crate) floors: BTreeMap<String, Source>,
    pub(crate) deny_syscalls: BTreeSet<String>,
    pub(crate) deny_socket_families: BTreeSet<u64>,
    pub(crate) architectures: Option<BTreeSet<String>>,
    #[serde(default)]
    pub(crate) log: bool,
}

/// Why a policy's seccomp rule was not taken.
#[derive(Debug)]
pub enum ProfileError {
    /// A profile file.
    File(DocumentError),
    /// What the rule or the profile says.
    Content(String),
}

impl Seccomp {
    /// Loads the profiles that a document names and checks every name.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn load(
        document: SeccompDocument,
        read: &mut dyn FnMut(&str) -> Result<Vec<u8>, DocumentError>,
    ) -> Result<Seccomp, ProfileError> {
        let mut load = |name: Option<&String>| -> Result<BTreeMap<String, Source>, ProfileError> {
            let Some(name) = name else { return Ok(BTreeMap::new()) };
            // What is built in is checked by the tests, and not at every start.
            if let Some(source) = builtin(name) {
                return Ok(BTreeMap::from([(name.clone(), source.clone())]));
            }
            let bytes = read(name).map_err(ProfileError::File)?;
            let wrong = |error| ProfileError::Content(format!("{name}: {error}"));
            let source = Source::parse(&bytes).map_err(wrong)?;
            check_profile(&source).map_err(wrong)?;
            let key = format!("{name}@sha256:{:x}", Hex(&Sha256::digest(&bytes)));
            Ok(BTreeMap::from([(key, source)]))
        };
        let defaults = load(document.default.as_ref())?;
        let floors = load(document.floor.as_ref())?;
        let names: Vec<&str> = document.deny_syscalls.iter().map(String::as_str).collect();
        deny_profile(&names, &[]).map_err(|error| ProfileError::Content(error.to_string()))?;
        let deny_socket_families = document
            .deny_socket_families
            .iter()
            .map(|name| socket_family::number(name).map_err(ProfileError::Content))
            .collect::<Result<_, _>>()?;
        for name in document.architectures.iter().flatten() {
            if Arch::parse(name).is_none() {
                return Err(ProfileError::Content(format!(
                    "unknown architecture {name:?}; architectures have OCI names such as SCMP_ARCH_X86"
                )));
            }
        }
        Ok(Seccomp {
            defaults,
            floors,
            deny_syscalls: document.deny_syscalls,
            deny_socket_families,
            architectures: document.architectures,
            log: document.log,
        })
    }

    /// What a Landlock rule needs beneath it: nothing of the mount family, `mount_setattr` above all,
    /// which Landlock does not cover and which could make the launcher's mounts writable.
    pub fn beneath_landlock() -> Seccomp {
        let names = ["mount", "mount_setattr", "move_mount", "pivot_root", "umount", "umount2"];
        Seccomp { deny_syscalls: names.map(str::to_owned).into(), ..Seccomp::default() }
    }

    /// Whether the kernel is to log what the rule would deny while it is audited.
    pub fn logs(&self) -> bool {
        self.log
    }

    /// The container's profile with `SCMP_ACT_LOG` for the calls that it allows and the rule would deny;
    /// `None` where that is none.
    ///
    /// # Errors
    /// Where there is no such profile that is exact, or it could not stand for the container's.
    pub fn logging(&self, asked: &Asked<'_>) -> Result<Option<Logging>, SeccompError> {
        let section = view::at(asked.spec, FIELD);
        let Some(tried) = self.demanded(asked, section.is_none())? else { return Ok(None) };
        let Some(section) = section else { return Function::everything().logging(&tried) };
        let profile = Profile::from_oci(section)?;
        if profile.notifies() || profile.listener().is_some() {
            return Err(SeccompError::Unsupported {
                what: "logging beside a seccomp listener".to_owned(),
                why: "the container's profile is left to its agent".to_owned(),
            });
        }
        if !profile.is_read_alike()? {
            // Written anew it could deny what the runtime, reading it otherwise, allows.
            return Err(SeccompError::Unsupported {
                what: "logging beside a profile that runtimes do not all read alike".to_owned(),
                why: "give the container another, or a policy with a seccomp floor, which writes it anew"
                    .to_owned(),
            });
        }
        Function::of(&profile, Reading::Runtime)?.logging(&tried)
    }

    /// What the rule demands of a container with these capabilities; `None` where it demands nothing.
    fn demanded(
        &self,
        asked: &Asked<'_>,
        unconfined: bool,
    ) -> Result<Option<Function>, SeccompError> {
        let caps = capabilities(asked);
        let target = Target { caps: &caps, kernel: asked.node.kernel };
        let mut functions = Vec::new();
        let defaults = self.defaults.values().filter(|_| unconfined);
        for source in self.floors.values().chain(defaults) {
            functions.push(Function::of(&source.resolve(&target)?, Reading::Policy)?);
        }
        let denies = !self.deny_syscalls.is_empty() || !self.deny_socket_families.is_empty();
        let alone = functions.is_empty() && self.architectures.is_some();
        if denies || alone {
            let names: Vec<&str> = self.deny_syscalls.iter().map(String::as_str).collect();
            let families: Vec<u64> = self.deny_socket_families.iter().copied().collect();
            functions.push(Function::of(&deny_profile(&names, &families)?, Reading::Policy)?);
        }
        let mut functions = functions.into_iter();
        let Some(first) = functions.next() else { return Ok(None) };
        let met = functions.try_fold(first, |met, function| met.meet(&function))?;
        Ok(Some(match &self.architectures {
            Some(names) => {
                met.restrict_to(&names.iter().filter_map(|name| Arch::parse(name)).collect())
            }
            None => met,
        }))
    }

    /// What is wrong with the container's profile, worked out or remembered.
    fn examine(&self, asked: &Asked<'_>) -> Result<Option<Finding>, SeccompError> {
        let section = view::at(asked.spec, FIELD);
        if self.asks_nothing(section.is_none()) {
            return Ok(None);
        }
        let key = remembered::key(self, section, &capabilities(asked), asked.node.kernel);
        // In brief there is no profile to be read, which is most of the answer.
        let key = if asked.in_brief { remembered::brief(key) } else { key };
        if let Some(finding) = remembered::recall(asked.memory, &key) {
            return Ok(finding);
        }
        let mut finding = self.work_out(asked)?;
        if asked.in_brief
            && let Some(remedy) = finding.as_mut().and_then(|f| f.remedy.as_mut())
        {
            remedy.clear();
        }
        remembered::keep(asked.memory, &key, finding.as_ref());
        Ok(finding)
    }

    /// Whether there is nothing to be met with.
    fn asks_nothing(&self, unconfined: bool) -> bool {
        let nothing = Seccomp { log: false, defaults: BTreeMap::new(), ..self.clone() };
        nothing == Seccomp::top() && (!unconfined || self.defaults.is_empty())
    }

    fn work_out(&self, asked: &Asked<'_>) -> Result<Option<Finding>, SeccompError> {
        let section = view::at(asked.spec, FIELD);
        let Some(demanded) = self.demanded(asked, section.is_none())? else { return Ok(None) };
        let allowed = self.in_words();
        let finding = |asked: Value, profile: Profile| Finding {
            field: FIELD.to_owned(),
            asked,
            allowed: allowed.clone(),
            remedy: Some(vec![Edit::Set(FIELD.to_owned(), profile.to_oci())]),
        };
        let Some(section) = section else {
            return Ok(Some(finding(Value::Null, demanded.to_profile()?)));
        };
        let profile = Profile::from_oci(section)?;
        if profile.notifies() || profile.listener().is_some() {
            // The agent behind the listener decides in the filter's place, and the path is handed to
            // a runtime that is root (runtime-spec, config-linux.md, listenerPath).
            return Ok(Some(Finding {
                field: "linux.seccomp.listenerPath".to_owned(),
                asked: view::at(section, "listenerPath")
                    .cloned()
                    .unwrap_or(json!("SCMP_ACT_NOTIFY")),
                allowed: "no seccomp listener".to_owned(),
                remedy: None,
            }));
        }
        let function = Function::of(&profile, Reading::Runtime)?;
        if function.le(&demanded) {
            // What is within the floor as it is read here must be so as the runtime reads it.
            if profile.is_read_alike()? {
                return Ok(None);
            }
            let asked = json!("a profile that runtimes do not all read alike");
            return Ok(Some(finding(asked, function.to_profile()?)));
        }
        let met = function.meet(&demanded)?;
        let wider: Vec<&str> = function
            .syscalls()
            .chain(demanded.syscalls())
            .filter(|name| function.always(name) != met.always(name))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .take(8)
            .collect();
        let asked =
            json!(format!("a profile that is wider, in {} and possibly more", wider.join(", ")));
        Ok(Some(finding(asked, met.to_profile()?)))
    }

    fn in_words(&self) -> String {
        let mut words: Vec<String> =
            self.floors.keys().chain(self.defaults.keys()).cloned().collect();
        if !self.deny_syscalls.is_empty() {
            let names: Vec<&str> = self.deny_syscalls.iter().map(String::as_str).collect();
            words.push(format!("without {}", names.join(", ")));
        }
        let families = socket_family::names(&self.deny_socket_families);
        words.extend(families.map(|name| format!("without {name}")));
        if let Some(architectures) = &self.architectures {
            let names: Vec<&str> = architectures.iter().map(String::as_str).collect();
            words.push(format!("on the native architecture and [{}]", names.join(", ")));
        }
        words.join("; ")
    }
}

impl Rule for Seccomp {
    const CONTROL: &'static str = "seccomp";
    const SCOPE: Scope = Scope::Container;

    fn top() -> Self {
        Seccomp::default()
    }

    fn meet(&self, other: &Self) -> Self {
        let union = |ours: &BTreeMap<String, Source>, theirs: &BTreeMap<String, Source>| {
            ours.iter().chain(theirs).map(|(key, source)| (key.clone(), source.clone())).collect()
        };
        Seccomp {
            defaults: union(&self.defaults, &other.defaults),
            floors: union(&self.floors, &other.floors),
            deny_syscalls: &self.deny_syscalls | &other.deny_syscalls,
            deny_socket_families: &self.deny_socket_families | &other.deny_socket_families,
            architectures: match (&self.architectures, &other.architectures) {
                (Some(ours), Some(theirs)) => Some(ours & theirs),
                (ours, theirs) => ours.as_ref().or(theirs.as_ref()).cloned(),
            },
            log: self.log || other.log,
        }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        match self.examine(asked) {
            Ok(finding) => finding.into_iter().collect(),
            Err(error) => vec![Finding {
                field: FIELD.to_owned(),
                asked: json!("a profile that cannot be combined with the floor"),
                allowed: format!("{}: {error}", self.in_words()),
                remedy: None,
            }],
        }
    }

    fn verify(&self, seen: &Seen) -> Vec<Mismatch> {
        // SECCOMP_MODE_FILTER is 2; which filter it is, the kernel does not tell.
        let demanded = Seccomp { log: false, ..self.clone() };
        if demanded == Seccomp::top() || seen.seccomp_mode == 2 {
            return Vec::new();
        }
        vec![Mismatch {
            what: "Seccomp".to_owned(),
            found: seen.seccomp_mode.to_string(),
            allowed: "2 (filter)".to_owned(),
        }]
    }
}

/// What profiles with conditions on capabilities are resolved by.
fn capabilities(asked: &Asked<'_>) -> BTreeSet<String> {
    match asked.exec.map(|exec| exec.bounding) {
        Some(bounding) => bounding.iter().cloned().collect(),
        None => {
            view::strings(asked.spec, "process.capabilities.bounding").map(str::to_owned).collect()
        }
    }
}

/// A profile is read once for everything that it may be resolved to, so that a bad one is found when
/// it is loaded and not when a container starts.
fn check_profile(source: &Source) -> Result<(), SeccompError> {
    let none = BTreeSet::new();
    let all: BTreeSet<String> =
        super::capabilities::Capability::all().map(|c| format!("CAP_{c}")).collect();
    for caps in [&none, &all] {
        let profile = source.resolve(&Target { caps, kernel: (u32::MAX, 0) })?;
        Function::of(&profile, Reading::Policy)?;
        if profile.notifies() || profile.listener().is_some() {
            return Err(SeccompError::Unsupported {
                what: "SCMP_ACT_NOTIFY".to_owned(),
                why: "an agent would decide in the floor's place; deny the calls instead"
                    .to_owned(),
            });
        }
    }
    Ok(())
}

/// Bytes in lower-case hexadecimal.
struct Hex<'a>(&'a [u8]);

impl std::fmt::LowerHex for Hex<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests;
