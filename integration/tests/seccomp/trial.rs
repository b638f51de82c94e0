//! Plans of syscalls to try, what became of them, and whether that is what the rules say.

use std::fs;
use std::path::PathBuf;

use coaming_integration::{Error, Suite};
use tempfile::TempDir;

use crate::oracle;

/// A merged filter, with syscalls to try under it.
pub(crate) struct Plan {
    folder: TempDir,
    wants: Vec<Want>,
}

struct Want {
    /// What runc's filter answers, and what the same without its ENOSYS does.
    stubbed: String,
    bare: String,
    name: String,
}

impl Plan {
    /// Made by the oracle under the suite's libseccomp. All errnos but ENOSYS are 1000 or more: no syscall has such.
    pub(crate) fn of(suite: Suite, profiles: &[PathBuf]) -> Result<Plan, Error> {
        let folder = tempfile::tempdir().unwrap();
        let mut words = vec!["plan".into(), "--distinct".into(), "--out".into()];
        words.push(folder.path().as_os_str().to_owned());
        words.extend(profiles.iter().map(|profile| profile.clone().into_os_string()));
        let (report, _) = oracle::run(suite, words)?;
        let wants = fs::read_to_string(folder.path().join("wants")).unwrap();
        let want = |line: &str| {
            let [stubbed, bare, name] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
            Want { stubbed: stubbed.to_owned(), bare: bare.to_owned(), name: name.to_owned() }
        };
        let wants: Vec<Want> = wants.lines().map(want).collect();
        assert_eq!(oracle::number(&report, "tries"), wants.len() as u64);
        Ok(Plan { folder, wants })
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.folder.path().join("program")
    }

    pub(crate) fn tries(&self) -> String {
        fs::read_to_string(self.folder.path().join("tries")).unwrap()
    }

    pub(crate) fn section(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.folder.path().join("section.json")).unwrap()).unwrap()
    }

    /// Of each try whether it is let through: these may be made without a filter, too.
    pub(crate) fn passing(&self) -> impl Iterator<Item = bool> {
        self.wants.iter().map(|want| want.stubbed == "passed" && want.bare == "passed")
    }

    /// Each try has ended as the rules say. `unfiltered` is how the passing ones end without a filter.
    #[track_caller]
    pub(crate) fn check(&self, ends: &str, unfiltered: &str, has_stub: bool) -> Tally {
        let ends: Vec<&str> = ends.lines().collect();
        assert_eq!(ends.len(), self.wants.len(), "{ends:?}");
        let mut unfiltered = unfiltered.lines();
        let tries = self.tries();
        let mut tally = Tally::default();
        for (((want, end), passing), call) in
            self.wants.iter().zip(ends).zip(self.passing()).zip(tries.lines())
        {
            let plain = if passing { unfiltered.next() } else { None };
            let mut accepted = vec![&want.stubbed];
            if !has_stub {
                // crun has had none, and then its own.
                accepted.push(&want.bare);
            }
            let right = accepted.iter().any(|want| agrees(want, end, plain));
            assert!(right, "{} ({call}) came to {end:?}, not {:?}", want.name, want.stubbed);
            match end.split(' ').next() {
                Some("killed") => tally.killed += 1,
                Some("trapped") => tally.trapped += 1,
                _ if want.stubbed == "passed" => tally.passed += 1,
                _ => tally.refused += 1,
            }
        }
        tally
    }
}

/// Nothing of the kernel's own may look like an answer of the filter.
fn agrees(want: &str, end: &str, plain: Option<&str>) -> bool {
    if want != "passed" {
        return want == end;
    }
    let errno = end.strip_prefix("errno ").and_then(|errno| errno.parse::<u32>().ok());
    match errno {
        Some(38) => plain == Some("errno 38"),
        Some(errno) => errno < 1000,
        None => end != "killed" && !end.starts_with("trapped"),
    }
}

/// How the tries of a plan ended.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) killed: u32,
    pub(crate) trapped: u32,
    pub(crate) refused: u32,
    pub(crate) passed: u32,
}
