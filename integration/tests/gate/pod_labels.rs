//! Labels of pods, of which no runtime tells: kept with the sandbox, or asked of containerd, or not known.

use coaming_integration::cri::{ContainerSpec, Pod, Sandbox};
use coaming_integration::{Door, Error, Node, NodeConfig, PAIRS, can_run, images};
use serde_json::Value;

use crate::setup::{FREELY, forget, install_with, outcome, policy};

const GOES_BY_LABELS: &str = "match: {labels: {tier: [locked]}}\nreadOnlyRootFilesystem: true";
const ASKED: &str = "/usr/libexec/coaming/coaming-labels";

/// A pod with containers that try to write to their root.
struct Trial<'a> {
    node: &'a Node,
    sandbox: Sandbox,
    count: usize,
}

impl Trial<'_> {
    fn of<'a>(node: &'a Node, tier: &str, handler: &str) -> Result<Trial<'a>, Error> {
        let labels = [("tier".to_owned(), tier.to_owned())].into();
        let sandbox = node.cri()?.run_pod(&Pod { labels, ..Pod::new(tier, handler) })?;
        Ok(Trial { node, sandbox, count: 0 })
    }

    /// What becomes of the attempt, and the notes of the record.
    fn write(&mut self) -> Result<(String, String), Error> {
        self.count += 1;
        let name = format!("app-{}", self.count);
        let cri = self.node.cri()?;
        let tries = ContainerSpec::new(&name, images::PROBE, ["probe", "create", "/etc/new"]);
        let said = outcome(&cri.run(&self.sandbox, &tries)?);
        let sleeps = ContainerSpec::new(&format!("{name}-on"), images::PROBE, ["sleep", "1000"]);
        let id = cri.launch(&self.sandbox, &sleeps)?;
        let explain =
            ["/usr/libexec/coaming/coaming", "explain", "--output", "json", "--container"];
        let told = self.node.world().run(explain.iter().copied().chain([id.as_str()]))?;
        let report: Value = serde_json::from_str(&told.stdout).unwrap();
        Ok((said, report["notes"].to_string()))
    }

    fn end(self) -> Result<(), Error> {
        self.node.cri()?.remove_pod(&self.sandbox)
    }
}

#[test]
fn a_policy_goes_by_labels_that_containerd_keeps_to_itself() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for (containerd, runtime) in [PAIRS[0], PAIRS[4]] {
        eprintln!("{containerd} with {runtime}");
        let node = Node::start(NodeConfig::new(containerd, runtime))?;
        let world = node.world();
        install_with(world, runtime, "baseline", FREELY)?;
        let handler = Door::of_pair(0)[0].handler();

        // The sandbox is older than the policy: containerd is asked.
        let (mut locked, mut open) =
            (Trial::of(&node, "locked", handler)?, Trial::of(&node, "open", handler)?);
        assert_eq!(locked.write()?.0, "allowed", "without a policy");
        policy(world, "labels", GOES_BY_LABELS)?;
        for (trial, expected) in [(&mut locked, "denied"), (&mut open, "allowed")] {
            let (said, notes) = trial.write()?;
            assert_eq!(said, expected);
            assert!(!notes.contains("labels of the pod"), "{notes}");
        }
        // Nobody to ask: it applies, and the record says why.
        world.run(["mv", ASKED, "/usr/libexec/coaming/away"])?.ok("mv")?;
        let (said, notes) = open.write()?;
        assert_eq!(said, "denied");
        assert!(notes.contains("the labels of the pod are not known"), "{notes}");
        locked.end()?;
        open.end()?;

        // The sandbox is newer: its record has them, and nobody is asked.
        world.run(["mv", "/usr/libexec/coaming/away", ASKED])?.ok("mv")?;
        let (mut locked, mut open) =
            (Trial::of(&node, "locked", handler)?, Trial::of(&node, "open", handler)?);
        world.run(["mv", ASKED, "/usr/libexec/coaming/away"])?.ok("mv")?;
        assert_eq!(locked.write()?.0, "denied");
        assert_eq!(open.write()?.0, "allowed");
        world.run(["mv", "/usr/libexec/coaming/away", ASKED])?.ok("mv")?;
        locked.end()?;
        open.end()?;
        forget(world, "labels")?;
    }
    Ok(())
}
