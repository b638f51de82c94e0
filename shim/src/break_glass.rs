//! Waivers for an emergency: signed, for one pod, honoured at once.
//!
//! They lie in a folder of their own, since a change of the policies' folder that loosens waits for
//! somebody's word, and are read and verified anew at every start.

use std::fs;
use std::path::Path;

use coaming_config::Policy;
use coaming_config::trust::{check_trust, read_root_owned};
use coaming_policy::demands::Granted;
use coaming_policy::document::{DocumentError, Moment, WaiverDocument};
use coaming_policy::facts::Facts;
use coaming_policy::snapshot::{Keys, break_glass};

/// The folder.
pub const FOLDER: &str = "/etc/coaming/break-glass.d";
/// More files than this are not for an emergency.
const MAX_FILES: usize = 64;

/// What lies in the folder.
#[derive(Debug, Default)]
pub struct Found {
    files: Vec<(String, Vec<u8>, Option<Vec<u8>>)>,
    /// Why files or the folder could not be read; their waivers are not honoured.
    faults: Vec<String>,
}

/// One waiver of the folder, and whether it is honoured.
#[derive(Debug)]
pub struct Waiver {
    /// Its file.
    pub file: String,
    /// The waiver, where it could be read.
    pub waiver: Option<WaiverDocument>,
    /// The waiver as it is granted, or why it is not.
    pub granted: Result<Granted, String>,
}

impl Found {
    /// Looks into the folder.
    pub fn in_folder(folder: &Path) -> Found {
        let mut found = Found::default();
        if let Err(error) = found.read(folder) {
            found.faults.push(error.to_string());
        }
        found
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.faults.is_empty()
    }

    fn read(&mut self, folder: &Path) -> Result<(), DocumentError> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(DocumentError::io("list", folder, error)),
        };
        let metadata = fs::symlink_metadata(folder)
            .map_err(|error| DocumentError::io("look at", folder, error))?;
        check_trust(folder, &metadata)?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| DocumentError::io("list", folder, error))?.path();
            let hidden =
                path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden && path.extension().is_some_and(|extension| extension == "yaml") {
                paths.push(path);
            }
        }
        if paths.len() > MAX_FILES {
            let problem = format!(
                "{} files; no more than {MAX_FILES} are read; remove those that have ended",
                paths.len()
            );
            return Err(DocumentError::Untrusted { path: folder.display().to_string(), problem });
        }
        paths.sort();
        for path in paths {
            let mut beside = path.clone().into_os_string();
            beside.push(".minisig");
            let signature = match read_root_owned(Path::new(&beside)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(error),
            };
            match read_root_owned(&path).and_then(|text| Ok((text, signature?))) {
                Ok((text, signature)) => {
                    self.files.push((path.display().to_string(), text, signature));
                }
                Err(error) => self.faults.push(error.to_string()),
            }
        }
        Ok(())
    }

    /// Every waiver, and whether it is honoured at a moment.
    pub fn waivers(self, policy: &Policy, now: Moment) -> Vec<Waiver> {
        let fault = |problem: String| Waiver {
            file: FOLDER.to_owned(),
            waiver: None,
            granted: Err(problem),
        };
        let mut waivers: Vec<Waiver> = self.faults.into_iter().map(fault).collect();
        let (keys, hours) = (Keys::parse(&policy.trusted_keys), policy.break_glass_hours);
        for (file, text, signature) in self.files {
            let keys = match &keys {
                Ok(keys) => keys,
                Err(error) => {
                    waivers.push(Waiver { file, waiver: None, granted: Err(error.to_string()) });
                    continue;
                }
            };
            match break_glass(&file, &text, signature.as_deref(), keys, hours, now) {
                Err(error) => {
                    waivers.push(Waiver { file, waiver: None, granted: Err(error.to_string()) });
                }
                Ok(read) => waivers.extend(read.into_iter().map(|(waiver, granted)| Waiver {
                    file: file.clone(),
                    waiver: Some(waiver),
                    granted: granted.map_err(|error| error.to_string()),
                })),
            }
        }
        waivers
    }
}

/// Those of a container, and what its record says of those that are not honoured.
pub fn choose(waivers: Vec<Waiver>, facts: &Facts) -> (Vec<Granted>, Vec<String>) {
    let (mut chosen, mut notes) = (Vec::new(), Vec::new());
    for Waiver { file, waiver, granted } in waivers {
        if waiver.as_ref().is_some_and(|waiver| !waiver.selects(facts)) {
            continue;
        }
        match granted {
            Ok(granted) => chosen.push(granted),
            Err(problem) => {
                let name = waiver.map_or_else(String::new, |waiver| {
                    format!(" {} of {}", waiver.metadata.value.name, waiver.spec.owner.value)
                });
                notes.push(format!("break-glass waiver{name} ({file}) is not honoured: {problem}"));
            }
        }
    }
    (chosen, notes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WAIVER: &str = include_str!("../../policy/src/snapshot/fixtures/break-glass.yaml");
    const SIGNATURE: &str = include_str!("../../policy/src/snapshot/fixtures/break-glass.minisig");
    const KEY: &str = include_str!("../../policy/src/snapshot/fixtures/a.pub");
    /// 2027-03-31, when it was signed.
    const SIGNED: Moment = Moment(1_806_451_200);

    fn pod(name: &str) -> Facts {
        Facts::of(
            "c",
            &json!({"annotations": {
                "io.kubernetes.cri.sandbox-namespace": "pay",
                "io.kubernetes.cri.sandbox-name": name,
            }}),
        )
    }

    fn chosen(folder: &Path, pod_name: &str) -> (usize, Vec<String>) {
        let policy = Policy { trusted_keys: vec![KEY.trim().to_owned()], ..Policy::default() };
        let waivers = Found::in_folder(folder).waivers(&policy, SIGNED);
        let (chosen, notes) = choose(waivers, &pod(pod_name));
        (chosen.len(), notes)
    }

    #[test]
    fn a_signed_waiver_serves_its_pod_and_an_unsigned_one_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Found::in_folder(&folder.path().join("absent")).is_empty());
        fs::write(folder.path().join("fire.yaml"), WAIVER).unwrap();
        let (none, notes) = chosen(folder.path(), "ledger-0");
        assert!(none == 0 && notes[0].contains("fire of on-call"), "{notes:?}");
        assert!(notes[0].contains("no signature"), "{notes:?}");
        assert_eq!(chosen(folder.path(), "ledger-1"), (0, vec![]), "another pod hears nothing");
        fs::write(folder.path().join("fire.yaml.minisig"), SIGNATURE).unwrap();
        assert_eq!(chosen(folder.path(), "ledger-0"), (1, vec![]));
        assert_eq!(chosen(folder.path(), "ledger-1").0, 0);
    }

    #[test]
    fn what_cannot_be_read_is_told_to_everyone_and_frees_nobody() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yaml"), "kind: Waiver").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("b.yaml")).unwrap();
        let (none, notes) = chosen(folder.path(), "any");
        assert_eq!((none, notes.len()), (0, 2), "{notes:?}");

        let open = tempfile::tempdir().unwrap();
        fs::write(open.path().join("fire.yaml"), WAIVER).unwrap();
        fs::write(open.path().join("fire.yaml.minisig"), SIGNATURE).unwrap();
        let others = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(open.path(), others).unwrap();
        let (none, notes) = chosen(open.path(), "ledger-0");
        assert!(none == 0 && notes.len() == 1, "{notes:?}");
    }
}
