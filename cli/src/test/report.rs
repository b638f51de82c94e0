//! The answer of `coaming test`: for people, as JSON, and for what collects test results.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use crate::error::CommandError;
use crate::output::{self, BAD, GOOD, count, printable, styled};

/// The form of the answer.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub(super) enum Format {
    /// Text for people; it may change.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// JUnit's XML, as GitLab, Jenkins and others read it.
    Junit,
    /// The Test Anything Protocol, version 14.
    Tap,
}

/// A case that ran.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ran {
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) test: String,
    pub(super) case: String,
    /// In what it was not as expected.
    pub(super) wrong: Vec<String>,
}

pub(super) fn show(ran: &[Ran], format: Format, out: &mut dyn Write) -> Result<(), CommandError> {
    match format {
        Format::Text => text(ran, out),
        Format::Json => output::json(&ran, out),
        Format::Junit => Ok(out.write_all(junit(ran).as_bytes())?),
        Format::Tap => tap(ran, out),
    }
}

fn text(ran: &[Ran], out: &mut dyn Write) -> Result<(), CommandError> {
    for Ran { file, line, test, case, wrong } in ran {
        let verdict = match wrong.is_empty() {
            true => styled(GOOD, "ok    "),
            false => styled(BAD, "FAILED"),
        };
        writeln!(out, "{verdict}  {}: {}  ({file}:{line})", printable(test), printable(case))?;
        for line in wrong.iter().flat_map(|wrong| wrong.lines()) {
            writeln!(out, "          {}", printable(line))?;
        }
    }
    let failed = failed(ran);
    let summary = match failed {
        0 => styled(GOOD, "all as expected"),
        some => styled(BAD, &format!("{some} failed")),
    };
    Ok(writeln!(out, "{}, {summary}", count(ran.len(), "case", "cases"))?)
}

fn failed(ran: &[Ran]) -> usize {
    ran.iter().filter(|ran| !ran.wrong.is_empty()).count()
}

fn tap(ran: &[Ran], out: &mut dyn Write) -> Result<(), CommandError> {
    writeln!(out, "TAP version 14\n1..{}", ran.len())?;
    for (index, Ran { test, case, wrong, .. }) in ran.iter().enumerate() {
        let word = if wrong.is_empty() { "ok" } else { "not ok" };
        // A number sign would begin a directive.
        let name = printable(&format!("{test}: {case}")).replace('\\', "\\\\").replace('#', "\\#");
        writeln!(out, "{word} {} - {name}", index + 1)?;
        for line in wrong.iter().flat_map(|wrong| wrong.lines()) {
            writeln!(out, "# {}", printable(line))?;
        }
    }
    Ok(())
}

/// A suite for each file.
fn junit(ran: &[Ran]) -> String {
    let mut suites: BTreeMap<&str, Vec<&Ran>> = BTreeMap::new();
    for ran in ran {
        suites.entry(&ran.file).or_default().push(ran);
    }
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"{}\" failures=\"{}\">\n",
        ran.len(),
        failed(ran)
    );
    for (file, ran) in suites {
        let failures = ran.iter().filter(|ran| !ran.wrong.is_empty()).count();
        text.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\">\n",
            escaped(file),
            ran.len()
        ));
        for Ran { test, case, wrong, line, .. } in ran {
            let (name, class, file) = (escaped(case), escaped(test), escaped(file));
            let head = format!(
                "    <testcase name=\"{name}\" classname=\"{class}\" file=\"{file}\" line=\"{line}\""
            );
            text.push_str(&match wrong.as_slice() {
                [] => format!("{head}/>\n"),
                [first, ..] => format!(
                    "{head}>\n      <failure message=\"{}\">{}</failure>\n    </testcase>\n",
                    escaped(first.lines().next().unwrap_or_default()),
                    escaped(&wrong.join("\n"))
                ),
            });
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

/// Text in XML. Control characters cannot stand in XML 1.0 in any way.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '"' => shown.push_str("&quot;"),
            '\n' => shown.push_str("&#10;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                shown.extend(c.escape_unicode());
            }
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_the_document() {
        let ran = [Ran {
            file: "a\"b.yaml".to_owned(),
            line: 3,
            test: "t".to_owned(),
            case: "<x> & \u{1b} # y".to_owned(),
            wrong: vec!["]]>\nsecond".to_owned()],
        }];
        let xml = junit(&ran);
        assert!(xml.contains("name=\"&lt;x&gt; &amp; \\u{1b} # y\""), "{xml}");
        assert!(xml.contains(">]]&gt;&#10;second</failure>"), "{xml}");
        let mut out = Vec::new();
        tap(&ran, &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("not ok 1 - t: <x> & \\\\u{1b} \\# y\n"));
    }
}
