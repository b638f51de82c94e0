//! Policies that are tried out: audited, or rolled out to a part of the pods.

use coaming_integration::{Error, can_run};
use serde_json::{Value, json};

use crate::setup::{Bench, FREELY, forget, outcome, policy, runtimes, says};

const CREATE: [&str; 3] = ["probe", "create", "/etc/new"];

/// Whether a container of this bench may write to its root, and its record.
fn may_write(
    bench: &Bench,
    id: &str,
    change: impl FnOnce(&mut Value),
) -> Result<(bool, Value), Error> {
    let bundle = bench.bundle(id, &["sleep", "1000"], change)?;
    bench.gated.start(&bundle)?.ok("start")?;
    let said = outcome(&bench.gated.exec(&bundle, &[], &CREATE)?);
    let record = bench.record()?;
    bench.gated.delete(&bundle)?;
    Ok((said == "allowed", record))
}

#[test]
fn what_is_audited_changes_nothing_and_is_told() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in [runtimes()[0], runtimes()[1]] {
        eprintln!("{runtime}");
        let bench = Bench::with(runtime, "baseline", FREELY)?;
        const RULES: &str = "readOnlyRootFilesystem: true\nuser: {runAsNonRoot: true}\n";
        policy(
            &bench.world,
            "tried",
            &format!("mode: audit\n{RULES}landlock: {{write: [/tmp]}}\n"),
        )?;
        let (writes, record) = may_write(&bench, "audited", |_| {})?;
        assert!(writes, "{record}");
        says(record["audit"]["changes"].to_string(), &["root.readonly", "tried"]);
        says(record["audit"]["refusals"].to_string(), &["process.user.uid", "tried"]);
        says(record["audit"]["notes"].to_string(), &["Landlock", "spec.landlock"]);
        assert_eq!(record["plan"], Value::Null, "nothing of Landlock is there");
        let enforced = record["floor"].to_string();
        assert!(!enforced.contains("tried"), "{enforced}");

        // One control of a policy that is enforced otherwise.
        policy(&bench.world, "tried", &format!("audit: [user]\n{RULES}"))?;
        let (writes, record) = may_write(&bench, "half", |_| {})?;
        assert!(!writes, "{record}");
        says(record["audit"]["refusals"].to_string(), &["process.user.uid"]);
        assert!(!record["audit"]["changes"].to_string().contains("root.readonly"), "{record}");

        // The same without a word of audit does what the audit said.
        policy(&bench.world, "tried", RULES)?;
        let bundle = bench.bundle("enforced", &["sleep", "1000"], |_| {})?;
        let refused = bench.gated.start(&bundle)?;
        assert_ne!(refused.code, 0, "{refused:?}");
        says(&refused.stderr, &["process.user.uid", "policy tried"]);
        forget(&bench.world, "tried")?;
        let (writes, record) = may_write(&bench, "free", |_| {})?;
        assert!(writes && record["audit"]["changes"] == json!([]), "{record}");
    }
    Ok(())
}

#[test]
fn a_rollout_reaches_some_pods_and_is_told_of_the_others() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let bench = Bench::with(runtimes()[0], "baseline", FREELY)?;
    let share = |percentage: u32| {
        let spec = format!("rollout: {{percentage: {percentage}}}\nreadOnlyRootFilesystem: true\n");
        policy(&bench.world, "staged", &spec)
    };
    let reached = |round: &str| -> Result<Vec<usize>, Error> {
        let mut held = Vec::new();
        for pod in 0..8 {
            let (writes, record) = may_write(&bench, &format!("{round}-{pod}"), |spec| {
                spec["annotations"]["io.kubernetes.cri.sandbox-uid"] = json!(format!("uid-{pod}"));
            })?;
            let told = record["audit"]["changes"].to_string().contains("root.readonly");
            assert_eq!(writes, told, "a pod that is not held is told of: {record}");
            if !writes {
                held.push(pod);
            }
        }
        Ok(held)
    };
    share(50)?;
    let half = reached("a")?;
    assert!(!half.is_empty() && half.len() < 8, "{half:?}");
    assert_eq!(reached("b")?, half, "other containers of the same pods");
    share(100)?;
    assert_eq!(reached("c")?.len(), 8);
    share(0)?;
    assert!(reached("d")?.is_empty());
    Ok(())
}
