//! The set of policies of a node that has not booted yet, for its image.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use coaming_config::Configuration;
use coaming_policy::document::{Directory, DocumentError, MANIFEST, SIGNATURE};
use coaming_policy::snapshot::{Keys, Offer, SignatureError, Verdict, encode, judge};

use super::keeper::rules;
use super::look::{Look, Parsed};
use super::scan::Seen;
use super::store::{CURRENT, Current, VERSION, file_name};
use super::unusable;
use crate::host::hex;

/// What the folder of snapshots of an image holds.
#[derive(Debug)]
pub struct Baked {
    /// The two files: by their names, what they hold.
    pub files: [(String, Vec<u8>); 2],
    /// What it was made of: policy files and profiles by their paths below the directory, the manifest and its signature.
    pub sources: BTreeMap<String, Vec<u8>>,
    /// The set, with its files named as the node will name them.
    pub set: Directory,
    /// The key that signed it, where that counted.
    pub signed_by: Option<String>,
}

/// Makes the set in force of what lies in `place` now and will be the configuration's policy directory. `accepted` is when it came
/// into force, in seconds since 1970. The same files make the same bytes.
///
/// # Errors
/// What is wrong with the directory; that it is not signed, where the configuration wants that.
pub fn bake(
    place: &Path,
    configuration: &Configuration,
    accepted: u64,
) -> Result<Baked, DocumentError> {
    let (directory, policy) = (&configuration.policy_directory, &configuration.policy);
    let Parsed { set, .. } = Look::at(place, &BTreeSet::new()).parse(place);
    let (mut sources, read) = set?;
    let keys = Keys::parse(&policy.trusted_keys).map_err(|error: SignatureError| {
        unusable(Path::new(coaming_config::CONFIG_FILE), error.to_string())
    })?;
    let offer = Offer {
        sources: &sources,
        directory: &read,
        loosening: policy.loosening,
        signatures: policy.signatures,
        keys: &keys,
        latest_signature: None,
        // There is nothing yet that it could loosen.
        commanded: true,
    };
    let signed = match judge(&offer, None) {
        Verdict::Accepted { signed, .. } => signed,
        Verdict::Refused(refusal) => return Err(unusable(place, refusal.why)),
    };
    let members = sources.members().map(|(name, bytes)| (name.to_owned(), bytes.to_vec()));
    let mut files: BTreeMap<String, Vec<u8>> = members.collect();
    for (name, bytes) in [(MANIFEST, &sources.manifest), (SIGNATURE, &sources.signature)] {
        files.extend(bytes.as_ref().map(|bytes| (name.to_owned(), bytes.clone())));
    }
    let mut watched: BTreeSet<String> = files.keys().cloned().collect();
    watched.extend(sources.profile_names().map(str::to_owned));
    // Refusals name files as they are on the node.
    sources.directory.clone_from(directory);
    let set = sources.replay()?;
    let (root, snapshot) = encode(&set, &sources)?;
    let current = Current {
        version: VERSION,
        root: root.to_string(),
        directory: directory.clone(),
        accepted,
        latest_signature: signed.as_ref().map(|signed| signed.timestamp),
        rules: rules(policy),
        seen: Seen::elsewhere(watched, hex(&sources.whole_digest())),
        kept: None,
        signed: signed.clone(),
    };
    let current = serde_json::to_vec(&current)
        .map_err(|error| unusable(place, format!("its state cannot be written: {error}")))?;
    Ok(Baked {
        files: [(file_name(root), snapshot), (CURRENT.to_owned(), current)],
        sources: files,
        set,
        signed_by: signed.map(|signed| signed.key),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use coaming_config::{Loosening, Policy, Signatures};
    use coaming_policy::snapshot::Kept;

    use super::super::{Access, Keeper, Set};
    use super::*;

    const STRICT: &str = include_str!("../../../policy/src/snapshot/fixtures/strict.yaml");
    const LOOSE: &str = include_str!("../../../policy/src/snapshot/fixtures/loose.yaml");

    /// An image's maker, and the node that boots it: the policies lie in one place, and later in another.
    struct Image {
        folder: tempfile::TempDir,
        configuration: Configuration,
    }

    impl Image {
        fn of(policy: &str) -> Image {
            let folder = tempfile::tempdir().unwrap();
            for name in ["image", "booted", "usr"] {
                fs::create_dir(folder.path().join(name)).unwrap();
                if name != "usr" {
                    fs::write(folder.path().join(name).join("a.yaml"), policy).unwrap();
                }
            }
            let configuration = Configuration {
                policy_directory: folder.path().join("booted"),
                ..Configuration::default()
            };
            Image { folder, configuration }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn bake(&self) -> Baked {
            let baked = bake(&self.path("image"), &self.configuration, 1000).unwrap();
            for (name, bytes) in &baked.files {
                fs::write(self.path("usr").join(name), bytes).unwrap();
            }
            baked
        }

        fn node(&self) -> Keeper {
            let Configuration { policy_directory, policy, .. } = &self.configuration;
            let (kept, lock) = (self.path("var/policy"), self.path("run/lock"));
            Keeper::at(policy_directory.clone(), policy.clone(), kept, lock).over(self.path("usr"))
        }
    }

    #[test]
    fn the_first_start_takes_what_was_baked_and_keeps_it() {
        let image = Image::of(STRICT);
        let baked = image.bake();
        assert_eq!(image.bake().files, baked.files, "the same files, the same bytes");
        for access in [Access::Look, Access::Keep, Access::Keep] {
            let first = image.node().in_force(access).unwrap();
            assert!(matches!(first.set, Set::Kept(_)), "nothing is parsed: {first:?}");
            assert_eq!((first.accepted, first.kept.is_none()), (Some(1000), true));
        }
        // The next image has another set in its place.
        std::thread::sleep(std::time::Duration::from_secs(4));
        image.node().in_force(Access::Keep).unwrap();
        fs::remove_dir_all(image.path("usr")).unwrap();
        let alone = image.node().in_force(Access::Keep).unwrap();
        assert!(matches!(alone.set, Set::Kept(_)) && alone.notes.is_empty(), "{alone:?}");
    }

    #[test]
    fn what_was_baked_holds_against_a_directory_that_demands_less() {
        for change in [
            |image: &Image| fs::write(image.path("booted/a.yaml"), LOOSE).unwrap(),
            |image: &Image| fs::remove_dir_all(image.path("booted")).unwrap(),
        ] {
            let image = Image::of(STRICT);
            image.bake();
            change(&image);
            let first = image.node().in_force(Access::Keep).unwrap();
            let refusal = first.kept.as_ref().map(|since| since.refusal.kind);
            assert_eq!(refusal, Some(Kept::Loosens), "{first:?}");
            assert_eq!(first.digest, image.node().in_force(Access::Look).unwrap().digest);
        }
    }

    #[test]
    fn a_set_of_other_rules_or_that_others_can_write_is_read_anew() {
        use std::os::unix::fs::PermissionsExt;
        let mut image = Image::of(STRICT);
        image.bake();
        fs::set_permissions(image.path("usr"), fs::Permissions::from_mode(0o777)).unwrap();
        let read = image.node().in_force(Access::Look).unwrap();
        assert!(matches!(read.set, Set::Read(_)), "{read:?}");
        fs::set_permissions(image.path("usr"), fs::Permissions::from_mode(0o755)).unwrap();
        image.configuration.policy =
            Policy { loosening: Loosening::Free, ..image.configuration.policy };
        let read = image.node().in_force(Access::Look).unwrap();
        assert!(matches!(read.set, Set::Read(_)), "{read:?}");
    }

    #[test]
    fn a_set_that_a_node_would_not_take_is_not_baked() {
        let mut image = Image::of(STRICT);
        image.configuration.policy.signatures = Signatures::Required;
        let unsigned = bake(&image.path("image"), &image.configuration, 0).unwrap_err().to_string();
        assert!(unsigned.contains("sign"), "{unsigned}");
        let broken = Image::of("kind: Policy\n");
        let error = bake(&broken.path("image"), &broken.configuration, 0).unwrap_err().to_string();
        assert!(error.contains("image/a.yaml"), "{error}");
    }
}
