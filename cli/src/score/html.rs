//! The answer as a page of its own: no script, nothing from elsewhere, everything escaped. Names in a
//! manifest are whoever's wrote it.

use std::io::Write;

use super::checks::Checked;
use super::{Report, Scored};
use crate::error::CommandError;
use crate::output::{count, printable};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--page:#fff;--line:#c9d1d9;--low:#1a7f37;--mid:#8a5a00;--high:#b42318}\
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--page:#0d1117;--line:#3d444d;--low:#4ac26b;--mid:#d4a72c;--high:#ff7b72}}\
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:var(--ink);background:var(--page)}\
h2{margin:2.5rem 0 .25rem;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%;margin:1rem 0}\
caption{text-align:left;font-weight:600;padding:.25rem 0}\
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid var(--line);overflow-wrap:anywhere}\
td.number{text-align:right;font-variant-numeric:tabular-nums}\
code{font-family:ui-monospace,monospace;font-size:.9em}\
.confined,.tight{color:var(--low)}.ordinary{color:var(--mid)}.exposed,.open,.refused{color:var(--high)}\
strong{font-size:1.2em}";

pub(super) fn write(report: &Report, out: &mut dyn Write) -> Result<(), CommandError> {
    let title = format!("Exposure of {}", escaped(&report.subject));
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    )?;
    let what = if report.asked { "as asked, before policy" } else { "under the policies in force" };
    writeln!(
        out,
        "<p>From 0.0, confined, to 10.0, as good as no container; {what}. Scored by coaming {}.</p>",
        env!("CARGO_PKG_VERSION")
    )?;
    summary(report, out)?;
    for (index, scored) in report.containers.iter().enumerate() {
        container(index, scored, out)?;
    }
    list(out, "Passed over", &report.passed_over)?;
    writeln!(out, "</main>\n</body>\n</html>")?;
    Ok(())
}

fn summary(report: &Report, out: &mut dyn Write) -> Result<(), CommandError> {
    let of = count(report.containers.len(), "container", "containers");
    let threshold = match report.threshold {
        Some(threshold) => format!("; above {threshold} is too much"),
        None => String::new(),
    };
    writeln!(
        out,
        "<table>\n<caption>{of}{threshold}</caption>\n<thead><tr><th scope=\"col\">Container</th>\
         <th scope=\"col\">Number</th><th scope=\"col\">Asked</th></tr></thead>\n<tbody>"
    )?;
    for (index, scored) in report.containers.iter().enumerate() {
        let above = if scored.is_above(report.threshold) { ", above the threshold" } else { "" };
        let asked = scored.number_asked.map(|number| number.to_string()).unwrap_or_default();
        writeln!(
            out,
            "<tr><th scope=\"row\"><a href=\"#c{index}\">{}</a></th><td>{}{above}</td><td>{asked}</td></tr>",
            escaped(&scored.name),
            numbered(scored),
        )?;
    }
    writeln!(out, "</tbody>\n</table>")?;
    Ok(())
}

fn numbered(scored: &Scored) -> String {
    match scored.number {
        Some(number) => {
            format!("<span class=\"{0}\">{number} {0}</span>", number.word())
        }
        None => "<span class=\"refused\">refused</span>".to_owned(),
    }
}

fn container(index: usize, scored: &Scored, out: &mut dyn Write) -> Result<(), CommandError> {
    writeln!(out, "<section>\n<h2 id=\"c{index}\">{}</h2>", escaped(&scored.name))?;
    writeln!(out, "<p><strong>{}</strong></p>", numbered(scored))?;
    if scored.number.is_none() {
        list(out, "Why it does not start", &scored.refused)?;
    } else {
        let (open, closed): (Vec<&Checked>, Vec<&Checked>) =
            scored.checks.iter().partition(|checked| checked.exposure > 0);
        checks(out, "What stands open, the heaviest first", &open)?;
        writeln!(out, "<details><summary>What is closed</summary>")?;
        checks(out, "What is closed", &closed)?;
        writeln!(out, "</details>")?;
    }
    list(out, "What is only approximated", &scored.approximations)?;
    writeln!(out, "</section>")?;
    Ok(())
}

fn checks(out: &mut dyn Write, caption: &str, checks: &[&Checked]) -> Result<(), CommandError> {
    writeln!(
        out,
        "<table>\n<caption>{caption}</caption>\n<thead><tr><th scope=\"col\">Open</th>\
         <th scope=\"col\">Weight</th><th scope=\"col\">Check</th><th scope=\"col\">Found</th>\
         <th scope=\"col\">Closed by</th></tr></thead>\n<tbody>"
    )?;
    for checked in checks {
        let Checked { id, about, weight, exposure, found, closed_by, .. } = checked;
        writeln!(
            out,
            "<tr><td class=\"number\">{exposure}%</td><td class=\"number\">{weight}</td>\
             <th scope=\"row\">{}<br><code>{}</code></th><td>{}</td><td><code>{}</code></td></tr>",
            escaped(about),
            escaped(id),
            escaped(found),
            escaped(closed_by),
        )?;
    }
    writeln!(out, "</tbody>\n</table>")?;
    Ok(())
}

fn list(out: &mut dyn Write, title: &str, lines: &[String]) -> Result<(), CommandError> {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "<h3>{}</h3>\n<ul>", escaped(title))?;
    for line in lines {
        writeln!(out, "<li>{}</li>", escaped(line))?;
    }
    writeln!(out, "</ul>")?;
    Ok(())
}

/// Text in an element or a quoted attribute.
fn escaped(text: &str) -> String {
    let text = printable(text);
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_name_is_markup() {
        assert_eq!(
            escaped("<script>&\"'</script>\u{202e}"),
            "&lt;script&gt;&amp;&quot;&#39;&lt;/script&gt;\\u{202e}"
        );
    }
}
