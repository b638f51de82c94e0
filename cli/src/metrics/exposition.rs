//! A strict reader of Prometheus' text format 0.0.4, to hold what is written to it.

use std::collections::{BTreeMap, BTreeSet};

/// What was read: each sample by its name and labels.
#[derive(Debug)]
pub(super) struct Exposition(BTreeMap<(String, BTreeMap<String, String>), f64>);

impl Exposition {
    /// Reads a whole text.
    pub(super) fn read(text: &str) -> Result<Exposition, String> {
        let mut samples = BTreeMap::new();
        let mut types: BTreeMap<String, String> = BTreeMap::new();
        let mut done: BTreeSet<String> = BTreeSet::new();
        let mut family = String::new();
        if !text.ends_with('\n') {
            return Err("the last line has no end".to_owned());
        }
        for line in text.lines() {
            let wrong = |why: &str| Err(format!("{why}: {line}"));
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.splitn(3, ' ');
                let (Some(kind), Some(name), Some(what)) =
                    (words.next(), words.next(), words.next())
                else {
                    return wrong("half a comment");
                };
                if name != family && !done.insert(name.to_owned()) {
                    return wrong("a family in two places");
                }
                name.clone_into(&mut family);
                match kind {
                    "HELP" if what.ends_with('.') => {}
                    "TYPE" if ["counter", "gauge", "histogram"].contains(&what) => {
                        if types.insert(name.to_owned(), what.to_owned()).is_some() {
                            return wrong("two types");
                        }
                    }
                    _ => return wrong("not a comment of ours"),
                }
                continue;
            }
            let (name, labels, value) = sample(line).map_err(|why| format!("{why}: {line}"))?;
            let Some(kind) = types.get(&family) else { return wrong("a sample without a type") };
            let fits = match kind.as_str() {
                "counter" => name == family && name.ends_with("_total"),
                "gauge" => name == family && !name.ends_with("_total"),
                _ => {
                    ["_bucket", "_sum", "_count"].iter().any(|end| name == format!("{family}{end}"))
                }
            };
            if !fits || value.is_nan() || value < 0.0 {
                return wrong("a sample that does not fit its family");
            }
            if samples.insert((name, labels), value).is_some() {
                return wrong("a sample twice");
            }
        }
        let told = Exposition(samples);
        told.check_histograms(&types)?;
        Ok(told)
    }

    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.0.get(&(name.to_owned(), labels.collect())).copied()
    }

    /// Buckets must not fall, and the last must be the count.
    fn check_histograms(&self, types: &BTreeMap<String, String>) -> Result<(), String> {
        for (family, _) in types.iter().filter(|(_, kind)| *kind == "histogram") {
            let bucket = format!("{family}_bucket");
            let mut buckets: Vec<(f64, f64)> = self
                .0
                .iter()
                .filter(|((name, _), _)| *name == bucket)
                .map(|((_, labels), count)| {
                    let bound = &labels["le"];
                    (if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() }, *count)
                })
                .collect();
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            let rises = buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1);
            let last = buckets.last().copied().ok_or("no buckets")?;
            if !rises
                || last.0.is_finite()
                || Some(last.1) != self.value(&format!("{family}_count"), &[])
            {
                return Err(format!("{family}: {buckets:?}"));
            }
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    text.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn sample(line: &str) -> Result<(String, BTreeMap<String, String>, f64), &'static str> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"").ok_or("half a label")?;
            let (value, after) = quoted(after).ok_or("half a value")?;
            if !is_name(label) || labels.insert(label.to_owned(), value).is_some() {
                return Err("a label that is none");
            }
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').ok_or("no value")?.parse().map_err(|_| "no number")?;
    if !is_name(name) {
        return Err("no name");
    }
    Ok((name.to_owned(), labels, value))
}

/// A value up to its closing quote, and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other @ ('\\' | '"') => other,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}

#[test]
fn what_is_wrong_is_found() {
    let head = "# HELP a_total A.\n# TYPE a_total counter\n";
    assert!(Exposition::read(&format!("{head}a_total 1\n")).is_ok());
    for (wrong, text) in [
        ("no end", format!("{head}a_total 1")),
        ("another family's", format!("{head}b_total 1\n")),
        ("twice", format!("{head}a_total 1\na_total 2\n")),
        ("a negative counter", format!("{head}a_total -1\n")),
        ("not a number", format!("{head}a_total x\n")),
        ("a quote", format!("{head}a_total{{b=\"c\"d\"}} 1\n")),
        ("an open label", format!("{head}a_total{{b=\"c 1\n")),
        ("a counter's name", "# HELP a A.\n# TYPE a counter\na 1\n".to_owned()),
        ("a type of another format", "# HELP a A.\n# TYPE a info\na 1\n".to_owned()),
        ("in two places", format!("{head}a_total 1\n# HELP b B.\n# TYPE b gauge\nb 1\n{head}")),
    ] {
        assert!(Exposition::read(&text).is_err(), "{wrong}");
    }
}
