//! Numbers and strings as bytes: little-endian, lengths before contents, nothing read past the end.

use super::{SnapshotError, damaged};

/// Written by [`Writer`] and read by [`Reader`].
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn u32(&mut self, number: usize) {
        // Lengths are of files of at most a megabyte, and counts of at most that many entries.
        self.0.extend(u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
    }

    pub(super) fn u64(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    pub(super) fn digest(&mut self, digest: &[u8; 32]) {
        self.0.extend(digest);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.u32(bytes.len());
        self.0.extend(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}

/// Reads what may be anything.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], SnapshotError> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or_else(|| damaged("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| damaged("it ends too early"))
    }

    pub(super) fn u32(&mut self) -> Result<usize, SnapshotError> {
        let number = u32::from_le_bytes(self.array()?);
        usize::try_from(number).map_err(|_| damaged("a length that this machine does not have"))
    }

    pub(super) fn u64(&mut self) -> Result<u64, SnapshotError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn digest(&mut self) -> Result<[u8; 32], SnapshotError> {
        self.array()
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], SnapshotError> {
        let length = self.u32()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, SnapshotError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| damaged("a text that is not UTF-8"))
    }

    /// How many entries follow, each of `least` bytes or more: nothing is set aside for more than there
    /// is room for.
    pub(super) fn count(&mut self, least: usize) -> Result<usize, SnapshotError> {
        let count = self.u32()?;
        if count > self.0.len() / least.max(1) {
            return Err(damaged("it says that it has more entries than it has room for"));
        }
        Ok(count)
    }

    pub(super) fn end(&self) -> Result<(), SnapshotError> {
        if self.0.is_empty() { Ok(()) } else { Err(damaged("something stands behind its end")) }
    }
}
