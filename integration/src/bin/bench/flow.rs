//! Execs one after the other, and a large output.

use std::fs::File;
use std::io::Read;
use std::time::Instant;

use coaming_integration::task_api::Streams;
use coaming_integration::{Error, Node, default_spec};
use nix::sys::stat::Mode;

use crate::creates::Bench;
use crate::table::{Table, spread};
use crate::{DOORS, name};

const EXECS: usize = 100;
const OUTPUT_MIB: usize = 100;

/// # Errors
/// The harness's own.
pub(crate) fn execs(node: &Node) -> Result<Table, Error> {
    let mut table = Table::new(
        format!("{EXECS} execs of `true`, one after the other, ms"),
        &["p50", "min", "max"],
    );
    for door in DOORS {
        let bench = Bench::new(node, door, &format!("execs-{}", name(door)))?;
        let id = format!("execs-{}", name(door));
        bench.container(&id)?;
        let (tasks, streams) = (&bench.tasks, Streams::default());
        tasks.create(&id, &bench.shim, &streams, &[])?;
        tasks.start(&id, "")?;
        let process = default_spec("unused", ["true"])?
            .as_object_mut()
            .and_then(|spec| spec.remove("process"))
            .unwrap_or_default();
        let mut times = Vec::new();
        for number in 0..EXECS {
            let exec = format!("x{number}");
            let start = Instant::now();
            tasks.exec(&id, &exec, &process, &streams)?;
            tasks.start(&id, &exec)?;
            tasks.wait(&id, &exec)?;
            tasks.delete(&id, &exec)?;
            times.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        bench.remove(&id)?;
        table.row(name(door), spread(&mut times));
    }
    Ok(table)
}

/// # Errors
/// The harness's own.
pub(crate) fn output(node: &Node) -> Result<Table, Error> {
    let mut table =
        Table::new(format!("{OUTPUT_MIB} MiB of output through a FIFO"), &["MiB/s", "MiB read"]);
    for door in DOORS {
        let id = format!("output-{}", name(door));
        let bench = Bench::new(node, door, &id)?;
        let write = format!("head -c {} /dev/zero", OUTPUT_MIB << 20);
        bench.container_of(&id, &["sh", "-c", &write])?;
        let path = format!("/run/{id}");
        let seen = node.world().path(&path);
        nix::unistd::mkfifo(&seen, Mode::from_bits_truncate(0o600))
            .map_err(|error| Error::Unavailable(format!("make {path}: {error}")))?;
        let reader = std::thread::spawn(move || {
            let mut total = 0_usize;
            let mut buffer = vec![0; 1 << 16];
            let mut begin = String::new();
            let mut file = File::open(seen)?;
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok::<_, std::io::Error>((total, begin)),
                    read => {
                        if total == 0 {
                            let first = buffer.get(..read.min(200)).unwrap_or_default();
                            begin = String::from_utf8_lossy(first).into_owned();
                        }
                        total += read;
                    }
                }
            }
        });
        // The stock shim wants both.
        let streams = Streams { stderr: path.clone(), stdout: path, ..Streams::default() };
        bench.tasks.create(&id, &bench.shim, &streams, &[])?;
        let start = Instant::now();
        bench.tasks.start(&id, "")?;
        bench.tasks.wait(&id, "")?;
        bench.tasks.delete(&id, "")?;
        let (read, begin) = reader
            .join()
            .map_err(|_| Error::Unavailable("the reader panicked".to_owned()))?
            .map_err(|error| Error::Unavailable(format!("read the output: {error}")))?;
        let seconds = start.elapsed().as_secs_f64();
        bench.tasks.delete_container(&id)?;
        if read != OUTPUT_MIB << 20 {
            let what = format!("read {read} bytes of {OUTPUT_MIB} MiB, which begin {begin:?}");
            return Err(Error::Unavailable(what));
        }
        #[allow(clippy::cast_precision_loss)] // far below 2^52
        let mebibytes = read as f64 / f64::from(1 << 20);
        table.row(name(door), [mebibytes / seconds, mebibytes]);
    }
    Ok(table)
}
