//! The hook's file.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::Program;

/// Enough for the program headers of any ELF file that a linker makes.
const HEADERS: u64 = 64 << 10;
const PT_INTERP: u32 = 3;

pub(super) fn examine(path: &Path) -> Result<Program, String> {
    let shown = path.display().to_string();
    if !path.is_absolute() {
        return Err(format!("{shown}: a hook's path must be absolute (runtime-spec, config.md)"));
    }
    let meta = fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?;
    if !meta.is_file() {
        return Err(format!("{shown} is not a regular file, and a hook must be one"));
    }
    let mut start = Vec::new();
    let file = File::open(path).map_err(|error| format!("{shown}: {error}"))?;
    file.take(HEADERS).read_to_end(&mut start).map_err(|error| format!("{shown}: {error}"))?;
    Ok(Program { path: shown, uid: meta.uid(), mode: meta.mode(), is_loaded: is_loaded(&start) })
}

/// Whether another program starts it: an ELF file with an interpreter, or a script. What is neither is taken
/// for such a one.
fn is_loaded(start: &[u8]) -> bool {
    if !start.starts_with(b"\x7fELF\x02\x01") {
        return true;
    }
    let number = |at: usize, size: usize| {
        let bytes = start.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0_usize, |value, byte| value << 8 | usize::from(*byte)))
    };
    // elf(5): e_phoff, e_phentsize, e_phnum of a 64-bit file.
    let (Some(offset), Some(size), Some(count)) = (number(32, 8), number(54, 2), number(56, 2))
    else {
        return true;
    };
    (0..count).any(|index| {
        let at = index.checked_mul(size).and_then(|at| at.checked_add(offset));
        at.and_then(|at| number(at, 4)).is_none_or(|kind| kind == PT_INTERP as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_loader_starts_is_told_from_what_starts_itself() {
        assert!(examine(Path::new("/bin/sh")).unwrap().is_loaded);
        assert!(is_loaded(b"#!/bin/sh\n") && is_loaded(b"") && is_loaded(b"\x7fELF\x02\x01"));
        // A file without program headers, and one whose only header is PT_LOAD.
        let mut file = vec![0; 120];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (file[32], file[54], file[56]) = (64, 56, 0);
        assert!(!is_loaded(&file));
        (file[56], file[64]) = (1, 1);
        assert!(!is_loaded(&file));
        file[64] = 3;
        assert!(is_loaded(&file));
    }

    #[test]
    fn what_is_no_hook_is_said() {
        assert!(examine(Path::new("bin/sh")).unwrap_err().contains("absolute"));
        assert!(examine(Path::new("/dev/null")).unwrap_err().contains("regular"));
        assert!(examine(Path::new("/nonexistent")).unwrap_err().contains("No such file"));
    }
}
