//! One start, program by program: what is executed between the client's request and the workload's own program, as the
//! kernel's tracepoints tell it (sched_process_fork, _exec, _exit), in a trace instance of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use coaming_integration::{Error, World};

const TRACING: &str = "/sys/kernel/tracing";
const EVENTS: [&str; 3] = ["sched_process_fork", "sched_process_exec", "sched_process_exit"];

/// A trace of the node's processes; gone with the value.
#[derive(Debug)]
pub(crate) struct Trace {
    instance: PathBuf,
    /// Every thread of the node as it began.
    threads: BTreeSet<u32>,
}

/// A process that executed something, or gave itself a name.
#[derive(Debug, Default)]
struct Process {
    /// When what was executed, in seconds of the trace's clock.
    stages: Vec<(f64, String)>,
    end: Option<f64>,
}

impl Trace {
    /// Begins to trace a world's processes and whatever they start.
    pub(crate) fn begin(world: &World) -> Result<Trace, Error> {
        let instance = Path::new(TRACING).join("instances").join(world.name());
        let failed = |path: &Path| {
            let object = path.display().to_string();
            move |source| Error::Io { operation: "use", object, source }
        };
        let threads = threads(world)?;
        fs::create_dir(&instance).map_err(failed(&instance))?;
        let trace = Trace { instance, threads };
        for event in EVENTS {
            let switch = trace.instance.join("events/sched").join(event).join("enable");
            fs::write(&switch, "1").map_err(failed(&switch))?;
        }
        Ok(trace)
    }

    /// Ends, and gives the processes in the order in which they first executed something.
    fn processes(self) -> Result<Vec<Process>, Error> {
        let path = self.instance.join("trace");
        let text = fs::read_to_string(&path).map_err(|source| Error::Io {
            operation: "read",
            object: path.display().to_string(),
            source,
        })?;
        let mut ours = self.threads.clone();
        let mut processes: BTreeMap<u32, Process> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((head, (name, fields))) = line
                .split_once(": sched_process_")
                .and_then(|(head, rest)| Some((head, rest.split_once(": ")?)))
            else {
                continue;
            };
            let time = head.rsplit(' ').next().and_then(|time| time.parse::<f64>().ok());
            let (Some(time), Some(pid)) = (time, number(fields, " pid=")) else { continue };
            match name {
                "fork" if ours.contains(&pid) => ours.extend(number(fields, " child_pid=")),
                "exec" if ours.contains(&pid) => {
                    let file = fields.strip_prefix("filename=").unwrap_or(fields);
                    let file = file.split(" pid=").next().unwrap_or(file).to_owned();
                    processes.entry(pid).or_default().stages.push((time, file));
                }
                "exit" => {
                    if let Some(process) = processes.get_mut(&pid) {
                        process.end.get_or_insert(time);
                    }
                }
                _ => {}
            }
        }
        let mut found: Vec<Process> = processes.into_values().collect();
        found.sort_by(|one, other| began(one).total_cmp(&began(other)));
        Ok(found)
    }

    /// The picture, up to the moment at which the workload's program is executed.
    pub(crate) fn picture(self, title: &str, workload: &str) -> Result<String, Error> {
        let processes = self.processes()?;
        let start = processes.first().map_or(0.0, began);
        let of_workload = processes.iter().flat_map(|process| &process.stages);
        let end = of_workload
            .filter(|(_, file)| file == workload)
            .map(|(time, _)| *time)
            .reduce(f64::max)
            .ok_or_else(|| Error::Unavailable(format!("{title}: {workload} was not executed")))?;
        let shown: Vec<&Process> =
            processes.iter().filter(|process| began(process) <= end).collect();
        Ok(draw(title, &shown, start, end))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        for event in EVENTS {
            let _ = fs::write(self.instance.join("events/sched").join(event).join("enable"), "0");
        }
        let _ = fs::remove_dir(&self.instance);
    }
}

fn began(process: &Process) -> f64 {
    process.stages.first().map_or(f64::MAX, |(time, _)| *time)
}

fn number(fields: &str, name: &str) -> Option<u32> {
    // The first field has no space before it.
    let fields = format!(" {fields}");
    let rest = &fields.get(fields.find(name)? + name.len()..)?;
    rest.split(' ').next()?.parse().ok()
}

/// The threads in the world's cgroup and below, by the host's numbers.
fn threads(world: &World) -> Result<BTreeSet<u32>, Error> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mut folders: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|mount| mount.starts_with("/sys/fs/cgroup"))
        .map(|mount| Path::new(mount).join(world.name()))
        .filter(|folder| folder.is_dir())
        .take(1)
        .collect();
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for name in ["tasks", "cgroup.threads"] {
            let tasks = fs::read_to_string(folder.join(name)).unwrap_or_default();
            found.extend(tasks.lines().filter_map(|task| task.parse::<u32>().ok()));
        }
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        folders.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    if found.is_empty() {
        return Err(Error::Unavailable(format!("no process is in the cgroup {}", world.name())));
    }
    Ok(found)
}

/// A row for each process; in it a bar for each program that it was.
fn draw(title: &str, processes: &[&Process], start: f64, end: f64) -> String {
    const LEFT: f64 = 250.0;
    const WIDTH: f64 = 640.0;
    const STEP: f64 = 20.0;
    const COLOURS: [&str; 4] = ["#1f6f8b", "#e09f3e", "#7a5195", "#5b8c5a"];
    let height = STEP * (processes.len() as f64 + 3.0);
    let x = |time: f64| LEFT + WIDTH * (time - start) / (end - start);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 940 {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"940\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"8\" y=\"18\" font-weight=\"bold\">{title}: {:.0} ms, {} programs</text>\n",
        (end - start) * 1000.0,
        processes.iter().map(|process| process.stages.len()).sum::<usize>()
    );
    for (row, process) in processes.iter().enumerate() {
        let y = STEP * (row as f64 + 1.6);
        let names: Vec<&str> = process
            .stages
            .iter()
            .map(|(_, file)| file.rsplit('/').next().unwrap_or(file))
            .collect();
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            y + 11.0,
            names.join(", ")
        );
        let last = process.end.unwrap_or(end).min(end);
        let shown = process.stages.iter().enumerate().filter(|(_, (time, _))| *time <= end);
        for (at, (time, _)) in shown {
            let until = process.stages.get(at + 1).map_or(last, |(next, _)| next.min(last));
            let colour = COLOURS.get(at % COLOURS.len()).copied().unwrap_or_default();
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"13\" fill=\"{colour}\"/>",
                x(*time),
                (x(until) - x(*time)).max(1.0)
            );
        }
    }
    for part in 0..=4 {
        let time = start + (end - start) * f64::from(part) / 4.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.0} ms</text>",
            x(time),
            height - 8.0,
            (time - start) * 1000.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}
