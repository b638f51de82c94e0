//! Many creates at once, each a container of its own, and as many one after the other.

use std::time::Instant;

use coaming_integration::task_api::{Shim, Streams};
use coaming_integration::{Bundle, Door, Error, Node, Tasks, default_spec};
use serde_json::json;

use crate::table::Table;
use crate::{DOORS, name};

const NAMESPACE: &str = "bench";

/// # Errors
/// The harness's own.
pub(crate) fn measure(node: &Node, creates: usize) -> Result<Table, Error> {
    let mut table = Table::new(
        format!("{creates} containers created and started, s"),
        &["at once", "slowest of them", "one by one"],
    );
    for door in DOORS {
        let bench = Bench::new(node, door, &format!("creates-{}", name(door)))?;
        let ids: Vec<String> =
            (0..creates).map(|number| format!("at-once-{}-{number}", name(door))).collect();
        ids.iter().try_for_each(|id| bench.container(id))?;
        let start = Instant::now();
        let times = std::thread::scope(|scope| {
            let handles: Vec<_> = ids
                .iter()
                .map(|id| {
                    let tasks = bench.tasks.again();
                    let shim = &bench.shim;
                    scope.spawn(move || run(&tasks?, shim, id))
                })
                .collect();
            handles
                .into_iter()
                .map(|handle| {
                    handle
                        .join()
                        .unwrap_or_else(|_| Err(Error::Unavailable("a create panicked".to_owned())))
                })
                .collect::<Result<Vec<f64>, Error>>()
        })?;
        let at_once = start.elapsed().as_secs_f64();
        ids.iter().try_for_each(|id| bench.remove(id))?;

        let ids: Vec<String> =
            (0..creates).map(|number| format!("in-turn-{}-{number}", name(door))).collect();
        ids.iter().try_for_each(|id| bench.container(id))?;
        let start = Instant::now();
        for id in &ids {
            run(&bench.tasks, &bench.shim, id)?;
        }
        let in_turn = start.elapsed().as_secs_f64();
        ids.iter().try_for_each(|id| bench.remove(id))?;
        table.row(name(door), [at_once, times.into_iter().fold(0.0, f64::max), in_turn]);
    }
    Ok(table)
}

fn run(tasks: &Tasks<'_>, shim: &Shim, id: &str) -> Result<f64, Error> {
    let start = Instant::now();
    tasks.create(id, shim, &Streams::default(), &[])?;
    tasks.start(id, "")?;
    Ok(start.elapsed().as_secs_f64())
}

/// Containers of one door with one root file system.
pub(crate) struct Bench<'a> {
    pub(crate) tasks: Tasks<'a>,
    pub(crate) shim: Shim,
    rootfs: String,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(node: &'a Node, door: Door, root: &str) -> Result<Bench<'a>, Error> {
        let stock = Shim::stock(node.config().runtime.wrapper_path());
        let shim = if door.is_shim() {
            Shim { runtime: coaming_integration::SHIM_TYPE.to_owned(), ..stock }
        } else {
            stock
        };
        let bundle = Bundle::new(node.world(), root, &default_spec(root, ["unused"])?)?;
        let rootfs = bundle.path().join("rootfs").display().to_string();
        Ok(Bench { tasks: node.tasks(NAMESPACE)?, shim, rootfs })
    }

    pub(crate) fn container(&self, id: &str) -> Result<(), Error> {
        self.container_of(id, &["sleep", "100000"])
    }

    pub(crate) fn container_of(&self, id: &str, args: &[&str]) -> Result<(), Error> {
        let mut spec = default_spec(id, args.iter().copied())?;
        if let Some(spec) = spec.as_object_mut() {
            spec.insert("root".to_owned(), json!({"path": self.rootfs}));
        }
        self.tasks.create_container(id, &self.shim, &spec)
    }

    pub(crate) fn remove(&self, id: &str) -> Result<(), Error> {
        self.tasks.kill(id, "", 9, false)?;
        self.tasks.wait(id, "")?;
        self.tasks.delete(id, "")?;
        self.tasks.delete_container(id)
    }
}
