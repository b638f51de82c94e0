//! Ranges across the upper half of an argument: libseccomp gets them wrong, and coaming's writing of them right.

use coaming_integration::{Error, Suite, can_run};

use crate::oracle::{number, run};

/// Versions that were seen to be wrong. Of these the fault must show, or the test would test nothing. When another one is
/// right, that is no failure, but it is said: then coaming might one day write ranges as ranges.
const WRONG: [&str; 3] = ["2.5.4", "2.6.0", "2.6.1"];

#[test]
fn ranges_across_the_upper_half() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for suite in Suite::ALL {
        let (report, right) = run(suite, ["ranges"])?;
        let version = report["libseccomp"].as_str().unwrap().to_owned();
        let (points, wrong) = (number(&report, "points"), number(&report, "libraryWrong"));
        eprintln!("libseccomp {version} of {suite}: {wrong} of {points} points wrong");
        assert!(right && number(&report, "coamingWrong") == 0, "{report:#}");
        if WRONG.contains(&version.as_str()) {
            assert!(number(&report, "libraryLetThrough") > 0, "{report:#}");
        } else if wrong == 0 {
            eprintln!("NOTICED: libseccomp {version} compiles ranges right; {WRONG:?} did not");
        }
    }
    Ok(())
}
