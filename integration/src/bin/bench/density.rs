//! Memory of the shims of many pods that all run at once.

use coaming_integration::cri::{ContainerSpec, Pod};
use coaming_integration::{Error, Node, images, residue};

use crate::table::{Table, spread};
use crate::{DOORS, name};

/// Each pod: its sandbox, one container, and an exec in it, as a probe makes one.
///
/// # Errors
/// The harness's own.
pub(crate) fn measure(node: &Node, pods: usize) -> Result<Table, Error> {
    let cri = node.cri()?;
    let mut running = Vec::new();
    for number in 0..pods {
        for door in DOORS {
            let pod = Pod {
                host_network: true,
                ..Pod::new(&format!("dense-{}-{number}", name(door)), door.handler())
            };
            let sandbox = cri.run_pod(&pod)?;
            let spec = ContainerSpec::new("main", images::BUSYBOX, ["sleep", "100000"]);
            let id = cri.launch(&sandbox, &spec)?;
            cri.exec_sync(&id, ["true"])?.ok("an exec")?;
            running.push((door, sandbox));
        }
    }
    let mut table = Table::new(
        format!("Memory per shim, {pods} pods of each shim running, MiB"),
        &["PSS p50", "PSS min", "PSS max", "RSS p50", "private p50", "threads p50"],
    );
    for door in DOORS {
        let (mut pss, mut rss, mut private, mut threads) = (vec![], vec![], vec![], vec![]);
        for (_, sandbox) in running.iter().filter(|(of, _)| *of == door) {
            for shim in residue::shims(node.world(), "k8s.io", &sandbox.id) {
                let pid = shim.split(' ').nth(1).unwrap_or_default();
                let rollup = node.world().read(format!("/proc/{pid}/smaps_rollup"))?;
                pss.push(mebibytes(&rollup, &["Pss:"]));
                rss.push(mebibytes(&rollup, &["Rss:"]));
                private.push(mebibytes(&rollup, &["Private_Clean:", "Private_Dirty:"]));
                let status = node.world().read(format!("/proc/{pid}/status"))?;
                threads.push(field(&status, "Threads:"));
            }
        }
        if pss.len() != pods {
            let what = format!("{} shims for {pods} pods of {}", pss.len(), name(door));
            return Err(Error::Unavailable(what));
        }
        let [middle, least, most] = spread(&mut pss);
        let middle_of = |values: &mut Vec<f64>| spread(values)[0];
        table.row(
            name(door),
            [
                middle,
                least,
                most,
                middle_of(&mut rss),
                middle_of(&mut private),
                middle_of(&mut threads),
            ],
        );
    }
    for (_, sandbox) in &running {
        cri.remove_pod(sandbox)?;
    }
    Ok(table)
}

fn mebibytes(rollup: &str, fields: &[&str]) -> f64 {
    fields.iter().map(|name| field(rollup, name)).sum::<f64>() / 1024.0
}

/// The number after a name: of kB, where it has a unit.
fn field(text: &str, name: &str) -> f64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(f64::NAN)
}
