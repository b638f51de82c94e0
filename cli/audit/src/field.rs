//! Fields of a record: `name=value`, `name="value"`, and SELinux's words in braces.

/// The most fields of one record. The kernel writes some twenty.
const MAX_FIELDS: usize = 96;

/// A field's value as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    text: String,
    quoted: bool,
}

impl Value {
    /// The text as it stands.
    pub(crate) fn plain(&self) -> &str {
        &self.text
    }

    /// A name that the kernel does not trust: in quotes as it is, else in hexadecimal (`(null)` is none).
    pub(crate) fn untrusted(&self) -> Option<String> {
        if self.quoted {
            return Some(self.text.clone());
        }
        if self.text == "(null)" {
            return None;
        }
        let decoded = unhex(&self.text);
        Some(decoded.map_or_else(
            || self.text.clone(),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        ))
    }
}

/// The fields of a record's text, in their order. A word that is no field is passed over: the records of
/// security modules have some.
pub(crate) fn read(text: &str) -> Vec<(String, Value)> {
    let mut fields = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() && fields.len() < MAX_FIELDS {
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let Some(value) = after.strip_prefix('=') else {
            rest = after.trim_start();
            continue;
        };
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => match quoted.split_once('"') {
                Some((text, after)) => (Value { text: text.to_owned(), quoted: true }, after),
                // Cut off by a limit: what is there is not the whole.
                None => break,
            },
            None => {
                let end = value.find(' ').unwrap_or(value.len());
                let (text, after) = value.split_at(end);
                (Value { text: text.to_owned(), quoted: false }, after)
            }
        };
        if is_name(name) {
            fields.push((name.to_owned(), value));
        }
        rest = after.trim_start();
    }
    fields
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 32
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = text.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(text: &str, name: &str) -> Option<String> {
        let fields = read(text);
        fields.iter().find(|(found, _)| found == name)?.1.untrusted()
    }

    #[test]
    fn names_in_quotes_and_in_hexadecimal_are_read() {
        let text = "pid=7 comm=\"sh\" exe=2F746D702F6120623D22 key=(null) avc:  denied  { read }";
        assert_eq!(find(text, "comm").as_deref(), Some("sh"));
        assert_eq!(find(text, "exe").as_deref(), Some("/tmp/a b=\""));
        assert_eq!(find(text, "key"), None);
        assert_eq!(read(text).len(), 4);
        // AppArmor's own words have spaces.
        let text = "info=\"Failed name lookup - pid=1\" error=-13 pid=9";
        assert_eq!(find(text, "pid").as_deref(), Some("9"));
        assert_eq!(find("comm=\"cut of", "comm"), None);
    }

    /// As the kernel writes it (kernel/audit.c, `audit_string_contains_control`).
    fn written(name: &[u8]) -> String {
        if name.iter().any(|byte| *byte == b'"' || *byte < 0x21 || *byte > 0x7e) {
            return name.iter().map(|byte| format!("{byte:02X}")).collect();
        }
        format!("\"{}\"", String::from_utf8_lossy(name))
    }

    proptest! {
        /// Whatever a workload calls itself, it adds no field, and its name comes back.
        #[test]
        fn no_name_looks_like_a_field(name in proptest::collection::vec(any::<u8>(), 1..16)) {
            let text = format!("pid=1 comm={} sig=0 pid2=3", written(&name));
            let fields = read(&text);
            prop_assert_eq!(fields.len(), 4);
            prop_assert_eq!(find(&text, "comm").unwrap(), String::from_utf8_lossy(&name).into_owned());
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,300}") {
            prop_assert!(read(&text).len() <= MAX_FIELDS);
        }
    }
}
