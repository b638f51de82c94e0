//! Events: the records of one serial number, put together.

use std::collections::BTreeMap;

use crate::record::{Kind, Record, Stamp};

/// The most events that wait for the rest of their records.
const MAX_WAITING: usize = 4096;
/// The most records of one event.
const MAX_RECORDS: usize = 64;

/// The records of one event, in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its time and number.
    pub stamp: Stamp,
    /// Its records, one at least.
    pub records: Vec<Record>,
}

impl Event {
    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.kind == kind)
    }

    /// The Landlock domain that the event tells of, and the process that made it.
    pub fn domains(&self) -> impl Iterator<Item = (u64, u32)> {
        self.of(Kind::LandlockDomain)
            .filter_map(|record| Some((record.hex("domain")?, record.pid()?)))
    }
}

/// Puts events together. Records of several events may come mixed.
#[derive(Debug, Default)]
pub struct Assembler {
    waiting: BTreeMap<Stamp, Vec<Record>>,
}

impl Assembler {
    /// Takes a record in. Gives an event that is complete by it, or that has waited longest where too many do.
    pub fn push(&mut self, record: Record) -> Option<Event> {
        let stamp = record.stamp;
        let ends = record.kind == Kind::EndOfEvent;
        let records = self.waiting.entry(stamp).or_default();
        if records.len() < MAX_RECORDS {
            records.push(record);
        }
        let whole = match ends {
            true => self.waiting.remove_entry(&stamp),
            false if self.waiting.len() > MAX_WAITING => self.waiting.pop_first(),
            false => None,
        };
        whole.map(|(stamp, records)| Event { stamp, records })
    }

    /// Events that began before this time, in milliseconds since 1970: a kernel without contexts of system calls marks
    /// no end.
    pub fn before(&mut self, millis: u64) -> Vec<Event> {
        let later = self.waiting.split_off(&Stamp { millis, serial: 0 });
        let whole = std::mem::replace(&mut self.waiting, later);
        whole.into_iter().map(|(stamp, records)| Event { stamp, records }).collect()
    }

    /// All that is left.
    pub fn rest(&mut self) -> Vec<Event> {
        self.before(u64::MAX)
    }
}
