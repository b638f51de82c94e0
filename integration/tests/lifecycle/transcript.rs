//! What was seen of a scenario, fact by fact, and where two of them part.

use std::collections::BTreeMap;

/// Facts in their order.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    /// What was asked or looked at; a second asking of the same has its number.
    what: String,
    /// What must be equal.
    value: String,
    /// What is for the reader alone.
    remark: String,
}

/// A fact that is not the same in two transcripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parting {
    pub(crate) what: String,
    pub(crate) stock: String,
    pub(crate) ours: String,
    /// Both remarks.
    remark: String,
}

/// What stands for a fact that is not there.
pub(crate) const ABSENT: &str = "(nothing)";

impl Transcript {
    pub(crate) fn push(&mut self, what: &str, value: String, remark: String) {
        let what = what.trim().to_owned();
        let same = |line: &&Line| {
            line.what == what || line.what.strip_prefix(&what).is_some_and(is_number)
        };
        let before = self.lines.iter().filter(same).count();
        let what = if before == 0 { what } else { format!("{what} #{}", before + 1) };
        self.lines.push(Line { what, value, remark });
    }

    /// Where this transcript of the stock shim and `ours` part.
    pub(crate) fn partings(&self, ours: &Transcript) -> Vec<Parting> {
        let stock = self.by_name();
        let ours_by_name = ours.by_name();
        let names = self.lines.iter().chain(&ours.lines).map(|line| line.what.as_str());
        let mut partings = Vec::<Parting>::new();
        for what in names {
            let value = |line: Option<&&Line>| {
                line.map_or_else(|| ABSENT.to_owned(), |line| line.value.clone())
            };
            let (left, right) = (stock.get(what), ours_by_name.get(what));
            let parting = Parting {
                what: what.to_owned(),
                stock: value(left),
                ours: value(right),
                remark: [left, right]
                    .map(|line| line.map_or("", |line| line.remark.as_str()))
                    .join(" | "),
            };
            if parting.stock != parting.ours && !partings.contains(&parting) {
                partings.push(parting);
            }
        }
        partings
    }

    fn by_name(&self) -> BTreeMap<&str, &Line> {
        self.lines.iter().map(|line| (line.what.as_str(), line)).collect()
    }
}

fn is_number(rest: &str) -> bool {
    rest.strip_prefix(" #").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

impl std::fmt::Display for Transcript {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.lines.iter().try_for_each(|Line { what, value, remark }| {
            writeln!(formatter, "    {what}: {value}   {remark}")
        })
    }
}

impl std::fmt::Display for Parting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Parting { what, stock, ours, remark } = self;
        write!(formatter, "{what}:\n    stock {stock}\n    ours  {ours}\n    ({remark})")
    }
}

#[test]
fn transcripts_part_where_a_fact_differs_or_is_missing() {
    let mut stock = Transcript::default();
    let mut ours = Transcript::default();
    for (transcript, second) in [(&mut stock, "1"), (&mut ours, "2")] {
        transcript.push("wait a", "0".to_owned(), "noise ".to_owned() + second);
        transcript.push("wait a", second.to_owned(), String::new());
    }
    stock.push("left", "x".to_owned(), String::new());
    let partings = stock.partings(&ours);
    let brief: Vec<_> =
        partings.iter().map(|p| (p.what.as_str(), p.stock.as_str(), p.ours.as_str())).collect();
    assert_eq!(brief, [("wait a #2", "1", "2"), ("left", "x", ABSENT)]);
}
