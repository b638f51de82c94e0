//! Reading the kernel's files of a cgroup.

use std::collections::HashMap;
use std::io;
use std::path::Path;

/// The value that v2 writes for "no limit".
const MAX: &str = "max";

/// A file of one number. `max` stands for what "no limit" is counted as; a negative number for 0.
pub(super) fn number(path: &Path, max: u64) -> io::Result<u64> {
    let text = std::fs::read_to_string(path)?;
    parse(text.trim(), max).ok_or_else(|| malformed(path, &text))
}

/// A file of lines, each a name and a number.
pub(super) fn pairs(path: &Path) -> io::Result<HashMap<String, u64>> {
    let text = std::fs::read_to_string(path)?;
    text.lines()
        .map(|line| {
            let mut words = line.split_ascii_whitespace();
            match (words.next(), words.next().and_then(|word| parse(word, 0)), words.next()) {
                (Some(name), Some(value), None) => Ok((name.to_owned(), value)),
                _ => Err(malformed(path, line)),
            }
        })
        .collect()
}

/// A line of rdma.current or rdma.max: the device, its handles, its objects.
pub(super) fn rdma(line: &str) -> Option<(String, u32, u32)> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [device, first, second] = words[..] else { return None };
    let (mut handles, mut objects) = (0, 0);
    for word in [first, second] {
        let Some((key, value)) = word.split_once('=') else { continue };
        let Some(value) = parse(value, u64::from(u32::MAX)) else { continue };
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        match key {
            "hca_handle" => handles = value,
            "hca_object" => objects = value,
            _ => {}
        }
    }
    Some((device.to_owned(), handles, objects))
}

/// The sizes of huge pages that this machine has, as files of the hugetlb controllers are named: "2MB", "1GB".
pub(super) fn huge_page_sizes(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut sizes: Vec<u64> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()
        })
        .collect();
    sizes.sort_unstable();
    sizes
        .into_iter()
        .map(|kilobytes| match kilobytes {
            size if size >= 1 << 20 => format!("{}GB", size >> 20),
            size if size >= 1 << 10 => format!("{}MB", size >> 10),
            size => format!("{size}KB"),
        })
        .collect()
}

fn parse(text: &str, max: u64) -> Option<u64> {
    match text {
        MAX => Some(max),
        // The kernel writes some counters as signed; Go's library takes what is below zero for none.
        text if text.starts_with('-') => text.parse::<i128>().ok().map(|_| 0),
        text => text.parse().ok(),
    }
}

fn malformed(path: &Path, text: &str) -> io::Error {
    let shown: String = text.chars().take(100).collect();
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {shown:?}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_pairs() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write("12\n");
        assert_eq!(number(&file, 0).unwrap(), 12);
        write("max\n");
        assert_eq!(number(&file, u64::MAX).unwrap(), u64::MAX);
        write("-1\n");
        assert_eq!(number(&file, 7).unwrap(), 0);
        write("x\n");
        assert_eq!(number(&file, 0).unwrap_err().kind(), io::ErrorKind::InvalidData);
        write("a 1\nb -2\n");
        let read = pairs(&file).unwrap();
        assert_eq!((read["a"], read["b"]), (1, 0));
        write("a 1 2\n");
        assert!(pairs(&file).is_err());
        write("a\n");
        assert!(pairs(&file).is_err());
        assert_eq!(
            pairs(&directory.path().join("no")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn rdma_lines() {
        let line = "mlx4_0 hca_handle=2 hca_object=max";
        assert_eq!(rdma(line), Some(("mlx4_0".to_owned(), 2, u32::MAX)));
        assert_eq!(rdma("mlx4_0 hca_handle=2"), None);
        assert_eq!(rdma(""), None);
    }

    #[test]
    fn sizes_of_huge_pages() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["hugepages-1048576kB", "hugepages-2048kB", "hugepages-64kB", "other"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        assert_eq!(huge_page_sizes(directory.path()), ["64KB", "2MB", "1GB"]);
        assert!(huge_page_sizes(&directory.path().join("no")).is_empty());
    }
}
