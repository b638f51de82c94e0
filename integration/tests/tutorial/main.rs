//! The tutorial, followed word for word on a node of its own: every file that it has its reader write, every command
//! that it has them type, and every answer that it shows.

mod page;

use coaming_integration::{
    Door, Error, Node, NodeConfig, PAIRS, World, can_run, configuration, images,
};

use crate::page::Step;

const TUTORIAL: &str = include_str!("../../../docs/tutorial.md");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/examples");

#[test]
fn the_tutorial_is_true() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let (containerd, runtime) = PAIRS[PAIRS.len() - 1];
    let world = World::new()?;
    world.install_coaming()?;
    world.write("/etc/coaming/config.toml", configuration(runtime, "baseline"), 0o644)?;
    let node = Node::start_in(world, NodeConfig::new(containerd, runtime))?;
    let world = node.world();
    furnish(&node)?;
    let _ = Door::ALL;

    let steps = page::steps(TUTORIAL);
    assert!(steps.len() > 20, "the page has {} steps", steps.len());
    for step in steps {
        match step {
            Step::Write { path, contents } => world.write(&path, contents, 0o644)?,
            Step::Type { line, command, answer } => {
                let script = format!("cd /root/policies && exec 2>&1\n{command}");
                let output = world.run(["sh", "-c", &script])?;
                let got: Vec<&str> = output.stdout.lines().collect();
                assert!(
                    page::is_answered(&answer, &got),
                    "docs/tutorial.md:{line}: {command}\n--- shown\n{}\n--- got (exit code {})\n{}\n",
                    answer.join("\n"),
                    output.code,
                    output.stdout
                );
            }
        }
    }
    Ok(())
}

/// What the tutorial's first paragraph presupposes: ctr and coaming in PATH, an image, a folder to work in.
fn furnish(node: &Node) -> Result<(), Error> {
    let world = node.world();
    let ctr = node.config().containerd.suite().programs().join("ctr");
    let script = format!(
        "mkdir -p /root/policies; mount -t tmpfs tmpfs /root; mkdir -p /root/policies\n\
         ln -s {} /usr/bin/ctr; ln -s /usr/libexec/coaming/coaming /usr/bin/coaming",
        ctr.display()
    );
    world.run(["sh", "-c", &script])?.ok("furnish the node")?;
    let _ = (EXAMPLES, images::PROBE);
    Ok(())
}
