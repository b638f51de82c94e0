//! docs/pod-security.md says of every check what the fixtures say.

use std::collections::BTreeSet;

use crate::fixtures::{Fixtures, Verdict};

const PAGE: &str = include_str!("../../../../docs/pod-security.md");

#[test]
fn the_page_has_every_check_and_every_reason() {
    let fixtures = Fixtures::read();
    assert!(PAGE.contains(&fixtures.version), "of which version of the standards it speaks");
    let checks: BTreeSet<&str> = fixtures.fixtures.iter().map(|f| f.check.as_str()).collect();
    for check in checks.into_iter().filter(|check| *check != "none") {
        assert!(PAGE.contains(&format!("| `{check}` |")), "{check} has no row");
    }
    for (name, why) in &fixtures.unseen {
        assert!(PAGE.contains(why), "{name} is not said: {why}");
    }
    // Which are seen, and by what.
    for fixture in
        fixtures.fixtures.iter().filter(|f| f.verdict == Verdict::Fail && !f.by.is_empty())
    {
        let row = PAGE
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", fixture.check)))
            .unwrap();
        for control in &fixture.by {
            let named = row.contains(&format!("`{control}`")) || control == "capabilities";
            assert!(named, "{control} is not in the row of {}", fixture.check);
        }
    }
}
