//! cgroup v1: a hierarchy for each controller (the kernel's admin-guide/cgroup-v1).
//!
//! The fields are filled as containerd's cgroups package (cgroup1) fills them: a controller whose file is missing is left
//! as far as it was read, any other failure is an error.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use containerd_shim_protos::cgroups::metrics::{
    BlkIOEntry, BlkIOStat, CPUStat, CPUUsage, HugetlbStat, MemoryEntry, MemoryOomControl,
    MemoryStat, Metrics, PidsStat, RdmaEntry, RdmaStat, Throttle,
};
use protobuf::MessageField;

use super::files::{huge_page_sizes, number, pairs, rdma};

/// Controllers that have something to tell.
const TOLD: [&str; 7] = ["cpu", "cpuacct", "memory", "blkio", "pids", "hugetlb", "rdma"];
/// USER_HZ, in which cpuacct.stat counts; fixed for user space (proc(5)).
const TICKS_PER_SECOND: u64 = 100;
const NANOSECONDS: u64 = 1_000_000_000;

/// Where the hierarchies are mounted.
#[derive(Debug, Default)]
pub(super) struct Hierarchies(BTreeMap<String, Mount>);

#[derive(Debug, Clone)]
struct Mount {
    point: PathBuf,
    /// The cgroup that is mounted there.
    root: PathBuf,
}

impl Hierarchies {
    pub(super) fn of_this_process() -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// proc_pid_mountinfo(5): `id parent dev root point options [fields...] - type source super-options`.
    fn parse(mountinfo: &str) -> Self {
        let mut found = BTreeMap::new();
        for line in mountinfo.lines() {
            let Some((mount, kind)) = line.split_once(" - ") else { continue };
            let mut kind = kind.split(' ');
            if kind.next() != Some("cgroup") {
                continue;
            }
            let mut mount = mount.split(' ').skip(3);
            let (Some(root), Some(point)) = (mount.next(), mount.next()) else { continue };
            let mount = Mount { point: point.into(), root: root.into() };
            for controller in kind.nth(1).unwrap_or_default().split(',') {
                found.entry(controller.to_owned()).or_insert_with(|| mount.clone());
            }
        }
        Hierarchies(found)
    }

    /// Each mount once: one may have several controllers.
    pub(super) fn mount_points(&self) -> impl Iterator<Item = &Path> {
        let points: BTreeSet<&Path> = self.0.values().map(|mount| mount.point.as_path()).collect();
        points.into_iter()
    }
}

/// A container's folders.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    folders: HashMap<&'static str, PathBuf>,
    /// What is not in a cgroup; elsewhere in tests.
    system: System,
}

#[derive(Debug, Clone)]
struct System {
    partitions: PathBuf,
    huge_pages: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        System {
            partitions: "/proc/partitions".into(),
            huge_pages: "/sys/kernel/mm/hugepages".into(),
        }
    }
}

impl Group {
    /// Of what `/proc/<pid>/cgroup` says: lines of `number:controllers:path`.
    pub(super) fn parse(said: &str, hierarchies: &Hierarchies) -> io::Result<Self> {
        let mut folders = HashMap::new();
        for line in said.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            for controller in controllers.split(',') {
                let Some(name) = TOLD.iter().find(|told| **told == controller) else { continue };
                let Some(mount) = hierarchies.0.get(controller) else { continue };
                // Within a container of our own, the mount shows a part of the hierarchy only.
                let path = Path::new(path);
                let below = path.strip_prefix(&mount.root).or_else(|_| path.strip_prefix("/"));
                let folder = mount.point.join(below.unwrap_or(path));
                if folder.is_dir() {
                    folders.insert(*name, folder);
                }
            }
        }
        if folders.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the process is in no cgroup"));
        }
        Ok(Group { folders, system: System::default() })
    }

    /// The memory controller's folder.
    pub(super) fn memory(&self) -> io::Result<&Path> {
        self.folder("memory")
    }

    /// What it uses.
    pub(super) fn stats(&self) -> io::Result<Metrics> {
        let mut metrics = Metrics::default();
        let mut cpu = CPUStat {
            throttling: MessageField::some(Throttle::default()),
            usage: MessageField::some(CPUUsage::default()),
            ..CPUStat::default()
        };
        existing(self.throttling(cpu.throttling.mut_or_insert_default()))?;
        existing(self.usage(cpu.usage.mut_or_insert_default()))?;
        metrics.cpu = MessageField::some(cpu);
        existing(self.pids(&mut metrics))?;
        existing(self.memory_stats(&mut metrics))?;
        existing(self.blkio(&mut metrics))?;
        existing(self.hugetlb(&mut metrics))?;
        existing(self.rdma(&mut metrics))?;
        Ok(metrics)
    }

    fn folder(&self, controller: &str) -> io::Result<&Path> {
        self.folders.get(controller).map(PathBuf::as_path).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("there is no controller {controller}"))
        })
    }

    fn throttling(&self, throttle: &mut Throttle) -> io::Result<()> {
        let stat = pairs(&self.folder("cpu")?.join("cpu.stat"))?;
        let get = |key: &str| stat.get(key).copied().unwrap_or_default();
        throttle.periods = get("nr_periods");
        throttle.throttled_periods = get("nr_throttled");
        throttle.throttled_time = get("throttled_time");
        Ok(())
    }

    fn usage(&self, usage: &mut CPUUsage) -> io::Result<()> {
        let folder = self.folder("cpuacct")?;
        let stat = pairs(&folder.join("cpuacct.stat"))?;
        let time = |key: &str| {
            let ticks = stat.get(key).copied().unwrap_or_default();
            ticks.saturating_mul(NANOSECONDS) / TICKS_PER_SECOND
        };
        let total = number(&folder.join("cpuacct.usage"), 0)?;
        let each = folder.join("cpuacct.usage_percpu");
        let per_cpu: Result<Vec<u64>, _> =
            std::fs::read_to_string(&each)?.split_ascii_whitespace().map(str::parse).collect();
        usage.per_cpu =
            per_cpu.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        usage.total = total;
        usage.user = time("user");
        usage.kernel = time("system");
        Ok(())
    }

    fn pids(&self, metrics: &mut Metrics) -> io::Result<()> {
        let folder = self.folder("pids")?;
        metrics.pids = MessageField::some(PidsStat {
            current: number(&folder.join("pids.current"), 0)?,
            limit: number(&folder.join("pids.max"), 0)?,
            ..PidsStat::default()
        });
        Ok(())
    }

    fn memory_stats(&self, metrics: &mut Metrics) -> io::Result<()> {
        let folder = self.memory()?;
        let stat = pairs(&folder.join("memory.stat"))?;
        let memory = metrics.memory.mut_or_insert_default();
        fill_memory(memory, &stat);
        let oom = pairs(&folder.join("memory.oom_control"))?;
        let get = |key: &str| oom.get(key).copied().unwrap_or_default();
        metrics.memory_oom_control = MessageField::some(MemoryOomControl {
            oom_kill_disable: get("oom_kill_disable"),
            under_oom: get("under_oom"),
            oom_kill: get("oom_kill"),
            ..MemoryOomControl::default()
        });
        for (prefix, entry) in [
            ("memory", memory.usage.mut_or_insert_default()),
            ("memory.memsw", memory.swap.mut_or_insert_default()),
            ("memory.kmem", memory.kernel.mut_or_insert_default()),
            ("memory.kmem.tcp", memory.kernel_tcp.mut_or_insert_default()),
        ] {
            // Without accounting of swap its files are missing, which says nothing about the others.
            existing(fill_entry(folder, prefix, entry))?;
        }
        Ok(())
    }

    fn blkio(&self, metrics: &mut Metrics) -> io::Result<()> {
        let folder = self.folder("blkio")?;
        let devices = devices(&std::fs::read_to_string(&self.system.partitions)?);
        let read = |name: &str| entries(&folder.join(format!("blkio.{name}")), &devices);
        let blkio = metrics.blkio.mut_or_insert_default();
        // With the CFQ scheduler these have something in them.
        if folder.join("blkio.io_serviced_recursive").exists() {
            *blkio = BlkIOStat {
                sectors_recursive: read("sectors_recursive")?,
                io_service_bytes_recursive: read("io_service_bytes_recursive")?,
                io_serviced_recursive: read("io_serviced_recursive")?,
                io_queued_recursive: read("io_queued_recursive")?,
                io_service_time_recursive: read("io_service_time_recursive")?,
                io_wait_time_recursive: read("io_wait_time_recursive")?,
                io_merged_recursive: read("io_merged_recursive")?,
                io_time_recursive: read("time_recursive")?,
                ..BlkIOStat::default()
            };
            if *blkio != BlkIOStat::default() {
                return Ok(());
            }
        }
        blkio.io_serviced_recursive = read("throttle.io_serviced")?;
        blkio.io_service_bytes_recursive = read("throttle.io_service_bytes")?;
        Ok(())
    }

    fn hugetlb(&self, metrics: &mut Metrics) -> io::Result<()> {
        let folder = self.folder("hugetlb")?;
        for pagesize in huge_page_sizes(&self.system.huge_pages) {
            let get = |what: &str| number(&folder.join(format!("hugetlb.{pagesize}.{what}")), 0);
            let stat = HugetlbStat {
                usage: get("usage_in_bytes")?,
                max: get("max_usage_in_bytes")?,
                failcnt: get("failcnt")?,
                pagesize: pagesize.clone(),
                ..HugetlbStat::default()
            };
            metrics.hugetlb.push(stat);
        }
        Ok(())
    }

    fn rdma(&self, metrics: &mut Metrics) -> io::Result<()> {
        let folder = self.folder("rdma")?;
        let read = |name: &str| -> io::Result<Vec<RdmaEntry>> {
            let text = std::fs::read_to_string(folder.join(name))?;
            Ok(text
                .lines()
                .filter_map(rdma)
                .map(|(device, hca_handles, hca_objects)| RdmaEntry {
                    device,
                    hca_handles,
                    hca_objects,
                    ..RdmaEntry::default()
                })
                .collect())
        };
        let (current, limit) = (read("rdma.current")?, read("rdma.max")?);
        metrics.rdma = MessageField::some(RdmaStat { current, limit, ..RdmaStat::default() });
        Ok(())
    }
}

/// A controller or file that this machine has not is no error.
fn existing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn fill_entry(folder: &Path, prefix: &str, entry: &mut MemoryEntry) -> io::Result<()> {
    let get = |what: &str| number(&folder.join(format!("{prefix}.{what}")), 0);
    entry.usage = get("usage_in_bytes")?;
    entry.max = get("max_usage_in_bytes")?;
    entry.failcnt = get("failcnt")?;
    entry.limit = get("limit_in_bytes")?;
    Ok(())
}

fn fill_memory(memory: &mut MemoryStat, stat: &HashMap<String, u64>) {
    let get = |key: &str| stat.get(key).copied().unwrap_or_default();
    memory.cache = get("cache");
    memory.rss = get("rss");
    memory.rss_huge = get("rss_huge");
    memory.mapped_file = get("mapped_file");
    memory.dirty = get("dirty");
    memory.writeback = get("writeback");
    memory.pg_pg_in = get("pgpgin");
    memory.pg_pg_out = get("pgpgout");
    memory.pg_fault = get("pgfault");
    memory.pg_maj_fault = get("pgmajfault");
    memory.inactive_anon = get("inactive_anon");
    memory.active_anon = get("active_anon");
    memory.inactive_file = get("inactive_file");
    memory.active_file = get("active_file");
    memory.unevictable = get("unevictable");
    memory.hierarchical_memory_limit = get("hierarchical_memory_limit");
    memory.hierarchical_swap_limit = get("hierarchical_memsw_limit");
    memory.total_cache = get("total_cache");
    memory.total_rss = get("total_rss");
    memory.total_rss_huge = get("total_rss_huge");
    memory.total_mapped_file = get("total_mapped_file");
    memory.total_dirty = get("total_dirty");
    memory.total_writeback = get("total_writeback");
    memory.total_pg_pg_in = get("total_pgpgin");
    memory.total_pg_pg_out = get("total_pgpgout");
    memory.total_pg_fault = get("total_pgfault");
    memory.total_pg_maj_fault = get("total_pgmajfault");
    memory.total_inactive_anon = get("total_inactive_anon");
    memory.total_active_anon = get("total_active_anon");
    memory.total_inactive_file = get("total_inactive_file");
    memory.total_active_file = get("total_active_file");
    memory.total_unevictable = get("total_unevictable");
}

/// Names of block devices by their numbers, from /proc/partitions: two lines of heading, then `major minor blocks name`.
fn devices(partitions: &str) -> HashMap<(u64, u64), String> {
    let mut devices = HashMap::new();
    for line in partitions.lines().skip(2) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [major, minor, _, name] = words[..] else { continue };
        if let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) {
            // A device may be there more than once: the first is the one.
            devices.entry((major, minor)).or_insert_with(|| format!("/dev/{name}"));
        }
    }
    devices
}

/// Lines of `major:minor [operation] number`, and at the end `Total number`.
fn entries(path: &Path, devices: &HashMap<(u64, u64), String>) -> io::Result<Vec<BlkIOEntry>> {
    let text = std::fs::read_to_string(path)?;
    let mut found = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split([' ', ':']).filter(|word| !word.is_empty()).collect();
        let (major, minor, op, value) = match words[..] {
            ["Total", _] => continue,
            [major, minor, value] => (major, minor, "", value),
            [major, minor, op, value, ..] => (major, minor, op, value),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, line.to_owned())),
        };
        let parse = |word: &str| {
            word.parse::<u64>().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        };
        let (major, minor) = (parse(major)?, parse(minor)?);
        found.push(BlkIOEntry {
            op: op.to_owned(),
            device: devices.get(&(major, minor)).cloned().unwrap_or_default(),
            major,
            minor,
            value: parse(value)?,
            ..BlkIOEntry::default()
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
