//! Files of configuration, with the lines on which things stand.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use coaming_policy::controls::glob::Glob;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Place;

/// The largest file that is read, in bytes.
const MOST: u64 = 4 * 1024 * 1024;
/// Where managers look for a program, as systemd starts them.
const PATH: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The root of the tree that is looked at: `/`, but for tests.
#[derive(Debug, Clone)]
pub(crate) struct Root(PathBuf);

impl Root {
    pub(crate) fn new(path: &Path) -> Root {
        Root(path.to_owned())
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.at(path).exists()
    }

    /// A program by its name, in these folders first; a path stands for itself.
    pub(crate) fn in_path(&self, name: &str, first: &[&str]) -> Option<String> {
        if name.contains('/') {
            return self.at(name).is_file().then(|| name.to_owned());
        }
        let mut paths = first.iter().chain(&PATH).map(|folder| format!("{folder}/{name}"));
        paths.find(|path| self.at(path).is_file())
    }

    /// A file's text; none where it is not there.
    pub(super) fn text(&self, path: &str) -> Option<Result<String, String>> {
        let metadata = match fs::metadata(self.at(path)) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => return Some(Err(format!("{path}: {error}"))),
        };
        if !metadata.is_file() || metadata.len() > MOST {
            return Some(Err(format!("{path}: not a file of at most {MOST} bytes")));
        }
        let mut bytes = Vec::new();
        let read =
            File::open(self.at(path)).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
        if let Err(error) = read {
            return Some(Err(format!("{path}: {error}")));
        }
        Some(String::from_utf8(bytes).map_err(|_| format!("{path}: not UTF-8")))
    }

    /// The files of a folder whose names match, in the order of their names. A pattern has its wildcard in its
    /// last part.
    pub(crate) fn glob(&self, pattern: &str) -> Vec<String> {
        let Some((folder, last)) = pattern.rsplit_once('/') else { return Vec::new() };
        if !last.contains('*') {
            return vec![pattern.to_owned()];
        }
        let Ok(glob) = last.parse::<Glob>() else { return Vec::new() };
        let entries = fs::read_dir(self.at(folder)).into_iter().flatten().flatten();
        let mut files: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| glob.matches(name) && !name.starts_with('.'))
            .map(|name| format!("{folder}/{name}"))
            .collect();
        files.sort();
        files
    }
}

/// A TOML document.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) file: String,
    root: Node,
}

/// A value, and the line that it or its key stands on.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) line: usize,
    value: Value,
}

#[derive(Debug, Clone)]
enum Value {
    Text(String),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
    Other(String),
}

impl Document {
    /// Reads a file; none where it is not there.
    pub(super) fn read(root: &Root, file: &str) -> Option<Result<Document, String>> {
        Some(root.text(file)?.and_then(|text| Document::parse(file, &text)))
    }

    pub(super) fn parse(file: &str, text: &str) -> Result<Document, String> {
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_at(text, span.start));
            format!("{file}:{line}: {}", error.message())
        })?;
        let root = Node { line: 1, value: tree(text, table.get_ref()) };
        Ok(Document { file: file.to_owned(), root })
    }

    pub(super) fn get(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(&self.root, |node, key| node.get(key))
    }

    pub(super) fn place(&self, line: usize) -> Place {
        Place { file: self.file.clone(), line: Some(line) }
    }
}

impl Node {
    /// Go's readers of TOML find keys without regard to case.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, node)| node)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Node)> {
        let entries = match &self.value {
            Value::Table(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(|(name, node)| (name.as_str(), node))
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn is_true(&self) -> bool {
        matches!(&self.value, Value::Other(text) if text == "true")
    }

    /// A number, as it is written.
    pub(super) fn number(&self) -> Option<u64> {
        match &self.value {
            Value::Other(text) => text.parse().ok(),
            _ => None,
        }
    }
}

fn tree(text: &str, table: &DeTable<'_>) -> Value {
    let entries = table.iter().map(|(key, value)| {
        let line = line_at(text, key.span().start);
        (key.get_ref().to_string(), Node { line, value: value_of(text, value) })
    });
    Value::Table(entries.collect())
}

fn value_of(text: &str, value: &Spanned<DeValue<'_>>) -> Value {
    match value.get_ref() {
        DeValue::String(string) => Value::Text(string.to_string()),
        DeValue::Table(table) => tree(text, table),
        DeValue::Array(items) => Value::List(
            items
                .iter()
                .map(|item| Node {
                    line: line_at(text, item.span().start),
                    value: value_of(text, item),
                })
                .collect(),
        ),
        _ => Value::Other(text.get(value.span()).unwrap_or_default().to_owned()),
    }
}

/// The line of a byte, from 1.
pub(super) fn line_at(text: &str, byte: usize) -> usize {
    text.get(..byte).unwrap_or(text).matches('\n').count() + 1
}
