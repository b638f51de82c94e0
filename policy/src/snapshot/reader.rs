//! Reading a snapshot: the index at once, and of all else what a container needs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use serde::de::DeserializeOwned;

use super::bytes::Reader;
use super::encode::Stated;
use super::index::{Chosen, HEADER, Index, MAGIC, Part, Root, Selected};
use super::waiver::Kept;
use super::{MAX_PART, SnapshotError, build, damaged, sha256};
use crate::demands::{Selection, fault_of_waiver};
use crate::document::{BuiltIn, Sources};
use crate::facts::Facts;
use crate::floor::Floor;

/// Where the bytes of a snapshot lie: a file, or memory.
pub trait ReadAt {
    /// The bytes from `offset` on, as many as `buffer` has room for and no fewer.
    ///
    /// # Errors
    /// Those of reading; that there are not so many.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for std::fs::File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let there = self.get(from..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A snapshot whose index has been checked.
#[derive(Debug)]
pub struct Snapshot<F> {
    pub(super) from: F,
    /// Header and index.
    front: Vec<u8>,
    parts: u64,
    sources: u64,
    sources_digest: [u8; 32],
}

impl<F: ReadAt> Snapshot<F> {
    /// Opens the snapshot of a name.
    ///
    /// # Errors
    /// [`SnapshotError`]: what is read is not what was written under this name.
    pub fn open(from: F, root: Root) -> Result<Snapshot<F>, SnapshotError> {
        let mut front = part(&from, 0, HEADER)?;
        let mut header = Reader(front.get(MAGIC.len()..).unwrap_or_default());
        if !front.starts_with(&MAGIC) {
            return Err(damaged("it does not begin as one"));
        }
        let (index, parts, sources) = (header.u64()?, header.u64()?, header.u64()?);
        let sources_digest = header.digest()?;
        front.extend(part(&from, HEADER, index)?);
        if sha256(&front) != root.0 {
            return Err(damaged("its index is not the one that its name stands for"));
        }
        Ok(Snapshot { from, front, parts, sources, sources_digest })
    }

    fn index(&self) -> Result<Index<'_>, SnapshotError> {
        let length = usize::try_from(HEADER).unwrap_or(usize::MAX);
        Index::read(self.front.get(length..).unwrap_or_default())
    }

    /// The digest of the set that it was made from ([`Sources::digest`]).
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`].
    pub fn set(&self) -> Result<[u8; 32], SnapshotError> {
        Ok(self.index()?.set)
    }

    /// What selects a container, and the built-in floor.
    ///
    /// # Errors
    /// [`SnapshotError`]; of another build's snapshot nothing but its sources is used.
    pub fn select(
        &self,
        facts: &Facts,
        built_in: BuiltIn,
    ) -> Result<(Selection, Floor), SnapshotError> {
        let index = self.current()?;
        let mut selected = Selected::default();
        for chunk in index.chunks_for(facts) {
            selected.add(&self.checked(chunk)?, facts)?;
        }
        let selected = selected.in_order();
        let mut selection = Selection::default();
        for Chosen { part, fault } in selected.policies {
            let Stated { terms, floor } = self.decode(part)?;
            selection.take(terms, floor, fault);
        }
        for Chosen { part, fault } in selected.waivers {
            let granted = self.decode::<Kept>(part)?.granted();
            match fault {
                None => selection.waivers.push(granted),
                Some(why) => {
                    let name = &granted.waiver.metadata.value.name;
                    selection.notes.push(fault_of_waiver(name, &granted.file, &why));
                }
            }
        }
        let beneath = index.built_in.iter().find(|(name, _)| *name == built_in.name());
        let (_, part) = beneath.ok_or_else(|| damaged("a built-in floor is not in it"))?;
        Ok((selection, self.decode(*part)?))
    }

    /// How many policies and waivers are in it.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn counts(&self) -> Result<(usize, usize), SnapshotError> {
        let index = self.index()?;
        Ok((index.policies, index.waivers))
    }

    /// Whether there are waivers in it, whomever they select.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn has_waivers(&self) -> Result<bool, SnapshotError> {
        Ok(self.index()?.waivers > 0)
    }

    /// Whether what it has for a container may depend on the door through which a request comes.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn tells_doors_apart(&self) -> Result<bool, SnapshotError> {
        Ok(self.index()?.asks.door)
    }

    /// Whether what it has for a container may depend on the labels of its pod.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn goes_by_labels(&self) -> Result<bool, SnapshotError> {
        Ok(self.index()?.asks.labels)
    }

    /// Its index, if this build wrote it.
    fn current(&self) -> Result<Index<'_>, SnapshotError> {
        let index = self.index()?;
        if index.build != build() {
            return Err(SnapshotError::OtherBuild(index.build.to_owned()));
        }
        Ok(index)
    }

    /// Whether this build wrote it.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn check_build(&self) -> Result<(), SnapshotError> {
        self.current().map(drop)
    }

    fn decode<T: DeserializeOwned>(&self, part: Part) -> Result<T, SnapshotError> {
        serde_json::from_slice(&self.checked(part)?)
            .map_err(|error| damaged(format!("a part: {error}")))
    }

    /// The bytes of a part.
    fn checked(&self, part: Part) -> Result<Vec<u8>, SnapshotError> {
        let end = part.offset.checked_add(part.length);
        if end.is_none_or(|end| end > self.parts) {
            return Err(damaged("a part lies outside of it"));
        }
        let bytes = self::part(&self.from, self.front.len() as u64 + part.offset, part.length)?;
        if sha256(&bytes) != part.digest {
            return Err(damaged("a part is not the one that its index names"));
        }
        Ok(bytes)
    }

    /// The files that it was made from, whichever version of coaming wrote it.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn sources(&self) -> Result<Sources, SnapshotError> {
        let from = (self.front.len() as u64)
            .checked_add(self.parts)
            .ok_or_else(|| damaged("its sources lie outside of it"))?;
        let bytes = part(&self.from, from, self.sources)?;
        if sha256(&bytes) != self.sources_digest {
            return Err(damaged("its sources are not the ones that its index names"));
        }
        let mut reader = Reader(&bytes);
        let mut sources =
            Sources { directory: OsStr::from_bytes(reader.bytes()?).into(), ..Sources::default() };
        for members in [&mut sources.files, &mut sources.profiles] {
            *members = files(&mut reader)?;
        }
        reader.end()?;
        Ok(sources)
    }
}

fn files(reader: &mut Reader<'_>) -> Result<BTreeMap<String, Vec<u8>>, SnapshotError> {
    (0..reader.count(8)?)
        .map(|_| Ok((reader.text()?.to_owned(), reader.bytes()?.to_owned())))
        .collect()
}

/// So many bytes, if they are not too many.
fn part(from: &impl ReadAt, offset: u64, length: u64) -> Result<Vec<u8>, SnapshotError> {
    if length > MAX_PART {
        return Err(damaged("a part of it is larger than any is written"));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    from.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}
