//! Little-endian primitives with bounds, for the plan alone.

use super::PlanError;

/// Collects the bytes of a plan.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn count(&mut self, count: usize, what: &'static str) -> Result<(), PlanError> {
        let limit = u32::MAX as usize;
        self.u32(u32::try_from(count).map_err(|_| PlanError::TooMany { what, count, limit })?);
        Ok(())
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes a plan's bytes from the front, never past the end.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn remaining(&self) -> usize {
        self.0.len()
    }

    pub(super) fn take(
        &mut self,
        length: usize,
        what: &'static str,
    ) -> Result<&'a [u8], PlanError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(PlanError::Truncated(what))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, PlanError> {
        self.array(what).map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, PlanError> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, PlanError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, PlanError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A count that is believed only up to `limit`.
    pub(super) fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, PlanError> {
        let count = self.u32(what)? as usize;
        if count > limit { Err(PlanError::TooMany { what, count, limit }) } else { Ok(count) }
    }

    /// A count and that many items. Memory grows with the bytes that are there, not with the
    /// number that they claim.
    pub(super) fn list<T>(
        &mut self,
        what: &'static str,
        limit: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, PlanError>,
    ) -> Result<Vec<T>, PlanError> {
        let count = self.count(what, limit)?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], PlanError> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(PlanError::Truncated(what))?;
        self.0 = rest;
        Ok(*taken)
    }
}
