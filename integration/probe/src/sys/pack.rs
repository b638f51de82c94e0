//! Kernel structs, byte by byte: no padding to leak, no layout to get wrong silently.

/// A struct being written in native byte order.
#[derive(Default)]
pub(crate) struct Pack(Vec<u8>);

impl Pack {
    pub(crate) fn new() -> Pack {
        Pack::default()
    }

    pub(crate) fn u8(mut self, value: u8) -> Pack {
        self.0.push(value);
        self
    }

    pub(crate) fn u16(mut self, value: u16) -> Pack {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Pack {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub(crate) fn i32(mut self, value: i32) -> Pack {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Pack {
        self.0.extend(value.to_ne_bytes());
        self
    }

    pub(crate) fn bytes(mut self, value: &[u8]) -> Pack {
        self.0.extend(value);
        self
    }

    /// The address of `target`, which the caller keeps alive until the call is over.
    pub(crate) fn address(self, target: &[u8]) -> Pack {
        self.u64(target.as_ptr() as u64)
    }

    /// The address of `target`, for the kernel to write to.
    pub(crate) fn address_mut(self, target: &mut [u8]) -> Pack {
        self.u64(target.as_mut_ptr() as u64)
    }

    /// Zeroes up to `size` bytes.
    pub(crate) fn pad_to(mut self, size: usize) -> Pack {
        self.0.resize(size.max(self.0.len()), 0);
        self
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0
    }
}

/// Four bytes at `at`, as the kernel wrote them; 0 beyond the end.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).unwrap_or([0; 4]);
    u32::from_ne_bytes(word)
}
