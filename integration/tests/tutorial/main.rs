//! The tutorial and the guides for operators, each followed word for word on a node of its own: every file that it has its
//! reader write, every command that it has them type, and every answer that it shows.

mod page;

use coaming_integration::{Error, Node, NodeConfig, PAIRS, World, can_run, configuration, images};

use crate::page::Step;

#[test]
fn the_tutorial_is_true() -> Result<(), Error> {
    is_true("docs/tutorial.md", include_str!("../../../docs/tutorial.md"))
}

#[test]
fn the_guide_to_rolling_out_is_true() -> Result<(), Error> {
    is_true("docs/rollout.md", include_str!("../../../docs/rollout.md"))
}

#[test]
fn the_guide_to_incidents_is_true() -> Result<(), Error> {
    is_true("docs/incidents.md", include_str!("../../../docs/incidents.md"))
}

fn is_true(name: &str, text: &str) -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let (containerd, runtime) = *PAIRS
        .iter()
        .rev()
        .find(|(_, runtime)| runtime.wrapper_name() == "coaming-runc")
        .unwrap_or(&PAIRS[0]);
    let world = World::new()?;
    world.install_coaming()?;
    world.write("/etc/coaming/config.toml", configuration(runtime, "baseline"), 0o644)?;
    let node = Node::start_in(world, NodeConfig::new(containerd, runtime))?;
    furnish(&node)?;

    let steps = page::steps(text);
    let mut typed = 0;
    let mut wrong = String::new();
    for step in steps {
        match step {
            Step::Write { path, contents } => node.world().write(&path, contents, 0o644)?,
            Step::Type { line, command, answer } => {
                typed += 1;
                let script = format!("cd /root/policies && exec 2>&1\n{command}");
                let output = node.world().run(["sh", "-c", &script])?;
                eprintln!("{name}:{line}: {command}\n{}", output.stdout);
                let got: Vec<&str> = output.stdout.lines().collect();
                if !page::is_answered(&answer, &got) {
                    wrong.push_str(&format!(
                        "\n{name}:{line}: {command}\n--- shown\n{}\n--- got, exit code {}\n{}",
                        answer.join("\n"),
                        output.code,
                        output.stdout
                    ));
                }
            }
        }
    }
    assert!(typed > 15, "the page has its reader type {typed} commands");
    assert!(wrong.is_empty(), "{wrong}");
    Ok(())
}

/// What the tutorial presupposes: ctr and coaming in PATH, an image with a shell, a folder that is root's alone.
fn furnish(node: &Node) -> Result<(), Error> {
    let ctr = node.config().containerd.suite().programs().join("ctr");
    let script = format!(
        "mount -t tmpfs -o mode=700 tmpfs /root && mkdir -p /root/policies/policy.d\n\
         printf '#!/bin/sh\\nexport CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1\\nexec {} \"$@\"\\n' >/usr/bin/ctr\n\
         chmod 755 /usr/bin/ctr; ln -sf /usr/libexec/coaming/coaming /usr/bin/coaming\n\
         ctr images tag {} busybox:1",
        ctr.display(),
        images::BUSYBOX,
    );
    node.world().run(["sh", "-c", &script])?.ok("furnish the node").map(drop)
}
