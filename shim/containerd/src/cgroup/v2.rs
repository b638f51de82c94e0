//! cgroup v2: one hierarchy (the kernel's admin-guide/cgroup-v2).
//!
//! The fields are filled as containerd's cgroups package (cgroup2, `Manager.Stat`) fills them.

use std::collections::HashMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use containerd_shim_protos::cgroups_v2::metrics::{
    CPUStat, HugeTlbStat, IOEntry, IOStat, MemoryEvents, MemoryStat, Metrics, PSIData, PSIStats,
    PidsStat, RdmaEntry, RdmaStat,
};
use protobuf::MessageField;

use super::files::{huge_page_sizes, number, pairs, rdma};

/// A container's folder.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Where the hierarchy is mounted.
    mount: PathBuf,
    folder: PathBuf,
    huge_pages: PathBuf,
}

impl Group {
    /// Of what `/proc/<pid>/cgroup` says: a line of `0::path`.
    pub(super) fn parse(said: &str, mount: &Path) -> io::Result<Self> {
        let path = said.lines().find_map(|line| line.strip_prefix("0::")).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "the process is in no cgroup of version 2")
        })?;
        let path = Path::new(path);
        // A path out of this namespace has ".." in it.
        let (true, Ok(below)) =
            (path.components().all(|part| part != Component::ParentDir), path.strip_prefix("/"))
        else {
            let problem = format!("the cgroup {} is outside of what is seen here", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        };
        Ok(Group {
            mount: mount.to_owned(),
            folder: mount.join(below),
            huge_pages: "/sys/kernel/mm/hugepages".into(),
        })
    }

    /// The file that counts what ran out of memory.
    pub(super) fn memory_events(&self) -> PathBuf {
        self.folder.join("memory.events")
    }

    /// Every controller of the root is enabled on the way down to this cgroup. The levels above may be refused while the
    /// lowest is not, so the last one counts.
    pub(super) fn enable_controllers(&self) -> io::Result<()> {
        let controllers = std::fs::read_to_string(self.mount.join("cgroup.controllers"))?;
        let enable: Vec<String> =
            controllers.split_ascii_whitespace().map(|name| format!("+{name}")).collect();
        let enable = enable.join(" ");
        let mut above: Vec<&Path> = self
            .folder
            .ancestors()
            .skip(1)
            .take_while(|folder| folder.starts_with(&self.mount))
            .collect();
        above.reverse();
        let mut last = Ok(());
        for folder in above {
            let file = folder.join("cgroup.subtree_control");
            last = std::fs::OpenOptions::new()
                .write(true)
                .open(&file)
                .and_then(|mut opened| io::Write::write_all(&mut opened, enable.as_bytes()))
                .map_err(|error| {
                    io::Error::new(error.kind(), format!("{enable} to {}: {error}", file.display()))
                });
        }
        last
    }

    /// What it uses.
    pub(super) fn stats(&self) -> io::Result<Metrics> {
        Ok(Metrics {
            pids: MessageField::some(PidsStat {
                current: self.number("pids.current"),
                limit: self.number("pids.max"),
                ..PidsStat::default()
            }),
            cpu: MessageField::some(self.cpu()?),
            memory: MessageField::some(self.memory()?),
            memory_events: self.events()?.into(),
            io: MessageField::some(IOStat {
                usage: self.io(),
                psi: self.pressure("io.pressure").into(),
                ..IOStat::default()
            }),
            rdma: MessageField::some(RdmaStat {
                current: self.rdma("rdma.current"),
                limit: self.rdma("rdma.max"),
                ..RdmaStat::default()
            }),
            hugetlb: self.hugetlb(),
            ..Metrics::default()
        })
    }

    /// A file of one number; 0 where it is missing.
    fn number(&self, name: &str) -> u64 {
        number(&self.folder.join(name), u64::MAX).unwrap_or_default()
    }

    /// A file of pairs; none where it is missing.
    fn pairs(&self, name: &str) -> io::Result<Option<HashMap<String, u64>>> {
        match pairs(&self.folder.join(name)) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn cpu(&self) -> io::Result<CPUStat> {
        let Some(stat) = self.pairs("cpu.stat")? else { return Ok(CPUStat::default()) };
        let get = |key: &str| stat.get(key).copied().unwrap_or_default();
        Ok(CPUStat {
            usage_usec: get("usage_usec"),
            user_usec: get("user_usec"),
            system_usec: get("system_usec"),
            nr_periods: get("nr_periods"),
            nr_throttled: get("nr_throttled"),
            throttled_usec: get("throttled_usec"),
            nr_bursts: get("nr_bursts"),
            burst_usec: get("burst_usec"),
            psi: self.pressure("cpu.pressure").into(),
            ..CPUStat::default()
        })
    }

    fn memory(&self) -> io::Result<MemoryStat> {
        let Some(stat) = self.pairs("memory.stat")? else { return Ok(MemoryStat::default()) };
        let get = |key: &str| stat.get(key).copied().unwrap_or_default();
        let mut memory = MemoryStat {
            anon: get("anon"),
            file: get("file"),
            kernel_stack: get("kernel_stack"),
            slab: get("slab"),
            sock: get("sock"),
            shmem: get("shmem"),
            file_mapped: get("file_mapped"),
            file_dirty: get("file_dirty"),
            file_writeback: get("file_writeback"),
            anon_thp: get("anon_thp"),
            inactive_anon: get("inactive_anon"),
            active_anon: get("active_anon"),
            inactive_file: get("inactive_file"),
            active_file: get("active_file"),
            unevictable: get("unevictable"),
            slab_reclaimable: get("slab_reclaimable"),
            slab_unreclaimable: get("slab_unreclaimable"),
            pgfault: get("pgfault"),
            pgmajfault: get("pgmajfault"),
            workingset_refault: get("workingset_refault"),
            workingset_activate: get("workingset_activate"),
            workingset_nodereclaim: get("workingset_nodereclaim"),
            pgrefill: get("pgrefill"),
            pgscan: get("pgscan"),
            pgsteal: get("pgsteal"),
            pgactivate: get("pgactivate"),
            pgdeactivate: get("pgdeactivate"),
            pglazyfree: get("pglazyfree"),
            pglazyfreed: get("pglazyfreed"),
            thp_fault_alloc: get("thp_fault_alloc"),
            thp_collapse_alloc: get("thp_collapse_alloc"),
            usage: self.number("memory.current"),
            usage_limit: self.number("memory.max"),
            swap_usage: self.number("memory.swap.current"),
            swap_limit: self.number("memory.swap.max"),
            max_usage: self.number("memory.peak"),
            swap_max_usage: self.number("memory.swap.peak"),
            psi: self.pressure("memory.pressure").into(),
            ..MemoryStat::default()
        };
        // Fields of a newer metrics.proto than the published crate has: what Linux 5.9 split off.
        let newer = [
            (39, "workingset_refault_anon"),
            (40, "workingset_refault_file"),
            (41, "workingset_activate_anon"),
            (42, "workingset_activate_file"),
        ];
        for (field, key) in newer {
            if get(key) != 0 {
                memory.special_fields.mut_unknown_fields().add_varint(field, get(key));
            }
        }
        Ok(memory)
    }

    fn events(&self) -> io::Result<Option<MemoryEvents>> {
        let Some(events) = self.pairs("memory.events")?.filter(|events| !events.is_empty()) else {
            return Ok(None);
        };
        let get = |key: &str| events.get(key).copied().unwrap_or_default();
        Ok(Some(MemoryEvents {
            low: get("low"),
            high: get("high"),
            max: get("max"),
            oom: get("oom"),
            oom_kill: get("oom_kill"),
            oom_group_kill: get("oom_group_kill"),
            ..MemoryEvents::default()
        }))
    }

    /// io.stat: lines of `major:minor key=number...`.
    fn io(&self) -> Vec<IOEntry> {
        let text = std::fs::read_to_string(self.folder.join("io.stat")).unwrap_or_default();
        text.lines()
            .filter_map(|line| {
                let (device, counters) = line.split_once(' ')?;
                let (major, minor) = device.split_once(':')?;
                let mut entry = IOEntry {
                    major: major.parse().ok()?,
                    minor: minor.parse().ok()?,
                    ..IOEntry::default()
                };
                for counter in counters.split(' ') {
                    let Some((key, value)) = counter.split_once('=') else { continue };
                    let Ok(value) = value.parse() else { continue };
                    match key {
                        "rbytes" => entry.rbytes = value,
                        "wbytes" => entry.wbytes = value,
                        "rios" => entry.rios = value,
                        "wios" => entry.wios = value,
                        _ => {}
                    }
                }
                Some(entry)
            })
            .collect()
    }

    fn rdma(&self, name: &str) -> Vec<RdmaEntry> {
        let text = std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        text.lines()
            .filter_map(rdma)
            .map(|(device, hca_handles, hca_objects)| RdmaEntry {
                device,
                hca_handles,
                hca_objects,
                ..RdmaEntry::default()
            })
            .collect()
    }

    fn hugetlb(&self) -> Vec<HugeTlbStat> {
        huge_page_sizes(&self.huge_pages)
            .into_iter()
            .map(|pagesize| {
                let events = self.pairs(&format!("hugetlb.{pagesize}.events"));
                HugeTlbStat {
                    current: self.number(&format!("hugetlb.{pagesize}.current")),
                    max: self.number(&format!("hugetlb.{pagesize}.max")),
                    failcnt: events
                        .ok()
                        .flatten()
                        .and_then(|events| events.get("max").copied())
                        .unwrap_or_default(),
                    pagesize,
                    ..HugeTlbStat::default()
                }
            })
            .collect()
    }

    /// Pressure stall information: lines of `some|full avg10=… avg60=… avg300=… total=…`. A kernel without it has no such
    /// file, or refuses to read it.
    fn pressure(&self, name: &str) -> Option<PSIStats> {
        let text = std::fs::read_to_string(self.folder.join(name)).ok()?;
        let mut stats = PSIStats::default();
        for line in text.lines() {
            let (kind, values) = line.split_once(' ')?;
            let mut data = PSIData::default();
            for value in values.split_ascii_whitespace() {
                let (key, value) = value.split_once('=')?;
                match key {
                    "avg10" => data.avg10 = value.parse().ok()?,
                    "avg60" => data.avg60 = value.parse().ok()?,
                    "avg300" => data.avg300 = value.parse().ok()?,
                    "total" => data.total = value.parse().ok()?,
                    _ => {}
                }
            }
            match kind {
                "some" => stats.some = MessageField::some(data),
                "full" => stats.full = MessageField::some(data),
                _ => {}
            }
        }
        Some(stats)
    }
}

#[cfg(test)]
mod tests {
    use protobuf::Message;

    use super::*;

    struct Fixture {
        root: tempfile::TempDir,
        group: Group,
    }

    impl Fixture {
        fn new(files: &[(&str, &str)]) -> Self {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(root.path().join("kubepods.slice/pod/c1")).unwrap();
            std::fs::create_dir_all(root.path().join("huge/hugepages-2048kB")).unwrap();
            let mut group =
                Group::parse("1:name=x:/y\n0::/kubepods.slice/pod/c1\n", root.path()).unwrap();
            group.huge_pages = root.path().join("huge");
            for (name, text) in files {
                std::fs::write(group.folder.join(name), text).unwrap();
            }
            Fixture { root, group }
        }
    }

    /// As a kernel 6.1 wrote them.
    const FILES: [(&str, &str); 17] = [
        ("pids.current", "4\n"),
        ("pids.max", "max\n"),
        (
            "cpu.stat",
            "usage_usec 900\nuser_usec 600\nsystem_usec 300\nnr_periods 1\nnr_throttled 2\nthrottled_usec 3\nnr_bursts 4\nburst_usec 5\ncore_sched.force_idle_usec 0\n",
        ),
        (
            "cpu.pressure",
            "some avg10=0.50 avg60=1.00 avg300=0.25 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=12\n",
        ),
        (
            "memory.stat",
            "anon 100\nfile 200\nkernel_stack 3\nslab 4\nsock 5\nshmem 6\npgfault 7\npgmajfault 8\nworkingset_refault_anon 9\nworkingset_activate_file 10\nthp_collapse_alloc 11\n",
        ),
        ("memory.current", "4096\n"),
        ("memory.max", "max\n"),
        ("memory.peak", "8192\n"),
        ("memory.swap.current", "1\n"),
        ("memory.swap.max", "2\n"),
        ("memory.pressure", "some avg10=x\n"),
        ("memory.events", "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n"),
        (
            "io.stat",
            "254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:16 \nnonsense\n253:1 rbytes=7\n",
        ),
        ("rdma.current", "mlx hca_handle=1 hca_object=2\n"),
        ("hugetlb.2MB.current", "5\n"),
        ("hugetlb.2MB.max", "max\n"),
        ("hugetlb.2MB.events", "max 6\n"),
    ];

    #[test]
    fn everything_that_the_kernel_gives() {
        let stats = Fixture::new(&FILES).group.stats().unwrap();
        assert_eq!((stats.pids.current, stats.pids.limit), (4, u64::MAX));
        let cpu = &stats.cpu;
        assert_eq!((cpu.usage_usec, cpu.user_usec, cpu.system_usec), (900, 600, 300));
        assert_eq!((cpu.nr_periods, cpu.nr_throttled, cpu.throttled_usec), (1, 2, 3));
        assert_eq!((cpu.nr_bursts, cpu.burst_usec), (4, 5));
        assert_eq!((cpu.psi.some.avg10, cpu.psi.some.total, cpu.psi.full.total), (0.5, 1234, 12));
        let memory = &stats.memory;
        assert_eq!((memory.anon, memory.file, memory.sock, memory.pgmajfault), (100, 200, 5, 8));
        assert_eq!((memory.usage, memory.usage_limit, memory.max_usage), (4096, u64::MAX, 8192));
        assert_eq!((memory.swap_usage, memory.swap_limit, memory.swap_max_usage), (1, 2, 0));
        assert_eq!(memory.thp_collapse_alloc, 11);
        // What cannot be read of pressure is left out.
        assert!(memory.psi.is_none());
        // Fields 39 and 42, as varints.
        let bytes = memory.write_to_bytes().unwrap();
        assert!(bytes.windows(3).any(|window| window == [0xb8, 0x02, 9]));
        assert!(bytes.windows(3).any(|window| window == [0xd0, 0x02, 10]));
        let events = &stats.memory_events;
        assert_eq!((events.low, events.high, events.max, events.oom), (1, 2, 3, 4));
        assert_eq!((events.oom_kill, events.oom_group_kill), (5, 6));
        let io: Vec<_> =
            stats.io.usage.iter().map(|e| (e.major, e.minor, e.rbytes, e.wios)).collect();
        assert_eq!(io, [(254, 0, 1, 4), (8, 16, 0, 0), (253, 1, 7, 0)]);
        assert_eq!(stats.rdma.current[0].hca_handles, 1);
        assert!(stats.rdma.limit.is_empty());
        let huge = &stats.hugetlb[0];
        assert_eq!(
            (huge.pagesize.as_str(), huge.current, huge.max, huge.failcnt),
            ("2MB", 5, u64::MAX, 6)
        );
    }

    #[test]
    fn an_empty_cgroup_has_no_events() {
        let stats = Fixture::new(&[]).group.stats().unwrap();
        assert!(stats.memory_events.is_none());
        assert_eq!(stats.memory.usage, 0);
        let broken = Fixture::new(&[("memory.stat", "anon\n")]);
        assert_eq!(broken.group.stats().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn paths_stay_within_the_hierarchy() {
        let of = |said: &str| Group::parse(said, Path::new("/sys/fs/cgroup"));
        assert_eq!(of("0::/a/b\n").unwrap().folder, Path::new("/sys/fs/cgroup/a/b"));
        assert_eq!(of("0::/../../x\n").unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(of("4:memory:/x\n").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn controllers_are_enabled_from_the_top_to_the_parent() {
        let fixture = Fixture::new(&[]);
        let root = fixture.root.path();
        std::fs::write(root.join("cgroup.controllers"), "cpuset cpu memory\n").unwrap();
        let levels =
            [root.to_owned(), root.join("kubepods.slice"), root.join("kubepods.slice/pod")];
        assert!(fixture.group.enable_controllers().is_err());
        for level in &levels[1..] {
            std::fs::write(level.join("cgroup.subtree_control"), "").unwrap();
        }
        // The top may be refused, as it is to who may write only below; the parent decides.
        fixture.group.enable_controllers().unwrap();
        for level in &levels[1..] {
            let written = std::fs::read_to_string(level.join("cgroup.subtree_control")).unwrap();
            assert_eq!(written, "+cpuset +cpu +memory");
        }
        assert!(!fixture.group.folder.join("cgroup.subtree_control").exists());
    }
}
