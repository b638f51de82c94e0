//! Core scheduling: containerd is told to ask for it, and the shim gets it from the kernel or says that there is none, as
//! the stock one does.

use coaming_integration::{Containerd, Door, Error, Node, NodeConfig, PAIRS, Run, can_run};
use coaming_integration::{configuration, images};

#[test]
fn it_is_given_or_refused_as_by_the_stock_shim() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for (containerd, runtime) in PAIRS.into_iter().step_by(2) {
        let node = Node::start(NodeConfig::new(containerd, runtime))?;
        let world = node.world();
        world.install_coaming()?;
        world.write("/etc/coaming/config.toml", configuration(runtime, "node"), 0o644)?;
        let run = |id: &str| Run::new(images::PROBE, id).args(["echo", "done"]);
        let ours = |id: &str| run(id).through(Door::ShimPath);
        assert_eq!(node.ctr().run(&ours("before"))?.stdout, "done\n", "{containerd}");

        enable(&node)?;
        let stock = node.ctr().run(&run("stock"))?;
        let mine = node.ctr().run(&ours("ours"))?;
        assert_eq!(mine.success(), stock.success(), "{containerd}: {stock:?} {mine:?}");
        if stock.success() {
            assert_eq!(mine.stdout, "done\n", "{containerd}: {mine:?}");
        } else {
            // So that it is known that it is this that the stock shim fails for.
            assert!(stock.stderr.contains("enable sched core support"), "{containerd}: {stock:?}");
            assert!(mine.stderr.contains("SCHED_CORE is set"), "{containerd}: {mine:?}");
            let left = coaming_integration::residue::shims(world, "default", "ours");
            assert!(left.is_empty(), "{containerd}: {left:?}");
        }
    }
    Ok(())
}

fn enable(node: &Node) -> Result<(), Error> {
    let file = "/etc/containerd/config.toml";
    let more = match node.config().containerd {
        Containerd::V1_6 | Containerd::V1_7 => {
            "[plugins.\"io.containerd.runtime.v2.task\"]\nsched_core = true\n"
        }
        Containerd::V2 => "[plugins.\"io.containerd.shim.v1.manager\"]\nenv = [\"SCHED_CORE=1\"]\n",
    };
    let text = node.world().read(file)? + more;
    node.stop_containerd("TERM")?;
    node.world().write(file, text, 0o644)?;
    node.start_containerd()
}
