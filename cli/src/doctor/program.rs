//! What kind of program a file is: whether it needs libraries, which a container does not have.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Far more than the headers of any program.
const HEADERS: u64 = 64 * 1024;
/// elf(5): a segment that names the program's loader.
const PT_INTERP: u32 = 3;

pub(super) fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0)
}

/// Whether it runs without a loader and libraries.
///
/// # Errors
/// Why not, in words.
pub(super) fn is_static(path: &Path) -> Result<(), String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(HEADERS).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    match has_loader(&bytes) {
        Some(false) => Ok(()),
        Some(true) => {
            Err("it is not static: it needs a loader, which a container does not have".to_owned())
        }
        None => Err("it is no program for this machine (ELF, 64 bits, little endian)".to_owned()),
    }
}

/// Reads the program headers of an ELF file of 64 bits (elf(5)).
fn has_loader(bytes: &[u8]) -> Option<bool> {
    let number = |at: usize, length: usize| -> Option<usize> {
        let digits = bytes.get(at..at.checked_add(length)?)?;
        digits
            .iter()
            .rev()
            .try_fold(0_usize, |sum, digit| sum.checked_mul(256)?.checked_add(usize::from(*digit)))
    };
    (bytes.get(..6)? == b"\x7fELF\x02\x01").then_some(())?;
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for index in 0..count {
        let kind = number(table.checked_add(index.checked_mul(size)?)?, 4)?;
        if u32::try_from(kind) == Ok(PT_INTERP) {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_with_a_loader_are_told_from_those_without() {
        assert!(is_static(Path::new("/bin/true")).unwrap_err().contains("loader"));
        assert!(is_static(Path::new("/etc/hostname")).unwrap_err().contains("no program"));
        let header = |kind: u8| {
            let mut elf = vec![0_u8; 64 + 56];
            elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
            (elf[32], elf[54], elf[56], elf[64]) = (64, 56, 1, kind);
            elf
        };
        assert_eq!(has_loader(&header(1)), Some(false));
        assert_eq!(has_loader(&header(3)), Some(true));
        assert_eq!(has_loader(&header(3)[..60]), None, "cut off");
        let mut wild = header(1);
        wild[32..40].fill(0xff);
        assert_eq!(has_loader(&wild), None, "a table beyond everything");
    }
}
