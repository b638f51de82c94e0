//! The texts that are written: the drop-in, and a line of imports.

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::loaded::{Merge, plugin};

/// A file of ours with a section of the plugin that has the handlers.
pub(super) fn drop_in(version: i64, merge: Merge, section: Table) -> String {
    let repeated = "# containerd 1.x takes the whole CRI section of an imported file in place of those before it, so that what \
                    they say is\n# repeated here: after a change to it there, run `coaming install` again.\n";
    let version_line = if version > 1 { format!("version = {version}\n\n") } else { String::new() };
    format!(
        "# Written by `coaming install`, and taken away by `coaming install --uninstall`: do not edit.\n{}{version_line}{}",
        if merge == Merge::Replaces { repeated } else { "" },
        body(version, section)
    )
}

/// The section alone, to be added to a file.
pub(super) fn body(version: i64, section: Table) -> String {
    let plugins = Table::from_iter([(plugin(version).to_owned(), Value::Table(section))]);
    Table::from_iter([("plugins".to_owned(), Value::Table(plugins))]).to_string()
}

/// A section with a handler in it, and with that as the default one where this is asked.
pub(super) fn with_handler(mut section: Table, name: &str, handler: Table, default: bool) -> Table {
    let mut containerd = taken(&mut section, "containerd");
    if default {
        containerd.insert("default_runtime_name".to_owned(), name.into());
    }
    let mut runtimes = taken(&mut containerd, "runtimes");
    runtimes.insert(name.to_owned(), handler.into());
    containerd.insert("runtimes".to_owned(), runtimes.into());
    section.insert("containerd".to_owned(), containerd.into());
    section
}

/// The table at a key, out of its place. containerd takes no other value at those that are asked for here.
fn taken(table: &mut Table, key: &str) -> Table {
    match table.remove(key) {
        Some(Value::Table(table)) => table,
        _ => Table::new(),
    }
}

/// A file's text that imports this pattern too; all else in it is as it was, byte for byte.
///
/// # Errors
/// It has something at `imports` that is no list.
pub(super) fn importing(text: &str, pattern: &str) -> Result<String, String> {
    let quoted = Value::from(pattern).to_string();
    let table = DeTable::parse(text).map_err(|error| error.message().to_owned())?;
    let table = table.get_ref();
    let insert = |at: usize, what: &str| -> Option<String> {
        Some(format!("{}{what}{}", text.get(..at)?, text.get(at..)?))
    };
    let written = match table.get("imports") {
        Some(value) => {
            let DeValue::Array(items) = value.get_ref() else {
                return Err("its imports are no list".to_owned());
            };
            match items.iter().last() {
                Some(last) => insert(last.span().end, &format!(", {quoted}")),
                None => insert(value.span().start.saturating_add(1), &quoted),
            }
        }
        None => {
            // Before the first section, which what stands below its heading belongs to.
            let version = table.get("version").map_or(0, |value| value.span().end);
            let at = match text.get(version..).and_then(|rest| rest.find('\n')) {
                Some(end) if version > 0 => version.saturating_add(end).saturating_add(1),
                _ if version > 0 => text.len(),
                _ => 0,
            };
            let newline = if at > 0 && !text.get(..at).unwrap_or_default().ends_with('\n') {
                "\n"
            } else {
                ""
            };
            insert(at, &format!("{newline}imports = [{quoted}]\n"))
        }
    };
    let written = written.ok_or("its places are not understood")?;
    check_only_imports(text, &written, pattern)?;
    Ok(written)
}

/// What was written says what was there before, and the pattern.
fn check_only_imports(before: &str, after: &str, pattern: &str) -> Result<(), String> {
    let table = |text: &str| text.parse::<Table>().map_err(|error| error.message().to_owned());
    let (mut before, mut after) = (table(before)?, table(after)?);
    let (old, new) = (before.remove("imports"), after.remove("imports"));
    let mut expected = old.and_then(|old| old.as_array().cloned()).unwrap_or_default();
    expected.push(pattern.into());
    match before == after && new.as_ref().and_then(Value::as_array) == Some(&expected) {
        true => Ok(()),
        false => {
            Err("a line of imports cannot be added without changing something else".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pattern_joins_the_imports() {
        let joined = |text: &str| importing(text, "/d/*.toml").unwrap();
        assert_eq!(joined("imports = []\nroot = 'x'\n"), "imports = [\"/d/*.toml\"]\nroot = 'x'\n");
        assert_eq!(
            joined("version = 2 # two\n[a]\n"),
            "version = 2 # two\nimports = [\"/d/*.toml\"]\n[a]\n"
        );
        assert_eq!(joined("# x\n[a]\nb = 1\n"), "imports = [\"/d/*.toml\"]\n# x\n[a]\nb = 1\n");
        assert_eq!(
            joined("imports = [\n  'a', # first\n]\n"),
            "imports = [\n  'a', \"/d/*.toml\", # first\n]\n"
        );
        assert_eq!(joined("version = 3"), "version = 3\nimports = [\"/d/*.toml\"]\n");
        assert_eq!(joined(""), "imports = [\"/d/*.toml\"]\n");
        assert!(importing("imports = 'x'", "/d/*.toml").is_err());
        assert!(importing("imports = [", "/d/*.toml").is_err());
    }

    #[test]
    fn sections_have_no_empty_headings() {
        let handler = Table::from_iter([("runtime_type".to_owned(), "x".into())]);
        let text = body(3, with_handler(Table::new(), "coaming", handler, false));
        assert_eq!(
            text,
            "[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.coaming]\nruntime_type = \"x\"\n"
        );
    }

    proptest! {
        /// Whatever a section says, it says the same after it was written, but for the handler.
        #[test]
        fn a_section_survives(keys in prop::collection::btree_map("[a-z._]{1,6}", any::<i32>(), 0..6), text in "\\PC{0,12}") {
            let mut section: Table = keys.into_iter().map(|(key, value)| (key, Value::from(value))).collect();
            section.insert("text".to_owned(), text.into());
            section.remove("containerd");
            let written = drop_in(2, Merge::Replaces, with_handler(section.clone(), "c", Table::new(), true));
            let mut read: Table = written.parse().unwrap();
            prop_assert_eq!(read.get("version").and_then(Value::as_integer), Some(2));
            let mut plugins = read.remove("plugins").unwrap();
            let own = plugins.as_table_mut().unwrap().remove(plugin(2)).unwrap();
            let mut own = own.as_table().unwrap().clone();
            prop_assert!(own.remove("containerd").is_some());
            prop_assert_eq!(own, section);
        }
    }
}
