//! What the controls look at in a spec, so that two can be compared, and the differences that are known
//! between what is planned and what containerd makes.

use std::collections::{BTreeMap, BTreeSet};

use coaming_integration::Containerd;
use coaming_manifest::Role;
use coaming_policy::controls::Joined;
use serde_json::{Value, json};

/// Every judged field by its place, in one spelling.
pub(crate) struct View(BTreeMap<String, Value>);

/// Stand for ids that no two containers share.
const SANDBOX: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl View {
    pub(crate) fn of(spec: &Value, behind: &mut dyn FnMut(&str, &str) -> Joined) -> View {
        let mut view = BTreeMap::new();
        let mut put = |place: &str, value: Value| {
            if !value.is_null() {
                view.insert(place.to_owned(), value);
            }
        };
        for field in ["args", "cwd", "apparmorProfile", "selinuxLabel", "rlimits"] {
            put(&format!("process.{field}"), spec["process"][field].clone());
        }
        // Absent and false are alike, to Go and to the controls.
        for (place, value) in [
            ("process.terminal", &spec["process"]["terminal"]),
            ("process.noNewPrivileges", &spec["process"]["noNewPrivileges"]),
            ("root.readonly", &spec["root"]["readonly"]),
        ] {
            put(place, json!(value.as_bool().unwrap_or(false)));
        }
        for field in ["uid", "gid"] {
            put(&format!("process.user.{field}"), spec["process"]["user"][field].clone());
        }
        put("process.user.additionalGids", sorted(&spec["process"]["user"]["additionalGids"]));
        for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
            let list = sorted(&spec["process"]["capabilities"][set]);
            put(
                &format!("process.capabilities.{set}"),
                if list.is_null() { json!([]) } else { list },
            );
        }
        for (index, mount) in spec["mounts"].as_array().unwrap().iter().enumerate() {
            let mount = json!([
                mount["destination"],
                mount["type"],
                mount["source"],
                sorted(&mount["options"])
            ]);
            put(&format!("mounts.{index:02}"), mount);
        }
        let linux = &spec["linux"];
        for namespace in linux["namespaces"].as_array().unwrap() {
            let kind = namespace["type"].as_str().unwrap();
            let how = match namespace["path"].as_str().filter(|path| !path.is_empty()) {
                None => "its own",
                Some(path) => match behind(kind, path) {
                    Joined::Host => "the host's",
                    Joined::Other | Joined::Unknown => "the pod's",
                },
            };
            put(&format!("linux.namespaces.{kind}"), json!(how));
        }
        for field in ["maskedPaths", "readonlyPaths"] {
            let list = sorted(&linux[field]);
            put(&format!("linux.{field}"), if list.is_null() { json!([]) } else { list });
        }
        let sysctl = linux["sysctl"].as_object().filter(|sysctl| !sysctl.is_empty());
        put("linux.sysctl", sysctl.map_or(Value::Null, |sysctl| json!(sysctl)));
        for field in ["seccomp", "rootfsPropagation", "mountLabel", "uidMappings", "gidMappings"] {
            put(&format!("linux.{field}"), linux[field].clone());
        }
        put("linux.resources.devices", linux["resources"]["devices"].clone());
        put("linux.devices", linux["devices"].clone());
        put("linux.resources.memory.limit", linux["resources"]["memory"]["limit"].clone());
        put("hooks", spec["hooks"].clone());
        put("hostname", spec["hostname"].clone());
        for (key, value) in spec["annotations"].as_object().unwrap() {
            put(&format!("annotations.{key}"), value.clone());
        }
        View(view)
    }

    /// Puts the names of a plan in the place of a node's ids.
    pub(crate) fn rename(&mut self, sandbox: &str, container: &str) {
        for value in self.0.values_mut() {
            let text = value.to_string().replace(sandbox, SANDBOX).replace(container, SANDBOX);
            *value = serde_json::from_str(&text).unwrap();
        }
    }

    /// In what a plan and a real spec differ, in words; known differences are taken out, each held
    /// to what is known of it.
    pub(crate) fn differences(
        mut self,
        theirs: &View,
        role: Role,
        containerd: Containerd,
    ) -> Vec<String> {
        let mut theirs = View(theirs.0.clone());
        self.settle(&mut theirs, role, containerd);
        let places: BTreeSet<&String> = self.0.keys().chain(theirs.0.keys()).collect();
        let differ = places.into_iter().filter(|place| self.0.get(*place) != theirs.0.get(*place));
        differ
            .map(|place| {
                let shown =
                    |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
                format!(
                    "  {place}: planned {}, real {}",
                    shown(self.0.get(place)),
                    shown(theirs.0.get(place))
                )
            })
            .collect()
    }

    /// The named differences.
    fn settle(&mut self, theirs: &mut View, role: Role, containerd: Containerd) {
        let sandbox = role == Role::Sandbox;
        // containerd's default profile is a version's own; coaming's stands for it. That there is one must agree.
        if !sandbox
            && self.says("linux.seccomp", "SCMP_ACT_ERRNO")
            && theirs.says("linux.seccomp", "SCMP_ACT_ERRNO")
        {
            let ours_is_default = self.says("linux.seccomp", "io_pgetevents");
            if ours_is_default {
                assert!(theirs.says("linux.seccomp", "io_pgetevents"), "no default profile");
                self.both(theirs, "linux.seccomp");
            }
        }
        if sandbox {
            // Only whether there is a filter.
            assert_eq!(
                self.0.contains_key("linux.seccomp"),
                theirs.0.contains_key("linux.seccomp")
            );
            self.both(theirs, "linux.seccomp");
            // The harness's pause image has no user and another command.
            for place in [
                "process.args",
                "process.user.uid",
                "process.user.gid",
                "process.user.additionalGids",
            ] {
                self.both(theirs, place);
            }
            self.both(theirs, "annotations.io.kubernetes.cri.sandbox-log-directory");
            // The name of the pause image, which a manifest does not know; no fact is read from it.
            theirs.0.remove("annotations.io.kubernetes.cri.podsandbox.image-name");
            theirs.0.remove("annotations.io.kubernetes.cri.sandbox-cpu-shares");
            for name in ["period", "quota"] {
                theirs.0.remove(&format!("annotations.io.kubernetes.cri.sandbox-cpu-{name}"));
            }
            theirs.0.remove("annotations.io.kubernetes.cri.sandbox-memory");
        }
        // The harness gives each pod a uid of its own.
        self.both(theirs, "annotations.io.kubernetes.cri.sandbox-uid");
        // All capabilities are all that containerd has: build machines lack some.
        for set in ["bounding", "effective", "permitted"] {
            let place = format!("process.capabilities.{set}");
            let known =
                |view: &View| view.0.get(&place).and_then(Value::as_array).map_or(0, Vec::len);
            if known(self) > 39 {
                let all = self.0.get(&place).unwrap().as_array().unwrap();
                let real = theirs.0.get(&place).unwrap().as_array().unwrap();
                assert!(real.iter().all(|name| all.contains(name)), "{real:?}");
                assert!(real.len() > 14, "not all: {real:?}");
                self.both(theirs, &place);
            }
        }
        // A privileged container's nodes are the node's; they are not planned.
        if self.says("linux.resources.devices", "true") {
            assert!(theirs.0.remove("linux.devices").is_some(), "no device nodes");
        }
        // The harness's client sends the list of an older kubelet, without two of today's.
        let masked = |view: &View| -> Vec<String> {
            serde_json::from_value(view.0["linux.maskedPaths"].clone()).unwrap()
        };
        if !sandbox && !masked(self).is_empty() {
            let newer = ["/proc/sched_debug", "/sys/devices/virtual/powercap"];
            let ours: Vec<String> =
                masked(self).into_iter().filter(|path| !newer.contains(&path.as_str())).collect();
            assert_eq!(ours, masked(theirs));
            self.both(theirs, "linux.maskedPaths");
        }
        // Ids that the kubelet chooses.
        if let (Some(ours), Some(real)) =
            (self.0.get("linux.uidMappings"), theirs.0.get("linux.uidMappings"))
        {
            assert_eq!(ours[0]["size"], real[0]["size"]);
            self.both(theirs, "linux.uidMappings");
            self.both(theirs, "linux.gidMappings");
        }
        if containerd != Containerd::V2 {
            self.settle_older(theirs, sandbox, containerd);
        }
    }

    /// What containerd 1.6 and 1.7 make otherwise than 2.x, which is what is planned.
    fn settle_older(&mut self, theirs: &mut View, sandbox: bool, containerd: Containerd) {
        if sandbox {
            // They have the runtime make the user namespace, and in it the network's, and do not pin them.
            if theirs.says("linux.namespaces.user", "its own") {
                self.both(theirs, "linux.namespaces.user");
                self.both(theirs, "linux.namespaces.network");
            }
            // They leave the default /dev/shm beneath the sandbox's own; 1.6 has fewer options on binds.
            let mut real = theirs.take_mounts();
            real.retain(|mount| mount[1] != "tmpfs" || mount[0] != "/dev/shm");
            theirs.put_mounts(real);
            let mut ours = self.take_mounts();
            for mount in &mut ours {
                let bind = mount[1] == "bind";
                let sysfs = mount[1] == "sysfs";
                let options = mount[3].as_array_mut().unwrap();
                if bind && containerd == Containerd::V1_6 {
                    options.retain(|option| option == "rbind" || option == "ro");
                }
                // A privileged pod's sandbox has a writable sysfs since 2.0.
                if sysfs && let Some(option) = options.iter_mut().find(|option| *option == "rw") {
                    *option = json!("ro");
                }
            }
            self.put_mounts(ours);
            // enable_unprivileged_ports and enable_unprivileged_icmp are off there.
            let sysctls = self.0.get_mut("linux.sysctl").and_then(Value::as_object_mut);
            if let Some(sysctls) = sysctls {
                for name in ["net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"] {
                    if theirs.0.get("linux.sysctl").is_none_or(|real| real.get(name).is_none()) {
                        sysctls.remove(name);
                    }
                }
            }
            if self.0.get("linux.sysctl").is_some_and(|left| left == &json!({})) {
                self.0.remove("linux.sysctl");
            }
            // Their list of masked paths is that of their time: no more than today's.
            let ours = self.0.get("linux.maskedPaths").cloned().unwrap();
            let real = theirs.0.get("linux.maskedPaths").cloned().unwrap();
            let within =
                real.as_array().unwrap().iter().all(|path| ours.as_array().unwrap().contains(path));
            assert!(within, "{real}");
            self.both(theirs, "linux.maskedPaths");
        }
    }

    fn take_mounts(&mut self) -> Vec<Value> {
        let places: Vec<String> =
            self.0.keys().filter(|place| place.starts_with("mounts.")).cloned().collect();
        places.iter().filter_map(|place| self.0.remove(place)).collect()
    }

    fn put_mounts(&mut self, mounts: Vec<Value>) {
        for (index, mount) in mounts.into_iter().enumerate() {
            self.0.insert(format!("mounts.{index:02}"), mount);
        }
    }

    fn says(&self, place: &str, word: &str) -> bool {
        self.0.get(place).is_some_and(|value| value.to_string().contains(word))
    }

    /// Leaves a place out of the comparison.
    fn both(&mut self, theirs: &mut View, place: &str) {
        self.0.remove(place);
        theirs.0.remove(place);
    }
}

/// A list whose order says nothing.
fn sorted(list: &Value) -> Value {
    let Some(items) = list.as_array() else { return Value::Null };
    let mut items = items.clone();
    items.sort_by_key(Value::to_string);
    items.into()
}
