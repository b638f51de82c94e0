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
mod tests {
    use super::*;

    /// Written by a machine with the hierarchies of Debian, cpu and cpuacct together.
    const MOUNTINFO: &str = "\
24 1 0:22 / / rw - overlay overlay rw,lowerdir=/a\n\
31 24 0:27 / ROOT ro,nosuid shared:9 - tmpfs tmpfs ro\n\
32 31 0:28 / ROOT/unified rw shared:10 - cgroup2 cgroup2 rw\n\
33 31 0:29 / ROOT/cpu,cpuacct rw shared:14 - cgroup cgroup rw,cpu,cpuacct\n\
34 31 0:30 /docker/abc ROOT/memory rw - cgroup cgroup rw,memory\n\
35 31 0:31 / ROOT/pids rw - cgroup cgroup rw,pids\n\
36 31 0:32 / ROOT/blkio rw - cgroup cgroup rw,blkio\n\
37 31 0:33 / ROOT/hugetlb rw - cgroup cgroup rw,hugetlb\n\
38 31 0:34 / ROOT/rdma rw - cgroup cgroup rw,rdma\n";
    const SAID: &str = "12:cpu,cpuacct:/k8s.io/c1\n11:memory:/docker/abc/k8s.io/c1\n10:pids:/k8s.io/c1\n\
                        9:blkio:/k8s.io/c1\n8:hugetlb:/k8s.io/c1\n7:rdma:/k8s.io/c1\n1:name=systemd:/x\n0::/x\n";

    struct Fixture {
        root: tempfile::TempDir,
        group: Group,
    }

    impl Fixture {
        fn new(files: &[(&str, &str)]) -> Self {
            let root = tempfile::tempdir().unwrap();
            for mount in ["cpu,cpuacct", "memory", "pids", "blkio", "hugetlb", "rdma"] {
                std::fs::create_dir_all(root.path().join(mount).join("k8s.io/c1")).unwrap();
            }
            for size in ["hugepages-2048kB", "hugepages-1048576kB"] {
                std::fs::create_dir_all(root.path().join("hugepages").join(size)).unwrap();
            }
            let mountinfo = MOUNTINFO.replace("ROOT", root.path().to_str().unwrap());
            let mut group = Group::parse(SAID, &Hierarchies::parse(&mountinfo)).unwrap();
            group.system = System {
                partitions: root.path().join("partitions"),
                huge_pages: root.path().join("hugepages"),
            };
            let partitions = "major minor  #blocks  name\n\n   8        0   10 sda\n   8        0   10 again\n 254       16   10 vdb\n";
            std::fs::write(&group.system.partitions, partitions).unwrap();
            let fixture = Fixture { root, group };
            for (name, text) in files {
                fixture.write(name, text);
            }
            fixture
        }

        fn write(&self, name: &str, text: &str) {
            let (mount, file) = name.split_once('/').unwrap();
            let path = self.root.path().join(mount).join("k8s.io/c1").join(file);
            std::fs::write(path, text).unwrap();
        }

        fn stats(&self) -> Metrics {
            self.group.stats().unwrap()
        }
    }

    #[test]
    fn folders_are_found_by_mounts_and_controllers() {
        let fixture = Fixture::new(&[]);
        let folder = |name| fixture.group.folder(name).unwrap().to_owned();
        let expected = |mount: &str| fixture.root.path().join(mount).join("k8s.io/c1");
        assert_eq!(folder("cpu"), expected("cpu,cpuacct"));
        assert_eq!(folder("cpuacct"), expected("cpu,cpuacct"));
        // Mounted from below /docker/abc.
        assert_eq!(folder("memory"), expected("memory"));
        assert!(Group::parse("0::/x\n", &Hierarchies::default()).is_err());
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let stats = Fixture::new(&[]).stats();
        assert!(stats.memory.is_none() && stats.pids.is_none() && stats.rdma.is_none());
        assert_eq!(stats.cpu.usage.total, 0);
        assert!(stats.blkio.is_some());
    }

    #[test]
    fn processors() {
        let stats = Fixture::new(&[
            (
                "cpu,cpuacct/cpu.stat",
                "nr_periods 5\nnr_throttled 2\nthrottled_time 900\nnr_bursts 1\n",
            ),
            ("cpu,cpuacct/cpuacct.stat", "user 250\nsystem 3\n"),
            ("cpu,cpuacct/cpuacct.usage", "123456789\n"),
            ("cpu,cpuacct/cpuacct.usage_percpu", "100 23 \n"),
        ])
        .stats();
        let throttling = &stats.cpu.throttling;
        assert_eq!(
            (throttling.periods, throttling.throttled_periods, throttling.throttled_time),
            (5, 2, 900)
        );
        let usage = &stats.cpu.usage;
        assert_eq!(
            (usage.total, usage.user, usage.kernel),
            (123_456_789, 2_500_000_000, 30_000_000)
        );
        assert_eq!(usage.per_cpu, [100, 23]);
    }

    #[test]
    fn memory() {
        let fixture = Fixture::new(&[
            (
                "memory/memory.stat",
                "cache 1\nrss 2\npgpgin 3\ntotal_rss 4\nhierarchical_memsw_limit 9223372036854771712\n",
            ),
            ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 1\noom_kill 7\n"),
            ("memory/memory.usage_in_bytes", "10\n"),
            ("memory/memory.max_usage_in_bytes", "11\n"),
            ("memory/memory.failcnt", "12\n"),
            ("memory/memory.limit_in_bytes", "13\n"),
            ("memory/memory.kmem.usage_in_bytes", "20\n"),
        ]);
        let stats = fixture.stats();
        let memory = &stats.memory;
        assert_eq!((memory.cache, memory.rss, memory.pg_pg_in, memory.total_rss), (1, 2, 3, 4));
        assert_eq!(memory.hierarchical_swap_limit, 9_223_372_036_854_771_712);
        let usage = &memory.usage;
        assert_eq!((usage.usage, usage.max, usage.failcnt, usage.limit), (10, 11, 12, 13));
        // No swap accounting; and a kernel that has dropped the rest of kmem.
        assert_eq!((memory.swap.limit, memory.kernel.usage, memory.kernel.limit), (0, 20, 0));
        let oom = &stats.memory_oom_control;
        assert_eq!((oom.oom_kill_disable, oom.under_oom, oom.oom_kill), (0, 1, 7));
        fixture.write("memory/memory.stat", "cache\n");
        assert_eq!(fixture.group.stats().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn pids_huge_pages_and_rdma() {
        let stats = Fixture::new(&[
            ("pids/pids.current", "3\n"),
            ("pids/pids.max", "max\n"),
            ("hugetlb/hugetlb.2MB.usage_in_bytes", "1\n"),
            ("hugetlb/hugetlb.2MB.max_usage_in_bytes", "2\n"),
            ("hugetlb/hugetlb.2MB.failcnt", "3\n"),
            ("rdma/rdma.current", "mlx5_0 hca_handle=1 hca_object=2\n"),
            ("rdma/rdma.max", "mlx5_0 hca_handle=max hca_object=4\n"),
        ])
        .stats();
        assert_eq!((stats.pids.current, stats.pids.limit), (3, 0));
        assert_eq!(stats.hugetlb.len(), 1);
        let huge = &stats.hugetlb[0];
        assert_eq!((huge.pagesize.as_str(), huge.usage, huge.max, huge.failcnt), ("2MB", 1, 2, 3));
        assert_eq!(stats.rdma.current[0].hca_objects, 2);
        assert_eq!(stats.rdma.limit[0].hca_handles, u32::MAX);
    }

    #[test]
    fn block_devices() {
        let throttle = [
            (
                "blkio/blkio.throttle.io_serviced",
                "8:0 Read 4\n8:0 Total 4\n253:1 Write 2\nTotal 6\n",
            ),
            ("blkio/blkio.throttle.io_service_bytes", "Total 0\n"),
        ];
        let fixture = Fixture::new(&throttle);
        let stats = fixture.stats();
        let serviced = &stats.blkio.io_serviced_recursive;
        assert_eq!(serviced.len(), 3);
        assert_eq!(
            (serviced[0].device.as_str(), serviced[0].op.as_str(), serviced[0].value),
            ("/dev/sda", "Read", 4)
        );
        assert_eq!(
            (serviced[2].device.as_str(), serviced[2].major, serviced[2].minor),
            ("", 253, 1)
        );
        assert!(stats.blkio.io_service_bytes_recursive.is_empty());
        // CFQ's files come first, where they have something.
        for name in [
            "sectors",
            "io_service_bytes",
            "io_serviced",
            "io_queued",
            "io_service_time",
            "io_wait_time",
            "io_merged",
            "time",
        ] {
            fixture.write(&format!("blkio/blkio.{name}_recursive"), "Total 0\n");
        }
        assert_eq!(fixture.stats().blkio.io_serviced_recursive.len(), 3);
        fixture.write("blkio/blkio.sectors_recursive", "254:16 99\n");
        let stats = fixture.stats();
        assert!(stats.blkio.io_serviced_recursive.is_empty());
        assert_eq!(
            (
                stats.blkio.sectors_recursive[0].device.as_str(),
                stats.blkio.sectors_recursive[0].value
            ),
            ("/dev/vdb", 99)
        );
    }
}
