//! The index: where a start finds the policies of its container, without reading those of others.
//!
//! Policies that name namespaces, without `*`, are kept by the namespace's digest, some to a chunk; all others are in a
//! chunk of their own, which every start reads. So of ten thousand policies for as many namespaces a start reads a dozen.
//! In a chunk, selectors that are alike are kept once, and before one is decoded the container's namespace is held
//! against the patterns that it names, as they stand in the file.

use std::collections::{BTreeSet, HashMap};

use super::bytes::{Reader, Writer};
use super::{SnapshotError, damaged, sha256};
use crate::controls::glob::{self, Glob};
use crate::document::{Directory, Match};
use crate::facts::{Fact, Facts};

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

/// How many policies of known namespaces come to a chunk; in the tests' small sets, few.
const TO_A_CHUNK: usize = if cfg!(test) { 1 } else { 16 };
const MAX_CHUNKS: usize = 4096;

/// The chunks that are written.
#[derive(Debug)]
pub(super) struct Chunks(Vec<Chunk>);

impl Chunks {
    /// Chunks for so many policies and waivers: one for those of any namespace, and those by namespace.
    pub(super) fn of(count: usize) -> Chunks {
        let by_namespace = (count / TO_A_CHUNK).clamp(1, MAX_CHUNKS);
        Chunks((0..=by_namespace).map(|_| Chunk::default()).collect())
    }

    /// A policy.
    pub(super) fn policy(&mut self, selector: &Match, part: Part) -> Result<(), serde_json::Error> {
        self.each_of(selector, |chunk, number| chunk.policies.push((number, part)))
    }

    /// A waiver.
    pub(super) fn waiver(&mut self, selector: &Match, part: Part) -> Result<(), serde_json::Error> {
        self.each_of(selector, |chunk, number| chunk.waivers.push((number, part)))
    }

    fn each_of(
        &mut self,
        selector: &Match,
        put: impl Fn(&mut Chunk, usize),
    ) -> Result<(), serde_json::Error> {
        let count = self.0.len();
        let chunks: BTreeSet<usize> = match selector.namespaces.as_deref() {
            Some(names) if names.iter().all(Glob::is_literal) => {
                names.iter().map(|name| chunk_of(name.as_str(), count)).collect()
            }
            _ => BTreeSet::from([0]),
        };
        for number in chunks {
            if let Some(chunk) = self.0.get_mut(number) {
                let selector = chunk.selectors.number(selector)?;
                put(chunk, selector);
            }
        }
        Ok(())
    }

    /// The bytes of each, in their order; none for one that is empty.
    pub(super) fn write(self) -> impl Iterator<Item = Vec<u8>> {
        self.0.into_iter().map(Chunk::write)
    }
}

/// The chunk of a namespace, of so many; the first is for those of any.
fn chunk_of(namespace: &str, count: usize) -> usize {
    let digest = sha256(namespace.as_bytes());
    let number = digest.iter().take(4).fold(0, |number, byte| number << 8 | usize::from(*byte));
    1 + number % count.saturating_sub(1).max(1)
}

/// One that is written.
#[derive(Debug, Default)]
struct Chunk {
    selectors: Selectors,
    policies: Vec<(usize, Part)>,
    waivers: Vec<(usize, Part)>,
}

impl Chunk {
    fn write(self) -> Vec<u8> {
        let mut to = Writer::default();
        if self.selectors.known.is_empty() {
            return to.0;
        }
        self.selectors.write(&mut to);
        for members in [self.policies, self.waivers] {
            to.u32(members.len());
            for (selector, part) in members {
                to.u32(selector);
                part.write(&mut to);
            }
        }
        to.0
    }
}

/// The selectors of a chunk that is written.
#[derive(Debug, Default)]
struct Selectors {
    known: HashMap<Vec<u8>, usize>,
    written: Writer,
}

impl Selectors {
    /// The number of a selector, which is kept if it is new.
    fn number(&mut self, selector: &Match) -> Result<usize, serde_json::Error> {
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

    fn write(self, to: &mut Writer) {
        to.u32(self.known.len());
        to.0.extend(self.written.0);
    }
}

/// What the chunks say, for one container.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Selected {
    pub(super) policies: Vec<Chosen>,
    pub(super) waivers: Vec<Chosen>,
}

impl Selected {
    /// Adds what a chunk has for the container.
    pub(super) fn add(&mut self, chunk: &[u8], facts: &Facts) -> Result<(), SnapshotError> {
        let mut rest = Reader(chunk);
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
        let of = |number: usize| {
            selectors.get(number).ok_or_else(|| damaged("a selector that is not there"))
        };
        for _ in 0..rest.count(4 + Part::SIZE)? {
            let (number, part) = (rest.u32()?, Part::read(&mut rest)?);
            let Judged { selects, fault, .. } = of(number)?;
            if *selects {
                self.policies.push(Chosen { part, fault: fault.clone() });
            }
        }
        for _ in 0..rest.count(4 + Part::SIZE)? {
            let (number, part) = (rest.u32()?, Part::read(&mut rest)?);
            let Judged { for_certain, fault, .. } = of(number)?;
            if *for_certain || fault.is_some() {
                self.waivers.push(Chosen { part, fault: fault.clone() });
            }
        }
        rest.end()
    }

    /// In the order in which they were written, each once: one that names several namespaces of a container that is said
    /// to be in several is found by each.
    pub(super) fn in_order(mut self) -> Selected {
        for chosen in [&mut self.policies, &mut self.waivers] {
            chosen.sort_by_key(|chosen| chosen.part.offset);
            chosen.dedup_by_key(|chosen| chosen.part.offset);
        }
        self
    }
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
    chunks: Vec<Part>,
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
        let chunks = rest.count(Part::SIZE)?;
        let chunks = (0..chunks).map(|_| Part::read(&mut rest)).collect::<Result<_, _>>()?;
        rest.end()?;
        Ok(Index { build, set, policies, waivers, asks, built_in, chunks })
    }

    /// The chunks in which something for a container can stand.
    pub(super) fn chunks_for(&self, facts: &Facts) -> Vec<Part> {
        let namespaces = facts.namespace.iter().flat_map(Fact::values);
        let numbers: BTreeSet<usize> = std::iter::once(0)
            .chain(namespaces.map(|namespace| chunk_of(namespace, self.chunks.len())))
            .collect();
        let chunks = numbers.into_iter().filter_map(|number| self.chunks.get(number));
        chunks.filter(|part| part.length > 0).copied().collect()
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
