//! The index: what a start reads of every policy, to know which it needs.
//!
//! Selectors that are alike are kept once. Before one is decoded, the container's namespace is held
//! against the namespaces that it names, as they stand in the file: of a thousand policies for a
//! thousand namespaces, one is decoded.

use std::collections::HashMap;

use super::bytes::{Reader, Writer};
use super::{SnapshotError, damaged};
use crate::controls::glob;
use crate::document::{Directory, Match};
use crate::facts::Facts;

/// What every snapshot begins with.
pub(super) const MAGIC: [u8; 8] = *b"COAMING\x01";
/// The bytes before the index: the magic, the lengths of index, parts and sources, the sources' digest.
pub(super) const HEADER: u64 = 8 + 3 * 8 + 32;

/// The digest of a snapshot's header and index, which is its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root(pub [u8; 32]);

impl std::fmt::Display for Root {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl std::str::FromStr for Root {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Root, SnapshotError> {
        let wrong = || damaged(format!("{text:?} is not a snapshot's name"));
        let mut root = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        for (at, byte) in root.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Root(root))
    }
}

/// Where a part of the snapshot stands, behind the index, and its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) digest: [u8; 32],
}

impl Part {
    /// The bytes of a part in the file.
    pub(super) const SIZE: usize = 8 + 8 + 32;

    pub(super) fn write(&self, to: &mut Writer) {
        to.u64(self.offset);
        to.u64(self.length);
        to.digest(&self.digest);
    }

    fn read(from: &mut Reader<'_>) -> Result<Part, SnapshotError> {
        Ok(Part { offset: from.u64()?, length: from.u64()?, digest: from.digest()? })
    }
}

/// The selectors of the policies that are written.
#[derive(Debug, Default)]
pub(super) struct Selectors {
    known: HashMap<Vec<u8>, usize>,
    written: Writer,
}

impl Selectors {
    /// The number of a selector, which is kept if it is new.
    pub(super) fn number(&mut self, selector: &Match) -> Result<usize, serde_json::Error> {
        let text = serde_json::to_vec(selector)?;
        let next = self.known.len();
        let number = *self.known.entry(text.clone()).or_insert(next);
        if number == next {
            // One more than there are, so that a list that is empty is told from one that is not given.
            let globs = selector.namespaces.as_deref();
            self.written.u32(globs.map_or(0, |globs| globs.len() + 1));
            for glob in globs.unwrap_or_default() {
                self.written.text(glob.as_str());
            }
            self.written.bytes(&text);
        }
        Ok(number)
    }

    pub(super) fn write(self, to: &mut Writer) {
        to.u32(self.known.len());
        to.0.extend(self.written.0);
    }
}

/// What an index says, for one container.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Selected {
    pub(super) policies: Vec<Chosen>,
    pub(super) waivers: Vec<Chosen>,
}

/// A part that selects a container, or would if its expression had a value.
#[derive(Debug, PartialEq)]
pub(super) struct Chosen {
    pub(super) part: Part,
    /// Why the expression has none.
    pub(super) fault: Option<String>,
}

/// What a selector says of a container.
#[derive(Debug, Clone, Default)]
struct Judged {
    selects: bool,
    for_certain: bool,
    fault: Option<String>,
}

/// What must be known of a request, besides its spec, to tell which policies are for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asks {
    /// [`Directory::tells_doors_apart`]
    pub(super) door: bool,
    /// [`Directory::goes_by_labels`]
    pub(super) labels: bool,
}

impl Asks {
    pub(super) fn of(directory: &Directory) -> Asks {
        Asks { door: directory.tells_doors_apart(), labels: directory.goes_by_labels() }
    }

    pub(super) fn encode(self) -> usize {
        usize::from(self.door) | usize::from(self.labels) << 1
    }

    fn decode(bits: usize) -> Asks {
        Asks { door: bits & 1 > 0, labels: bits & 2 > 0 }
    }
}

/// An index as it was read, with what stands at its beginning taken off.
#[derive(Debug, Clone)]
pub(super) struct Index<'a> {
    pub(super) build: &'a str,
    pub(super) set: [u8; 32],
    pub(super) policies: usize,
    pub(super) waivers: usize,
    pub(super) asks: Asks,
    pub(super) built_in: Vec<(&'a str, Part)>,
    rest: Reader<'a>,
}

impl<'a> Index<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Index<'a>, SnapshotError> {
        let mut rest = Reader(bytes);
        let (build, set) = (rest.text()?, rest.digest()?);
        let (policies, waivers) = (rest.u32()?, rest.u32()?);
        let asks = Asks::decode(rest.u32()?);
        let mut built_in = Vec::new();
        for _ in 0..rest.count(4 + Part::SIZE)? {
            built_in.push((rest.text()?, Part::read(&mut rest)?));
        }
        Ok(Index { build, set, policies, waivers, asks, built_in, rest })
    }

    /// The parts of the policies and waivers that select a container.
    pub(super) fn select(&self, facts: &Facts) -> Result<Selected, SnapshotError> {
        let mut rest = self.rest.clone();
        let count = rest.count(4 + 4)?;
        // For policies one of contradicting annotations is enough; for waivers all must hold.
        let mut selectors: Vec<Judged> = Vec::with_capacity(count);
        for _ in 0..count {
            let may = may_select(&mut rest, facts)?;
            let text = rest.bytes()?;
            selectors.push(if may {
                let selector: Match = serde_json::from_slice(text)
                    .map_err(|error| damaged(format!("a selector: {error}")))?;
                Judged {
                    selects: selector.selects(facts),
                    for_certain: selector.selects_for_certain(facts),
                    fault: selector.fault(facts),
                }
            } else {
                Judged::default()
            });
        }
        let mut chosen = Selected::default();
        let of = |number: usize| {
            selectors.get(number).cloned().ok_or_else(|| damaged("a selector that is not there"))
        };
        for _ in 0..rest.count(4 + Part::SIZE)? {
            let (number, part) = (rest.u32()?, Part::read(&mut rest)?);
            let Judged { selects, fault, .. } = of(number)?;
            if selects {
                chosen.policies.push(Chosen { part, fault });
            }
        }
        for _ in 0..rest.count(4 + Part::SIZE)? {
            let (number, part) = (rest.u32()?, Part::read(&mut rest)?);
            let Judged { for_certain, fault, .. } = of(number)?;
            if for_certain || fault.is_some() {
                chosen.waivers.push(Chosen { part, fault });
            }
        }
        rest.end()?;
        Ok(chosen)
    }
}

/// Whether the namespaces leave it open that the selector which follows selects a container.
fn may_select(from: &mut Reader<'_>, facts: &Facts) -> Result<bool, SnapshotError> {
    let given = from.u32()?;
    let mut may = given == 0;
    for _ in 1..given {
        let pattern = from.text()?;
        may = may
            || facts
                .namespace
                .as_ref()
                .is_some_and(|fact| fact.values().any(|value| glob::matches(pattern, value)));
    }
    Ok(may)
}
