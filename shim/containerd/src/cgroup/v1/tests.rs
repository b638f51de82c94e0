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
        ("cpu,cpuacct/cpu.stat", "nr_periods 5\nnr_throttled 2\nthrottled_time 900\nnr_bursts 1\n"),
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
    assert_eq!((usage.total, usage.user, usage.kernel), (123_456_789, 2_500_000_000, 30_000_000));
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
        ("blkio/blkio.throttle.io_serviced", "8:0 Read 4\n8:0 Total 4\n253:1 Write 2\nTotal 6\n"),
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
    assert_eq!((serviced[2].device.as_str(), serviced[2].major, serviced[2].minor), ("", 253, 1));
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
        (stats.blkio.sectors_recursive[0].device.as_str(), stats.blkio.sectors_recursive[0].value),
        ("/dev/vdb", 99)
    );
}
