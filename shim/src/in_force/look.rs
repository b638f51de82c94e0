//! Reading a directory that others may be changing at the same time.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use coaming_policy::document::{Directory, DocumentError, Listing, Sources};

use super::scan::{Seen, scan, watched};
use super::unusable;
use crate::host::hex;

/// How often a directory that changes while it is read is read again.
const LOOKS: u32 = 6;

/// What a look at a directory brought.
#[derive(Debug)]
pub(super) struct Look {
    /// The directory as it was; none where that cannot be said, so that the next start looks anew.
    pub(super) seen: Option<Seen>,
    /// Its files. Profiles are among them as far as they were known before.
    pub(super) sources: Result<Sources, DocumentError>,
    taken: i64,
    listing: Listing,
}

impl Look {
    /// Reads a directory as it was at one moment. `known` is what was watched when it was last
    /// looked at: the profiles that policies named then are among it.
    pub(super) fn at(directory: &Path, known: &BTreeSet<String>) -> Look {
        let mut look = Look::once(directory, known);
        for again in 1..LOOKS {
            // A file that was listed and is gone was replaced or removed meanwhile.
            let is_settled = look.sources.as_ref().is_err_and(|error| !error.is_not_found());
            if look.seen.is_some() || is_settled {
                return look;
            }
            std::thread::sleep(Duration::from_millis(10 << again));
            look = Look::once(directory, known);
        }
        if look.seen.is_none() && look.sources.is_ok() {
            look.sources =
                Err(unusable(directory, "it does not stop changing while it is read".to_owned()));
        }
        look
    }

    fn once(directory: &Path, known: &BTreeSet<String>) -> Look {
        let taken = Seen::begin();
        let listing = match Listing::of(directory) {
            Ok(listing) => listing,
            Err(error) => {
                let seen = lasting(&error)
                    .then(|| Seen::of(directory, taken, BTreeSet::new(), None).ok())
                    .flatten();
                return Look { seen, sources: Err(error), taken, listing: Listing::default() };
            }
        };
        let names = watched(&listing, known.iter().map(String::as_str));
        let before = scan(directory, &names);
        let sources = Sources::read(directory, listing.clone()).map(|mut sources| {
            // What is watched is more than profiles.
            let listed: BTreeSet<&str> = listing.names().collect();
            let known = known.iter().map(String::as_str);
            sources.read_profiles(known.filter(|name| !listed.contains(name)));
            sources
        });
        let content = sources.as_ref().ok().map(|sources| hex(&sources.whole_digest()));
        let seen = match (&sources, before) {
            (Err(error), _) if !lasting(error) => None,
            (_, Err(_)) => None,
            // Nothing was changed while it was read; so it is one state, and not parts of two.
            (_, Ok(before)) => {
                Seen::of(directory, taken, names, content).ok().filter(|seen| seen.is_of(&before))
            }
        };
        Look { seen, sources, taken, listing }
    }

    /// Parses what was read, and reads the profiles that it names.
    pub(super) fn parse(self, directory: &Path) -> Parsed {
        let Look { seen, sources, taken, listing } = self;
        let mut sources = match sources {
            Ok(sources) => sources,
            Err(error) => return Parsed { seen, set: Err(error) },
        };
        let parsed = sources.parse();
        let is_lasting = parsed.as_ref().err().is_none_or(lasting);
        let names = watched(&listing, sources.profile_names());
        let content = hex(&sources.whole_digest());
        // A profile that changes after this look began is looked at again, by the times of its change.
        let seen = seen
            .filter(|_| is_lasting)
            .and_then(|_| Seen::of(directory, taken, names, Some(content)).ok());
        Parsed { seen, set: parsed.map(|parsed| (sources, parsed)) }
    }
}

/// A directory that was read and parsed.
#[derive(Debug)]
pub(super) struct Parsed {
    /// As [`Look::seen`], with the profiles that are named now.
    pub(super) seen: Option<Seen>,
    /// Its files, and what they say.
    pub(super) set: Result<(Sources, Directory), DocumentError>,
}

/// Whether an error is of the files and not of the moment.
fn lasting(error: &DocumentError) -> bool {
    !matches!(error, DocumentError::Io { error, .. } if error.kind() != std::io::ErrorKind::NotFound)
}
