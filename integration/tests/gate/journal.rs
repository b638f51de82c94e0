//! The journal: what is written of starts, by many at once, and what becomes of a start that cannot be written.

use coaming_integration::{Bundle, Error, can_run};
use serde_json::Value;

use crate::proof::nothing_stays;
use crate::setup::{Bench, runtimes, says};

/// The journal, line by line.
pub(crate) fn journal(bench: &Bench) -> Result<Vec<Value>, Error> {
    let command = ["/usr/libexec/coaming/coaming", "journal", "--output", "json"];
    let output = bench.world.run(command)?.ok("coaming journal")?;
    Ok(output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// A full disk, or another's file in its place, keeps no node from booting, unless its operator wants that.
#[test]
fn a_journal_that_cannot_be_written_refuses_only_where_it_is_required() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for required in [false, true] {
        let more = format!("[journal]\nrequired = {required}\n");
        let bench = Bench::with(runtimes()[0], "baseline", &more)?;
        bench
            .shell(
                "mkdir -p /var/lib/coaming /run/theirs; ln -s /run/theirs /var/lib/coaming/journal",
            )?
            .ok("ln")?;
        let bundle = bench.bundle("unwritten", &["true"], |_| {})?;
        let run = bench.gated.run(&bundle, b"")?;
        if required {
            assert_ne!(run.code, 0, "{run:?}");
            says(
                &run.stderr,
                &["cannot write down", "journal.required", "/var/lib/coaming/journal"],
            );
            assert_eq!(bench.records()?, "");
        } else {
            assert_eq!(run.code, 0, "{run:?}");
            says(&run.stderr, &["cannot write its journal", "goes on without"]);
        }
        assert_eq!(bench.shell("ls /run/theirs")?.stdout, "", "a link was followed");
        nothing_stays(&bench)?;
    }
    Ok(())
}

/// Many starts at once, by as many processes.
#[test]
fn the_journal_of_many_starts_at_once_is_whole() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let bench = Bench::new(runtimes()[0], "baseline")?;
    let bundles: Vec<Bundle<'_>> = (0..12)
        .map(|number| bench.bundle(&format!("many-{number}"), &["true"], |_| {}))
        .collect::<Result<_, _>>()?;
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            bundles.iter().map(|bundle| scope.spawn(|| bench.gated.run(bundle, b""))).collect();
        for run in runs {
            let run = run.join().unwrap().unwrap();
            assert_eq!(run.code, 0, "{run:?}");
        }
    });
    nothing_stays(&bench)?;
    let lines = journal(&bench)?;
    let count = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    assert_eq!((count("created"), count("proved")), (12, 12), "{lines:#?}");
    let verify = || bench.world.run(["/usr/libexec/coaming/coaming", "journal", "--verify"]);
    says(verify()?.ok("verify")?.stdout, &["whole", "lines 1 to 25"]);
    let shown =
        bench.world.run(["/usr/libexec/coaming/coaming", "journal", "--container", "many-7"])?;
    assert_eq!(shown.stdout.lines().count(), 2, "{shown:?}");

    bench.shell("sed -i 5s/many/none/ /var/lib/coaming/journal/*.jsonl")?.ok("sed")?;
    let broken = verify()?;
    assert_eq!(broken.code, 1, "{broken:?}");
    says(&broken.stdout, &["broken", ".jsonl:6:"]);
    Ok(())
}
