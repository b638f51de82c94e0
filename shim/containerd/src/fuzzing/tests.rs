//! Every promise, held against sound inputs that have been broken in odd ways.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// One way to break an input.
#[derive(Debug, Clone)]
enum Damage {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index, Index),
    /// A part of it once more, elsewhere.
    Repeat(Index, Index, Index),
}

/// What parsers stumble over, of all formats.
const ODD: [&[u8]; 16] = [
    b"\0",
    b"\n",
    b"%",
    b"%00",
    b"..",
    b"/../",
    b"//",
    b"{",
    b"\"",
    b"[[",
    b"\\",
    b"-1",
    b"99999999999999999999",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xc3\x28",
    b"=",
];

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(place, byte)| Damage::Set(place, byte)),
        (any::<Index>(), prop::sample::select(&ODD))
            .prop_map(|(place, bytes)| Damage::Insert(place, bytes.to_vec())),
        (any::<Index>(), vec(any::<u8>(), 0..20))
            .prop_map(|(place, bytes)| Damage::Insert(place, bytes)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Cut(from, to)),
        (any::<Index>(), any::<Index>(), any::<Index>())
            .prop_map(|(from, to, place)| Damage::Repeat(from, to, place)),
    ]
}

fn broken(mut bytes: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for damage in damage {
        let at = |place: &Index| place.index(bytes.len() + 1);
        let range = |from, to| at(from).min(at(to))..at(from).max(at(to));
        match damage {
            Damage::Set(place, byte) if !bytes.is_empty() => {
                let place = place.index(bytes.len());
                bytes[place] = *byte;
            }
            Damage::Set(..) => {}
            Damage::Insert(place, inserted) => {
                let place = at(place);
                bytes.splice(place..place, inserted.iter().copied());
            }
            Damage::Cut(from, to) => drop(bytes.drain(range(from, to))),
            Damage::Repeat(from, to, place) => {
                let (part, place) = (bytes[range(from, to)].to_vec(), at(place));
                bytes.splice(place..place, part);
            }
        }
    }
    bytes
}

/// Holds one promise against these, as they are and broken, and against what is nothing at all.
fn hold(promise: fn(&[u8]), sound: &[&[u8]]) {
    promise(b"");
    sound.iter().chain(&ODD).for_each(|input| promise(input));
    let sound: Vec<Vec<u8>> = sound.iter().map(|input| input.to_vec()).collect();
    let input = prop_oneof![
        8 => (prop::sample::select(sound), vec(damage(), 0..6))
            .prop_map(|(bytes, damage)| broken(bytes, &damage)),
        1 => vec(any::<u8>(), 0..200),
        1 => vec(prop::sample::select(&ODD), 0..40).prop_map(|parts| parts.concat()),
    ];
    let config =
        ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(input in input)| promise(&input));
}

#[test]
fn of_the_command_line() {
    hold(
        flags,
        &[
            b"-namespace\0k8s.io\0-address\0/run/c.sock\0-publish-binary\0/c\0-id\0c1\0-debug\0start",
            b"--namespace=default\0-id=c1\0-bundle\0/run/b\0delete",
            b"-info",
        ],
    );
}

#[test]
fn of_the_introduction() {
    hold(
        introduction,
        &[
            b"\x0a\x1acontainerd.runc.v1.Options\x12\x08\x32\x04runc\x48\x01",
            b"\x0a\x02c1\x12\x06k8s.io\x22\x06v2.3.4\x2a\x02/a\x32\x02/b\x3a\x02/c\x42\x28\x0a\x26\
              \x0a\x1acontainerd.runc.v1.Options\x12\x08\x32\x04runc\x48\x01\x4a\x04/run",
        ],
    );
}

#[test]
fn of_options() {
    hold(
        options,
        &[
            b"\0\x0a\x1acontainerd.runc.v1.Options\x12\x08\x32\x04runc\x48\x01",
            b"\x01\x08\x01\x10\x01\x1a\x02/g\x20\x07\x28\x08\x32\x04runc\x3a\x02/r\x52\x02/i\x5a\x02/w",
            b"\x02\x0a\x01x\x1a\x10BinaryName = \"x\"",
            b"\x03BinaryName = \"crun\"\nSystemdCgroup = true\niouid = 5\nRoot = \"/x\"\n",
            b"\x03[a.b]\nc = [1, {d = 2}]\n",
            b"\x04\x08\x01\x42\x02/i",
        ],
    );
}

#[test]
fn of_streams() {
    hold(
        stream,
        &[
            b"/run/containerd/fifo/1/c1-stdout",
            b"file:///var/log/a%20b?x=y#z",
            b"binary:///bin/log?a=1&b&a=2&c=x+y%26#f",
            b"binary-v2:/bin/log?k=v",
            b"fifo://host/run/x",
        ],
    );
}

#[test]
fn of_mount_options() {
    let layers: Vec<String> = (1..90).map(|number| format!("/var/lib/snap/{number}/fs")).collect();
    let lower = format!("index=off\nlowerdir={}\nupperdir=/u\nworkdir=/w", layers.join(":"));
    hold(
        mount_options,
        &[
            lower.as_bytes(),
            b"lowerdir=/a/1/fs:/a/2/fs:/b/3\nuserxattr",
            b"rbind\nro\nrslave\nnosuid\nx-systemd.y\nuidmap=0:1000:10,10:5000:5\ngidmap=0:2000:10",
        ],
    );
}

#[test]
fn of_a_runtimes_log() {
    hold(
        runtime_log,
        &[
            b"{\"level\":\"error\",\"msg\":\"first\",\"time\":\"t\"}\nnot json\n{\"level\":\"error\",\"msg\":\" x \\n\"}\n",
            b"{\n  \"msg\": \"over {lines\",\n  \"level\":\"error\",\n \"more\": [{\"a\": {}}]\n}\n",
            format!("{{\"level\":\"error\",\"msg\":\"{}\"}}", "ü".repeat(10_000)).as_bytes(),
        ],
    );
}

#[test]
fn of_a_bundle() {
    hold(
        bundle,
        &[
            br#"{"ociVersion":"1.0.2","annotations":{"io.kubernetes.cri.sandbox-id":"pod"},"linux":{"cgroupsPath":"/k8s/c1","namespaces":[{"type":"pid","path":""}]}}"#,
            br#"{"binary_name":"runc","root":"/r","systemd_cgroup":null}"#,
            b"4711\n",
            b"unix:///run/containerd/s/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            b"/kubepods/burstable/pod1/c1",
        ],
    );
}

#[test]
fn of_new_limits() {
    hold(
        resources,
        &[
            br#"{"memory":{"limit":-1,"swap":null},"cpu":{"shares":2,"cpus":"0-1"},"new":{"x":1}}"#,
            br#"{"unified":{"memory.high":"1"},"pids":{"limit":5},"devices":[{"allow":false}],"hugepageLimits":[{"pageSize":"2MB","limit":1}]}"#,
        ],
    );
}
