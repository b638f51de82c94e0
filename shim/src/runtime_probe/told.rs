//! What runtimes say of themselves.

use coaming_policy::runtime_versions::{Product, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The most annotations that a list of unsafe ones is taken with; crun 1.28 has five.
const MOST_NAMES: usize = 64;
/// The longest text that is kept of an answer, in bytes.
const LONGEST: usize = 128;

/// What `--version` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Told {
    /// What it calls itself: `runc`, `crun`, `youki`.
    pub name: String,
    /// Its version, as it says it.
    pub version: String,
    /// Its commit; Debian's runc has the package's version here.
    pub commit: Option<String>,
    /// The libseccomp that it runs with, where it says so.
    pub libseccomp: Option<String>,
    /// What it was built with: crun's `+SECCOMP`.
    pub tags: Vec<String>,
}

impl Told {
    /// Reads an answer. Of several programs in one answer (a wrapper's and its runtime's, as the nvidia runtime
    /// gives it) it is that of which a table is kept.
    pub(super) fn read(text: &str) -> Option<Told> {
        let named = |line: &str| {
            let (name, version) = line.trim().split_once(" version ")?;
            let is_name = !name.is_empty() && name.len() <= LONGEST && !name.contains(' ');
            is_name.then(|| (name.to_owned(), shortened(version.trim())))
        };
        let lines: Vec<&str> = text.lines().take(MOST_NAMES).collect();
        let known = |name: &str| product(name).is_some();
        let (name, version) = lines
            .iter()
            .filter_map(|line| named(line))
            .find(|(name, _)| known(name))
            .or_else(|| lines.iter().find_map(|line| named(line)))?;
        let after = |key: &str| {
            lines.iter().find_map(|line| Some(shortened(line.strip_prefix(key)?.trim())))
        };
        let tags = lines
            .iter()
            .filter(|line| line.starts_with('+'))
            .flat_map(|line| line.split_ascii_whitespace())
            .filter(|word| word.starts_with('+'))
            .take(MOST_NAMES)
            .map(shortened)
            .collect();
        let (commit, libseccomp) = (after("commit:"), after("libseccomp:"));
        Some(Told { name, version, commit, libseccomp, tags })
    }

    /// Which of the runtimes of the table it is.
    #[must_use]
    pub fn product(&self) -> Option<Product> {
        product(&self.name)
    }

    /// Its version, where it is understood.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        Version::parse(&self.version)
    }
}

fn product(name: &str) -> Option<Product> {
    [Product::Runc, Product::Crun].into_iter().find(|product| product.name() == name)
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// What `features` says, as far as it is used (runtime-spec, features.md).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Features {
    /// The specification's versions that it takes.
    pub oci_version_min: Option<String>,
    /// The latest of them.
    pub oci_version_max: Option<String>,
    /// `potentiallyUnsafeConfigAnnotations`
    pub unsafe_annotations: Vec<String>,
    /// `linux.seccomp.supportedFlags`
    pub seccomp_flags: Vec<String>,
}

impl Features {
    /// Reads an answer; `None` where it is no JSON object.
    pub(super) fn read(text: &str) -> Option<Features> {
        let value: Value = serde_json::from_str(text).ok()?;
        value.as_object()?;
        let text = |key: &str| Some(shortened(value.get(key)?.as_str()?));
        let names = |place: &str| {
            let names = value.pointer(place).and_then(Value::as_array).into_iter().flatten();
            names
                .filter_map(Value::as_str)
                // An empty entry, or a mere full stop, names nothing.
                .filter(|name| !name.trim_matches('.').is_empty() && name.len() <= LONGEST)
                .take(MOST_NAMES)
                .map(str::to_owned)
                .collect()
        };
        Some(Features {
            oci_version_min: text("ociVersionMin"),
            oci_version_max: text("ociVersionMax"),
            unsafe_annotations: names("/potentiallyUnsafeConfigAnnotations"),
            seccomp_flags: names("/linux/seccomp/supportedFlags"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_runtime_says_is_understood() {
        let runc = Told::read(
            "runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev\ngo: go1.19.8\nlibseccomp: 2.5.4\n",
        )
        .unwrap();
        assert_eq!((runc.product(), runc.version.as_str()), (Some(Product::Runc), "1.1.5+ds1"));
        assert_eq!(runc.commit.as_deref(), Some("1.1.5+ds1-1+deb12u1"));
        assert_eq!(runc.libseccomp.as_deref(), Some("2.5.4"));
        let crun = Told::read(
            "crun version 1.21\ncommit: 1026\nrundir: /run/crun\nspec: 1.0.0\n+SYSTEMD +SELINUX +WASM:wasmedge +YAJL\n",
        )
        .unwrap();
        assert_eq!((crun.product(), crun.version()), (Some(Product::Crun), Version::parse("1.21")));
        assert_eq!(crun.tags, ["+SYSTEMD", "+SELINUX", "+WASM:wasmedge", "+YAJL"]);
        let nvidia = "NVIDIA Container Runtime version 1.17.0\ncommit: x\nspec: 1.2.0\n\nrunc version 1.2.1\n";
        assert_eq!(Told::read(nvidia).unwrap().version, "1.2.1");
        let youki = Told::read("youki version 0.5.4\ncommit: 0.5.4-0-gb88f8a8\n").unwrap();
        assert_eq!((youki.product(), youki.name.as_str()), (None, "youki"));
        for nothing in ["", "usage: runc", " version 1.2", "runc\nversion 1.2"] {
            assert_eq!(Told::read(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn a_list_of_unsafe_annotations_is_taken_as_far_as_it_makes_sense() {
        let read = |text: &str| Features::read(text).map(|features| features.unsafe_annotations);
        let list = r#"{"ociVersionMax": "1.2.1", "potentiallyUnsafeConfigAnnotations":
            ["bundle", "org.systemd.property.", 7, "", ".", "module.wasm.image\/variant"]}"#;
        assert_eq!(
            read(list).unwrap(),
            ["bundle", "org.systemd.property.", "module.wasm.image/variant"]
        );
        assert_eq!(read("{}"), Some(Vec::new()));
        assert_eq!(read(r#"{"potentiallyUnsafeConfigAnnotations": "run.oci."}"#), Some(Vec::new()));
        assert_eq!(read("unknown command features"), None);
        assert_eq!(read("[]"), None);
    }
}
