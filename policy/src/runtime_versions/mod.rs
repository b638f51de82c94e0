//! Which versions of runc and crun are known to let a container out, and what each of them is.
//!
//! The table ([`advisories`]) is data, reviewed as text. A version that a distribution has mended under its old
//! number is told by whoever asks (`fixed` of [`affecting`]); nothing here reads a file or runs a program.

pub mod advisories;
mod version;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use version::Version;

/// A runtime of which the table knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    /// opencontainers/runc
    Runc,
    /// containers/crun
    Crun,
}

impl Product {
    /// The name by which the program calls itself in `--version`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Product::Runc => "runc",
            Product::Crun => "crun",
        }
    }
}

/// How bad it is, in the words of its advisory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Limited, or under conditions that are rare.
    Low,
    /// In between.
    Moderate,
    /// The host, to whoever controls an image or a container.
    High,
}

/// One known way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Advisory {
    /// `CVE-2024-21626`
    pub cve: &'static str,
    /// The advisory of its project, where there is one.
    pub ghsa: Option<&'static str>,
    /// Whose it is.
    pub product: Product,
    /// How bad it is.
    pub severity: Severity,
    /// The versions that have it.
    pub affected: &'static [Range],
    /// What the program must have been built with to have it, as its `--version` says it (`+LIBKRUN`).
    pub built_with: Option<&'static str>,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Where the versions are from.
    pub source: &'static str,
}

/// Versions from one to before another, within one line of releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The first that has it; empty for all from the beginning.
    pub from: &'static str,
    /// The first that no longer has it.
    pub fixed: &'static str,
}

impl Range {
    fn has(&self, version: &Version) -> bool {
        let from =
            self.from.is_empty() || Version::parse(self.from).is_some_and(|from| *version >= from);
        // A fixed version that cannot be read mends nothing.
        from && Version::parse(self.fixed).is_none_or(|fixed| *version < fixed)
    }
}

/// An advisory that a version has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Affecting {
    /// Which.
    #[serde(flatten)]
    pub advisory: &'static Advisory,
    /// The first version of the same line of releases without it.
    pub fixed: &'static str,
}

/// The advisories that a version has, the newest first. `tags` are what the program says it was built with;
/// `fixed` names the CVEs that have been mended in it all the same.
#[must_use]
pub fn affecting(
    product: Product,
    version: &Version,
    tags: &[String],
    fixed: &BTreeSet<String>,
) -> Vec<Affecting> {
    let mut found: Vec<Affecting> = advisories::ALL
        .iter()
        .filter(|advisory| advisory.product == product && !fixed.contains(advisory.cve))
        .filter(|advisory| advisory.built_with.is_none_or(|tag| tags.iter().any(|has| has == tag)))
        .filter_map(|advisory| {
            let range = advisory.affected.iter().find(|range| range.has(version))?;
            Some(Affecting { advisory, fixed: range.fixed })
        })
        .collect();
    found.sort_by_key(|affecting| std::cmp::Reverse(age(affecting.advisory.cve)));
    found
}

/// Year and number of a CVE.
fn age(cve: &str) -> (u32, u32) {
    let mut parts = cve.split('-').skip(1).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// The CVEs that a text names, each once.
#[must_use]
pub fn cves_in(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("CVE-") {
        let rest = text.get(at + 4..).unwrap_or_default();
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let year = digits(rest);
        let Some(number) = rest.get(year..).and_then(|rest| rest.strip_prefix('-')) else {
            continue;
        };
        let number_digits = digits(number);
        if year == 4 && (4..=9).contains(&number_digits) {
            found.extend(text.get(at..at + 4 + year + 1 + number_digits).map(str::to_owned));
        }
    }
    found
}

/// Whether a text is the name of one CVE.
#[must_use]
pub fn is_cve(text: &str) -> bool {
    cves_in(text).iter().any(|cve| cve == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cves(product: Product, version: &str, tags: &[&str], fixed: &[&str]) -> Vec<&'static str> {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let fixed = fixed.iter().map(|cve| (*cve).to_owned()).collect();
        affecting(product, &Version::parse(version).unwrap(), &tags, &fixed)
            .iter()
            .map(|affecting| affecting.advisory.cve)
            .collect()
    }

    #[test]
    fn each_release_of_runc_has_what_its_changelog_says() {
        const NOVEMBER: [&str; 3] = ["CVE-2025-52881", "CVE-2025-52565", "CVE-2025-31133"];
        let runc = |version: &str| cves(Product::Runc, version, &[], &[]);
        assert!(runc("1.5.1").is_empty() && runc("1.4.3").is_empty() && runc("1.3.6").is_empty());
        assert_eq!(runc("1.3.3"), ["CVE-2026-41579"]);
        assert_eq!(runc("1.4.0"), ["CVE-2026-41579"]);
        assert_eq!(runc("1.2.9"), ["CVE-2026-41579"], "no release of 1.2 has the fix");
        assert_eq!(runc("1.3.2")[1..], NOVEMBER);
        assert_eq!(runc("1.4.0-rc.2")[1..], NOVEMBER);
        assert_eq!(runc("1.4.0-rc.3"), ["CVE-2026-41579"]);
        assert!(runc("1.1.13").contains(&"CVE-2024-45310"));
        assert!(!runc("1.1.14").contains(&"CVE-2024-45310"));
        assert!(runc("1.2.0-rc.2").contains(&"CVE-2024-45310"));
        assert!(!runc("1.2.0-rc.3").contains(&"CVE-2024-45310"));
        assert!(runc("1.1.11").contains(&"CVE-2024-21626"));
        assert!(!runc("1.1.12").contains(&"CVE-2024-21626"));
        assert!(!runc("1.0.0-rc92").contains(&"CVE-2024-21626"));
        assert!(runc("1.0.0-rc93").contains(&"CVE-2024-21626"));
        assert!(runc("1.0.0-rc6").contains(&"CVE-2019-5736"));
        assert!(!runc("1.0.0-rc7").contains(&"CVE-2019-5736"));
        assert!(runc("1.0.0-rc94").contains(&"CVE-2021-30465"));
        // It came back, from rc95 on, by another number.
        let again: Vec<bool> = ["1.0.0-rc9", "1.0.0-rc10", "1.0.0-rc95", "1.1.4", "1.1.5"]
            .map(|version| {
                let has = runc(version);
                has.contains(&"CVE-2019-19921") || has.contains(&"CVE-2023-27561")
            })
            .into();
        assert_eq!(again, [true, false, true, true, false]);
    }

    #[test]
    fn each_release_of_crun_has_what_its_news_say() {
        const DEVICES: [&str; 2] = ["CVE-2026-88265", "CVE-2026-88264"];
        let crun = |version: &str, tags: &[&str]| cves(Product::Crun, version, tags, &[]);
        assert!(crun("1.30", &[]).is_empty());
        assert_eq!(crun("1.29.1", &[]), DEVICES);
        assert_eq!(crun("1.28", &[]), DEVICES);
        assert_eq!(crun("1.30", &["+LIBKRUN"]), ["CVE-2026-84042"]);
        let after = |version: &str, tags: &[&str]| {
            let cves = crun(version, tags);
            assert_eq!(cves[..2], DEVICES);
            cves[2..].to_vec()
        };
        assert_eq!(after("1.27.1", &[]), ["CVE-2026-47766"]);
        assert_eq!(after("1.26", &[]), ["CVE-2026-47766", "CVE-2026-30892"]);
        assert_eq!(after("1.8.1", &[]), ["CVE-2026-47766"]);
        assert_eq!(after("1.8.1", &["+LIBKRUN"]), ["CVE-2026-47766", "CVE-2025-24965"]);
        assert_eq!(after("1.29", &["+LIBKRUN"]), ["CVE-2026-84042"]);
        assert!(crun("1.4.3", &[]).contains(&"CVE-2022-27650"));
        assert!(!crun("1.4.4", &[]).contains(&"CVE-2022-27650"));
        assert!(crun("0.10.4", &[]).contains(&"CVE-2019-18837"));
        assert!(!crun("0.10.5", &[]).contains(&"CVE-2019-18837"));
    }

    #[test]
    fn what_is_mended_under_an_old_number_does_not_count() {
        let all = cves(Product::Runc, "1.1.5", &[], &[]);
        let rest = cves(Product::Runc, "1.1.5", &[], &["CVE-2024-21626"]);
        assert!(all.contains(&"CVE-2024-21626") && !rest.contains(&"CVE-2024-21626"));
        assert_eq!(rest.len() + 1, all.len());
    }

    #[test]
    fn the_table_is_well_formed() {
        let mut names = BTreeSet::new();
        for advisory in advisories::ALL {
            assert!(is_cve(advisory.cve), "{advisory:?}");
            assert!(
                names.insert((advisory.cve, advisory.product)),
                "{} is there twice",
                advisory.cve
            );
            assert!(advisory.ghsa.is_none_or(|id| id.starts_with("GHSA-") && id.len() == 19));
            assert!(!advisory.summary.ends_with('.') && !advisory.summary.is_empty());
            assert!(advisory.source.starts_with("https://"), "{}", advisory.cve);
            assert!(!advisory.affected.is_empty());
            for (at, range) in advisory.affected.iter().enumerate() {
                let fixed = Version::parse(range.fixed).unwrap();
                let from = Version::parse(range.from);
                assert_eq!(from.is_none(), range.from.is_empty(), "{range:?}");
                assert!(from.as_ref().is_none_or(|from| *from < fixed), "{range:?}");
                // Ranges are in order, and do not overlap.
                let before =
                    at.checked_sub(1).map(|at| Version::parse(advisory.affected[at].fixed));
                assert!(before.is_none_or(|before| before <= from), "{advisory:?}");
            }
        }
    }

    #[test]
    fn cves_are_found_in_prose() {
        let text = "fix CVE-2024-21626 (and CVE-2019-1, CVE-20190-1234), CVE-2024-21626; CVE-2025-1234567x CVE-";
        assert_eq!(cves_in(text), ["CVE-2024-21626", "CVE-2025-1234567"].map(str::to_owned).into());
        assert!(
            is_cve("CVE-2024-21626") && !is_cve("CVE-2024-21626 ") && !is_cve("cve-2024-21626")
        );
    }
}
