//! Who keeps the set in force: reads it, and renews it when the directory changes.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use coaming_config::{Broken, Configuration, Policy};
use coaming_policy::document::{Directory, DocumentError, Moment, Sources};
use coaming_policy::snapshot::{
    Kept, Keys, Offer, Refusal, Root, SetInForce, SignatureError, Verdict, encode, judge,
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::look::{Look, Parsed};
use super::scan::Seen;
use super::store::{Current, Since, Store, VERSION};
use super::{InForce, Set, unusable};
use crate::host::hex;
use crate::{baked, config};

/// Whether what was found out is kept for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A start, or `coaming load`.
    Keep,
    /// Whoever only looks.
    Look,
}

/// Keeps the set in force of one node.
#[derive(Debug, Clone)]
pub struct Keeper {
    directory: PathBuf,
    policy: Policy,
    pub(super) store: Store,
}

/// What a command to load the directory brought.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Loaded {
    /// Whether the directory's policies are in force now.
    pub in_force: bool,
    /// Whether they were before.
    pub unchanged: bool,
    /// How many policies are in force.
    pub policies: usize,
    /// How many waivers.
    pub waivers: usize,
    /// What was loosened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub looser: Vec<String>,
    /// Why the directory is not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// Since when the policies in force are, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The key that signed them, where that counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
}

/// How a directory is taken up.
#[derive(Debug, Clone, Copy)]
struct How {
    access: Access,
    /// It may loosen.
    commanded: bool,
    /// The snapshot is not used, whatever it looks like.
    distrust: bool,
}

/// What became of it.
#[derive(Debug)]
struct Outcome {
    in_force: InForce,
    looser: Vec<String>,
    /// Why nothing could be written, where it should have been.
    unwritten: Option<String>,
}

impl Keeper {
    /// The keeper of this node.
    pub fn of(configuration: &Configuration) -> Keeper {
        let keeper = Keeper::at(
            configuration.policy_directory.clone(),
            configuration.policy.clone(),
            config::KEPT.into(),
            config::LOCK.into(),
        );
        keeper.over(baked::POLICY.into())
    }

    /// The same with what came with the node's image in another folder: it holds until there is one of the node's own.
    #[must_use]
    pub(super) fn over(mut self, baked: PathBuf) -> Keeper {
        self.store.baked = Some(baked);
        self
    }

    /// A keeper in other places: of a directory, in a folder, under a lock.
    pub fn at(directory: PathBuf, policy: Policy, folder: PathBuf, lock: PathBuf) -> Keeper {
        Keeper { directory, policy, store: Store { folder, lock, baked: None } }
    }

    /// The set in force.
    ///
    /// # Errors
    /// What is wrong with the directory, where there is no set that could hold instead.
    pub fn in_force(&self, access: Access) -> Result<InForce, DocumentError> {
        if let Ok(Some(current)) = self.store.current()
            && let Some(in_force) = self.unchanged(current)
        {
            return Ok(in_force);
        }
        self.renew(How { access, commanded: false, distrust: false })
    }

    /// The set in force, made anew from its sources: for whoever found its snapshot damaged.
    ///
    /// # Errors
    /// As [`Keeper::in_force`].
    pub fn anew(&self, access: Access) -> Result<InForce, DocumentError> {
        self.renew(How { access, commanded: false, distrust: true })
    }

    /// Brings the directory into force; `loosen`: even if it demands less.
    ///
    /// # Errors
    /// What is wrong with the directory, where there is no set that could hold instead; what kept the
    /// set from being written.
    pub fn load(&self, loosen: bool) -> Result<Loaded, DocumentError> {
        let before = self.store.current().ok().flatten().map(|current| current.root);
        let how = How { access: Access::Keep, commanded: loosen, distrust: false };
        let Outcome { in_force, looser, unwritten } = self.take_up(how)?;
        if let Some(problem) = unwritten {
            return Err(unusable(&self.store.folder, problem));
        }
        let (policies, waivers) = in_force.count()?;
        let after = self.store.current().ok().flatten().map(|current| current.root);
        Ok(Loaded {
            in_force: in_force.kept.is_none(),
            unchanged: in_force.kept.is_none() && before.is_some() && before == after,
            policies,
            waivers,
            looser,
            since: in_force.accepted.map(|at| Moment(at).to_string()),
            signed_by: in_force.signed.as_ref().map(|signed| signed.key.clone()),
            refused: in_force.kept.map(|since| since.refusal),
        })
    }

    /// The set in force, if the directory is as it was when that was found out.
    pub(super) fn unchanged(&self, current: Current) -> Option<InForce> {
        let is_same = current.directory == self.directory
            && current.rules == self.rules()
            && current.seen.is_current(&self.directory);
        if !is_same {
            return None;
        }
        let snapshot = self.store.open(&current.root).ok()?;
        snapshot.check_build().ok()?;
        Some(self.told(Set::Kept(Box::new(snapshot)), &current))
    }

    fn told(&self, set: Set, current: &Current) -> InForce {
        let digest = match &set {
            Set::Kept(snapshot) => snapshot.set().ok(),
            Set::Read(_) => None,
        };
        InForce {
            set,
            digest,
            accepted: Some(current.accepted),
            signed: current.signed.clone(),
            kept: current.kept.clone(),
            notes: Vec::new(),
            directory: self.directory.display().to_string(),
        }
    }

    fn rules(&self) -> String {
        rules(&self.policy)
    }

    fn renew(&self, how: How) -> Result<InForce, DocumentError> {
        let Outcome { mut in_force, unwritten, .. } = self.take_up(how)?;
        if let Some(problem) = unwritten {
            in_force.notes.push(format!(
                "the policies were read from {} and no snapshot of them is kept: {problem}",
                self.directory.display()
            ));
        }
        Ok(in_force)
    }

    /// Reads the directory, and what becomes of it.
    fn take_up(&self, how: How) -> Result<Outcome, DocumentError> {
        let mut unwritten = None;
        let mut notes = Vec::new();
        let lock = match how.access {
            Access::Keep => match self.store.lock() {
                Ok(lock) => Some(lock),
                Err(error) => {
                    let remedy = match error.kind() {
                        io::ErrorKind::PermissionDenied => "; run it as root",
                        _ => "",
                    };
                    let lock = self.store.lock.display();
                    unwritten = Some(format!("cannot lock {lock}: {error}{remedy}"));
                    None
                }
            },
            Access::Look => None,
        };
        let current = self.store.current().unwrap_or_else(|problem| {
            notes.push(format!("which policies were in force before is not known: {problem}"));
            None
        });
        // Another may have done it while this one waited.
        if !how.commanded
            && !how.distrust
            && let Some(current) = current.clone()
            && let Some(in_force) = self.unchanged(current)
        {
            return Ok(Outcome { in_force, looser: Vec::new(), unwritten: None });
        }
        let known =
            current.as_ref().map_or_else(BTreeSet::new, |current| current.seen.watched.clone());
        let look = Look::at(&self.directory, &known);
        if let Some(current) = &current
            && let Some(in_force) = self.same_content(&look, current, how)
        {
            if lock.is_some()
                && let Some(seen) = look.seen.filter(Seen::is_settled)
            {
                let current = Current { seen, ..current.clone() };
                // The next start compares contents again.
                let _ = self.store.keep(None, &current);
            }
            return Ok(Outcome { in_force, looser: Vec::new(), unwritten: None });
        }
        let old = current.as_ref().and_then(|current| match Old::of(&self.store, current) {
            Ok(old) => Some(old),
            Err(problem) => {
                notes.push(format!("the policies that were in force before are lost: {problem}"));
                None
            }
        });
        let Parsed { seen, set } = look.parse(&self.directory);
        let next = self.decide(set, old.as_ref(), current.as_ref(), how)?;
        let in_force = self.put(next, old, current, seen, lock.is_some(), &mut unwritten)?;
        let (mut in_force, looser) = in_force;
        notes.append(&mut in_force.notes);
        Ok(Outcome { in_force: InForce { notes, ..in_force }, looser, unwritten })
    }

    /// The set in force, if the directory holds what it held when that was found out, though the times
    /// of its files are others.
    fn same_content(&self, look: &Look, current: &Current, how: How) -> Option<InForce> {
        let content = look.seen.as_ref()?.content.as_ref()?;
        let is_same = current.seen.content.as_ref() == Some(content)
            && current.rules == self.rules()
            && current.directory == self.directory
            && !how.distrust
            && !(how.commanded && current.kept.is_some());
        if !is_same {
            return None;
        }
        let snapshot = self.store.open(&current.root).ok()?;
        snapshot.check_build().ok()?;
        Some(self.told(Set::Kept(Box::new(snapshot)), current))
    }

    /// Whether what was read takes the place of what is in force.
    fn decide(
        &self,
        set: Result<(Sources, Directory), DocumentError>,
        old: Option<&Old>,
        current: Option<&Current>,
        how: How,
    ) -> Result<Next, DocumentError> {
        let (sources, directory) = match set {
            Ok(set) => set,
            Err(error) if old.is_none() || self.policy.broken == Broken::Refuse => {
                return Err(error);
            }
            Err(error) => {
                let refusal =
                    Refusal { kind: Kept::Broken, why: error.to_string(), looser: Vec::new() };
                return Ok(Next::Old(refusal));
            }
        };
        let keys = Keys::parse(&self.policy.trusted_keys).map_err(|error: SignatureError| {
            unusable(std::path::Path::new(coaming_config::CONFIG_FILE), error.to_string())
        })?;
        let offer = Offer {
            sources: &sources,
            directory: &directory,
            loosening: self.policy.loosening,
            signatures: self.policy.signatures,
            keys: &keys,
            latest_signature: current.and_then(|current| current.latest_signature),
            commanded: how.commanded,
        };
        let in_force = old.map(|old| SetInForce { directory: &old.directory, digest: old.digest });
        match judge(&offer, in_force.as_ref()) {
            Verdict::Accepted { signed, looser } => {
                Ok(Next::New { sources, directory: Box::new(directory), signed, looser })
            }
            Verdict::Refused(refusal)
                if old.is_none()
                    || refusal.kind == Kept::Broken && self.policy.broken == Broken::Refuse =>
            {
                Err(unusable(&self.directory, refusal.why))
            }
            Verdict::Refused(refusal) => Ok(Next::Old(refusal)),
        }
    }

    /// Keeps what was decided, if that can be done, and gives the set that is in force now.
    fn put(
        &self,
        next: Next,
        old: Option<Old>,
        current: Option<Current>,
        seen: Option<Seen>,
        write: bool,
        unwritten: &mut Option<String>,
    ) -> Result<(InForce, Vec<String>), DocumentError> {
        let now = Moment::now().0;
        let before = current.as_ref();
        let latest = before.and_then(|current| current.latest_signature);
        let is_old = matches!(next, Next::Old(_));
        let (sources, directory, signed, kept, looser) = match (next, old) {
            (Next::New { sources, directory, signed, looser }, _) => {
                (sources, directory, signed, None, looser)
            }
            (Next::Old(refusal), Some(old)) => {
                // Told from when it was first known, while the reason is the same.
                let known = before.and_then(|current| current.kept.as_ref());
                let since =
                    known.filter(|kept| kept.refusal == refusal).map_or(now, |kept| kept.since);
                let signed = before.and_then(|current| current.signed.clone());
                (
                    old.sources,
                    Box::new(old.directory),
                    signed,
                    Some(Since { refusal, since }),
                    Vec::new(),
                )
            }
            // Nothing is refused where there is nothing to hold instead.
            (Next::Old(refusal), None) => return Err(unusable(&self.directory, refusal.why)),
        };
        let known = before.filter(|_| is_old).map(|current| current.accepted);
        let latest = latest.max(signed.as_ref().map(|signed| signed.timestamp));
        let in_force = InForce {
            set: Set::Read(directory),
            digest: Some(sources.digest()),
            accepted: known,
            signed: signed.clone(),
            kept: kept.clone(),
            notes: Vec::new(),
            directory: self.directory.display().to_string(),
        };
        if write {
            let Set::Read(directory) = &in_force.set else { return Ok((in_force, looser)) };
            let (root, bytes) = encode(directory, &sources)?;
            let same = before.filter(|current| current.root == root.to_string());
            let accepted = known.or(same.map(|current| current.accepted)).unwrap_or(now);
            let next = Current {
                version: VERSION,
                root: root.to_string(),
                directory: self.directory.clone(),
                accepted,
                signed,
                latest_signature: latest,
                rules: self.rules(),
                seen: seen.unwrap_or_default(),
                kept,
            };
            if let Err(error) = self.write(root, &bytes, &next) {
                let folder = self.store.folder.display();
                unwritten.get_or_insert(format!("cannot write to {folder}: {error}"));
            }
            return Ok((InForce { accepted: Some(accepted), ..in_force }, looser));
        }
        Ok((in_force, looser))
    }

    fn write(&self, root: Root, bytes: &[u8], next: &Current) -> io::Result<()> {
        self.store.keep(Some((root, bytes)), next)
    }
}

/// What the configuration says of how a directory is judged, in short.
pub(super) fn rules(policy: &Policy) -> String {
    let Policy { broken, loosening, signatures, trusted_keys, break_glass_hours: _ } = policy;
    let text = format!("{broken:?} {loosening:?} {signatures:?} {trusted_keys:?}");
    hex(&Sha256::digest(text))
}

/// The set that is in force, with what it was made from.
#[derive(Debug)]
struct Old {
    sources: Sources,
    directory: Directory,
    digest: [u8; 32],
}

impl Old {
    fn of(store: &Store, current: &Current) -> Result<Old, String> {
        let sources = store
            .open(&current.root)
            .and_then(|snapshot| snapshot.sources())
            .map_err(|error| error.to_string())?;
        let directory = sources.replay().map_err(|error| error.to_string())?;
        let digest = sources.digest();
        Ok(Old { sources, directory, digest })
    }
}

/// Which set is in force from now on.
#[derive(Debug)]
enum Next {
    New {
        sources: Sources,
        directory: Box<Directory>,
        signed: Option<coaming_policy::snapshot::Signed>,
        looser: Vec<String>,
    },
    Old(Refusal),
}
