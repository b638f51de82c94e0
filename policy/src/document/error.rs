//! What is wrong with a YAML document, in our words.

use coaming_config::{DocumentError, suggest};

/// The error of a document, with its place and the nearest known word.
pub(crate) fn from_yaml(file: &str, error: &serde_saphyr::Error) -> DocumentError {
    let error = error.without_snippet();
    let location = error.location();
    let message = match error {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
            let message = suggest::unknown("field", field, expected.iter().copied());
            match expected.as_slice() {
                // A short list is worth more than a guess.
                few @ [_, ..] if few.len() <= 8 && !message.contains("did you mean") => {
                    format!("{message}; known here: {}", few.join(", "))
                }
                [_, ..] if !message.contains("did you mean") => {
                    format!("{message}; `coaming schema` prints the fields that there are")
                }
                _ => message,
            }
        }
        serde_saphyr::Error::SerdeUnknownVariant { variant, expected, .. } => {
            let message = suggest::unknown("value", variant, expected.iter().copied());
            format!("{message} (known: {})", expected.join(", "))
        }
        serde_saphyr::Error::DuplicateMappingKey { key, .. } => match key {
            Some(key) => {
                format!("duplicate field {key:?}; it stands in this mapping already: leave one out")
            }
            None => "duplicate key; it stands in this mapping already: leave one out".to_owned(),
        },
        serde_saphyr::Error::SerdeMissingField { field, .. } => {
            format!("missing field {field:?}")
        }
        serde_saphyr::Error::InvalidScalar { ty, .. } => format!("expected {}", in_words(ty)),
        serde_saphyr::Error::InvalidBooleanStrict { .. } => "expected true or false".to_owned(),
        serde_saphyr::Error::Unexpected { expected, .. } => {
            format!("expected {}", in_words(expected))
        }
        other => in_plain_words(first_line(&other.render())),
    };
    DocumentError::Invalid {
        file: file.to_owned(),
        line: location.map_or(1, |at| at.line()),
        column: location.map_or(1, |at| at.column()),
        message,
    }
}

/// The parser's names of what a field may be.
fn in_words(expected: &str) -> String {
    let highest = match expected {
        // The one such field is a percentage.
        "u8" => 100,
        "u16" => u64::from(u16::MAX),
        "u32" => u64::from(u32::MAX),
        "u64" => u64::MAX,
        "bool" | "boolean" => return "true or false".to_owned(),
        "sequence start" => return "a list".to_owned(),
        "mapping start" => return "a mapping (fields, each with a colon and a value)".to_owned(),
        "string scalar" | "scalar" | "scalar value" => return "a single value".to_owned(),
        other => return other.to_owned(),
    };
    format!("a whole number from 0 to {highest}")
}

/// What the parser says of the commonest mistakes is about its grammar; the reader needs the remedy.
fn in_plain_words(message: String) -> String {
    let begins = |words: &str| message.starts_with(words);
    if begins("tabs disallowed") || message.ends_with(", found a tab") {
        "there is a tab; YAML is indented with spaces".to_owned()
    } else if begins("alias references unknown anchor")
        || begins("while scanning an anchor or alias")
    {
        "a value that begins with * or & must stand in quotes".to_owned()
    } else if begins("simple key expected ':'") {
        "a colon is missing after this field".to_owned()
    } else if begins("unexpected character") {
        format!("{message}; put the value in quotes")
    } else if message.ends_with("did not find expected key") {
        "expected a field; is this line indented as its neighbours are?".to_owned()
    } else if begins("invalid indentation in multiline quoted scalar") {
        "a quote that was opened before is not closed".to_owned()
    } else {
        message
    }
}

/// The parser's own messages begin or end with the place, which we give in front.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let line = match line.split_once("line ") {
        Some(("", rest)) => rest.split_once(": ").map_or(line, |(_, message)| message),
        _ => line,
    };
    match line.rsplit_once(" at line ") {
        Some((message, place)) if is_place(place) => message.to_owned(),
        _ => line.to_owned(),
    }
}

/// `6, column 20`
fn is_place(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once(", column ").is_some_and(|(line, column)| number(line) && number(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_of_yaml_are_told_with_their_remedy() {
        let said = |text: &str| match serde_saphyr::from_str::<serde_json::Value>(text) {
            Ok(value) => panic!("{value}"),
            Err(error) => from_yaml("p.yaml", &error).to_string(),
        };
        for (text, words) in [
            ("a:\n\tb: 1", "a tab"),
            ("a: [*]", "in quotes"),
            ("a: [*-dev]", "in quotes"),
            ("a: @b", "in quotes"),
            ("a: 1\nb\n", "a colon is missing"),
        ] {
            let said = said(text);
            assert!(said.contains(words), "{text:?}: {said}");
        }
        let own = "\"x, found a tab\" is not a name".to_owned();
        assert_eq!(in_plain_words(own.clone()), own);
    }

    #[test]
    fn the_place_is_given_once() {
        assert_eq!(first_line("no good at line 6, column 20"), "no good");
        assert_eq!(first_line("error: line 1 column 2: no good\n  | x"), "no good");
        assert_eq!(first_line("no train at line 6, please"), "no train at line 6, please");
    }
}
