//! Every field of the OCI runtime specification with its decision (law 6: total).
//!
//! Rows name a field by its place: `[]` is any element of an array, `{}` any value of a map whose
//! keys are data. The reader of JSON takes its known keys from here too, so that a field cannot be
//! known to one and not to the other. Source: opencontainers/runtime-spec v1.3.0, config.md,
//! config-linux.md, config-vm.md and the schema directory.

/// What is done about a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Brought down to the floor by the control of this name.
    Floored(&'static str),
    /// Reaches outside the container only through what is floored elsewhere; the reason says how.
    Passed(&'static str),
    /// Holds other fields; they have rows of their own.
    Holds,
    /// For another platform: the Linux runtimes ignore it, and so does the floor.
    NotLinux,
}

use Decision::{Floored, Holds, NotLinux, Passed};

const HOOK_ARGS: &str = "read by a program that is itself floored";
const MAPPED: &str = "an id within the user namespace; which of the host it is is floored";

/// The table.
pub const FIELDS: &[(&str, Decision)] = &[
    ("ociVersion", Passed("the runtime checks it")),
    ("hostname", Passed("held in the UTS namespace, which is floored")),
    ("domainname", Passed("held in the UTS namespace, which is floored")),
    ("annotations", Floored("annotations")),
    ("annotations{}", Floored("annotations")),
    ("root", Holds),
    ("root.path", Passed("prepared by the caller; the runtime confines every path below it")),
    ("root.readonly", Floored("readOnlyRootFilesystem")),
    ("mounts", Floored("mounts")),
    ("mounts[]", Holds),
    ("mounts[].destination", Floored("mounts")),
    ("mounts[].type", Floored("mounts")),
    ("mounts[].source", Floored("mounts")),
    ("mounts[].options", Floored("mounts")),
    ("mounts[].uidMappings", Passed("maps ids for a mount that is itself floored")),
    ("mounts[].uidMappings[]", Holds),
    ("mounts[].uidMappings[].containerID", Passed("part of the mapping")),
    ("mounts[].uidMappings[].hostID", Passed("part of the mapping")),
    ("mounts[].uidMappings[].size", Passed("part of the mapping")),
    ("mounts[].gidMappings", Passed("maps ids for a mount that is itself floored")),
    ("mounts[].gidMappings[]", Holds),
    ("mounts[].gidMappings[].containerID", Passed("part of the mapping")),
    ("mounts[].gidMappings[].hostID", Passed("part of the mapping")),
    ("mounts[].gidMappings[].size", Passed("part of the mapping")),
    ("process", Holds),
    ("process.terminal", Passed("a terminal gives no privilege")),
    ("process.consoleSize", Holds),
    ("process.consoleSize.height", Passed("a terminal's size")),
    ("process.consoleSize.width", Passed("a terminal's size")),
    ("process.user", Floored("user")),
    ("process.user.uid", Floored("user")),
    ("process.user.gid", Floored("user")),
    ("process.user.umask", Passed("the process may set it itself")),
    ("process.user.additionalGids", Floored("user")),
    ("process.user.username", NotLinux),
    ("process.args", Floored("landlock")),
    ("process.commandLine", NotLinux),
    (
        "process.env",
        Passed("data of the workload; nothing of ours reads it but PATH, for the lookup"),
    ),
    ("process.cwd", Passed("runc and crun refuse a directory outside the root")),
    ("process.capabilities", Floored("capabilities")),
    ("process.capabilities.bounding", Floored("capabilities")),
    ("process.capabilities.effective", Floored("capabilities")),
    ("process.capabilities.inheritable", Floored("capabilities")),
    ("process.capabilities.permitted", Floored("capabilities")),
    ("process.capabilities.ambient", Floored("capabilities")),
    ("process.rlimits", Floored("rlimits")),
    ("process.rlimits[]", Holds),
    ("process.rlimits[].type", Floored("rlimits")),
    ("process.rlimits[].hard", Floored("rlimits")),
    ("process.rlimits[].soft", Floored("rlimits")),
    ("process.noNewPrivileges", Floored("noNewPrivileges")),
    ("process.apparmorProfile", Floored("appArmor")),
    ("process.oomScoreAdj", Passed("without it the process has the runtime's own, which is lower")),
    ("process.scheduler", Floored("fields")),
    ("process.scheduler.policy", Floored("fields")),
    ("process.scheduler.nice", Floored("fields")),
    ("process.scheduler.priority", Floored("fields")),
    ("process.scheduler.flags", Floored("fields")),
    ("process.scheduler.runtime", Floored("fields")),
    ("process.scheduler.deadline", Floored("fields")),
    ("process.scheduler.period", Floored("fields")),
    ("process.selinuxLabel", Floored("seLinux")),
    ("process.ioPriority", Floored("fields")),
    ("process.ioPriority.class", Floored("fields")),
    ("process.ioPriority.priority", Floored("fields")),
    ("process.execCPUAffinity", Floored("fields")),
    ("process.execCPUAffinity.initial", Floored("fields")),
    ("process.execCPUAffinity.final", Floored("fields")),
    ("hooks", Floored("hooks")),
    ("hooks.prestart", Floored("hooks")),
    ("hooks.createRuntime", Floored("hooks")),
    ("hooks.createContainer", Floored("hooks")),
    ("hooks.startContainer", Floored("hooks")),
    ("hooks.poststart", Floored("hooks")),
    ("hooks.poststop", Floored("hooks")),
    ("hooks.prestart[]", Holds),
    ("hooks.prestart[].path", Floored("hooks")),
    ("hooks.prestart[].args", Passed(HOOK_ARGS)),
    ("hooks.prestart[].env", Floored("hooks")),
    ("hooks.prestart[].timeout", Passed("the runtime ends the hook")),
    ("hooks.createRuntime[]", Holds),
    ("hooks.createRuntime[].path", Floored("hooks")),
    ("hooks.createRuntime[].args", Passed(HOOK_ARGS)),
    ("hooks.createRuntime[].env", Floored("hooks")),
    ("hooks.createRuntime[].timeout", Passed("the runtime ends the hook")),
    ("hooks.createContainer[]", Holds),
    ("hooks.createContainer[].path", Floored("hooks")),
    ("hooks.createContainer[].args", Passed(HOOK_ARGS)),
    ("hooks.createContainer[].env", Floored("hooks")),
    ("hooks.createContainer[].timeout", Passed("the runtime ends the hook")),
    ("hooks.startContainer[]", Holds),
    ("hooks.startContainer[].path", Floored("hooks")),
    ("hooks.startContainer[].args", Passed(HOOK_ARGS)),
    ("hooks.startContainer[].env", Floored("hooks")),
    ("hooks.startContainer[].timeout", Passed("the runtime ends the hook")),
    ("hooks.poststart[]", Holds),
    ("hooks.poststart[].path", Floored("hooks")),
    ("hooks.poststart[].args", Passed(HOOK_ARGS)),
    ("hooks.poststart[].env", Floored("hooks")),
    ("hooks.poststart[].timeout", Passed("the runtime ends the hook")),
    ("hooks.poststop[]", Holds),
    ("hooks.poststop[].path", Floored("hooks")),
    ("hooks.poststop[].args", Passed(HOOK_ARGS)),
    ("hooks.poststop[].env", Floored("hooks")),
    ("hooks.poststop[].timeout", Passed("the runtime ends the hook")),
    ("linux", Holds),
    ("linux.uidMappings", Floored("hostNamespaces")),
    ("linux.uidMappings[]", Holds),
    ("linux.uidMappings[].containerID", Passed(MAPPED)),
    ("linux.uidMappings[].hostID", Floored("hostNamespaces")),
    ("linux.uidMappings[].size", Floored("hostNamespaces")),
    ("linux.gidMappings", Floored("hostNamespaces")),
    ("linux.gidMappings[]", Holds),
    ("linux.gidMappings[].containerID", Passed(MAPPED)),
    ("linux.gidMappings[].hostID", Floored("hostNamespaces")),
    ("linux.gidMappings[].size", Floored("hostNamespaces")),
    ("linux.sysctl", Floored("sysctls")),
    ("linux.sysctl{}", Floored("sysctls")),
    ("linux.resources", Holds),
    ("linux.resources.devices", Floored("devices")),
    ("linux.resources.devices[]", Holds),
    ("linux.resources.devices[].allow", Floored("devices")),
    ("linux.resources.devices[].type", Floored("devices")),
    ("linux.resources.devices[].major", Floored("devices")),
    ("linux.resources.devices[].minor", Floored("devices")),
    ("linux.resources.devices[].access", Floored("devices")),
    ("linux.resources.memory", Holds),
    ("linux.resources.memory.limit", Floored("resources")),
    ("linux.resources.memory.reservation", Passed("below the limit, which is floored")),
    ("linux.resources.memory.swap", Floored("resources")),
    (
        "linux.resources.memory.kernel",
        Passed("a tighter limit inside the limit; ignored since Linux 5.4"),
    ),
    ("linux.resources.memory.kernelTCP", Passed("a tighter limit inside the limit")),
    ("linux.resources.memory.swappiness", Passed("how the container's own memory is reclaimed")),
    ("linux.resources.memory.disableOOMKiller", Floored("fields")),
    ("linux.resources.memory.useHierarchy", Passed("cgroup v1 bookkeeping")),
    ("linux.resources.memory.checkBeforeUpdate", Passed("makes an update stricter")),
    ("linux.resources.cpu", Holds),
    ("linux.resources.cpu.shares", Passed("a weight; scheduling is the orchestrator's")),
    ("linux.resources.cpu.quota", Passed("scheduling is the orchestrator's")),
    ("linux.resources.cpu.burst", Passed("scheduling is the orchestrator's")),
    ("linux.resources.cpu.period", Passed("scheduling is the orchestrator's")),
    ("linux.resources.cpu.realtimeRuntime", Floored("fields")),
    ("linux.resources.cpu.realtimePeriod", Floored("fields")),
    ("linux.resources.cpu.cpus", Passed("scheduling is the orchestrator's")),
    ("linux.resources.cpu.mems", Passed("scheduling is the orchestrator's")),
    ("linux.resources.cpu.idle", Passed("lowers the container's own share")),
    ("linux.resources.pids", Holds),
    ("linux.resources.pids.limit", Floored("resources")),
    ("linux.resources.blockIO", Holds),
    ("linux.resources.blockIO.weight", Passed("a weight; scheduling is the orchestrator's")),
    ("linux.resources.blockIO.leafWeight", Passed("a weight; scheduling is the orchestrator's")),
    ("linux.resources.blockIO.weightDevice", Passed("a weight; scheduling is the orchestrator's")),
    ("linux.resources.blockIO.weightDevice[]", Holds),
    ("linux.resources.blockIO.weightDevice[].major", Passed("names the device of the weight")),
    ("linux.resources.blockIO.weightDevice[].minor", Passed("names the device of the weight")),
    ("linux.resources.blockIO.weightDevice[].weight", Passed("a weight")),
    ("linux.resources.blockIO.weightDevice[].leafWeight", Passed("a weight")),
    ("linux.resources.blockIO.throttleReadBpsDevice", Passed("a throttle only slows")),
    ("linux.resources.blockIO.throttleReadBpsDevice[]", Holds),
    ("linux.resources.blockIO.throttleReadBpsDevice[].major", Passed("names the device")),
    ("linux.resources.blockIO.throttleReadBpsDevice[].minor", Passed("names the device")),
    ("linux.resources.blockIO.throttleReadBpsDevice[].rate", Passed("a throttle only slows")),
    ("linux.resources.blockIO.throttleWriteBpsDevice", Passed("a throttle only slows")),
    ("linux.resources.blockIO.throttleWriteBpsDevice[]", Holds),
    ("linux.resources.blockIO.throttleWriteBpsDevice[].major", Passed("names the device")),
    ("linux.resources.blockIO.throttleWriteBpsDevice[].minor", Passed("names the device")),
    ("linux.resources.blockIO.throttleWriteBpsDevice[].rate", Passed("a throttle only slows")),
    ("linux.resources.blockIO.throttleReadIOPSDevice", Passed("a throttle only slows")),
    ("linux.resources.blockIO.throttleReadIOPSDevice[]", Holds),
    ("linux.resources.blockIO.throttleReadIOPSDevice[].major", Passed("names the device")),
    ("linux.resources.blockIO.throttleReadIOPSDevice[].minor", Passed("names the device")),
    ("linux.resources.blockIO.throttleReadIOPSDevice[].rate", Passed("a throttle only slows")),
    ("linux.resources.blockIO.throttleWriteIOPSDevice", Passed("a throttle only slows")),
    ("linux.resources.blockIO.throttleWriteIOPSDevice[]", Holds),
    ("linux.resources.blockIO.throttleWriteIOPSDevice[].major", Passed("names the device")),
    ("linux.resources.blockIO.throttleWriteIOPSDevice[].minor", Passed("names the device")),
    ("linux.resources.blockIO.throttleWriteIOPSDevice[].rate", Passed("a throttle only slows")),
    ("linux.resources.hugepageLimits", Passed("a limit only limits")),
    ("linux.resources.hugepageLimits[]", Holds),
    ("linux.resources.hugepageLimits[].pageSize", Passed("names the limit")),
    ("linux.resources.hugepageLimits[].limit", Passed("a limit only limits")),
    ("linux.resources.network", Holds),
    ("linux.resources.network.classID", Floored("fields")),
    ("linux.resources.network.priorities", Floored("fields")),
    ("linux.resources.network.priorities[]", Holds),
    ("linux.resources.network.priorities[].name", Floored("fields")),
    ("linux.resources.network.priorities[].priority", Floored("fields")),
    ("linux.resources.rdma", Passed("a limit only limits")),
    ("linux.resources.rdma{}", Holds),
    ("linux.resources.rdma{}.hcaHandles", Passed("a limit only limits")),
    ("linux.resources.rdma{}.hcaObjects", Passed("a limit only limits")),
    ("linux.resources.unified", Floored("resources")),
    ("linux.resources.unified{}", Floored("resources")),
    ("linux.cgroupsPath", Passed("the runtime creates it; limits above it hold")),
    ("linux.namespaces", Floored("hostNamespaces")),
    ("linux.namespaces[]", Holds),
    ("linux.namespaces[].type", Floored("hostNamespaces")),
    ("linux.namespaces[].path", Floored("hostNamespaces")),
    ("linux.devices", Floored("devices")),
    ("linux.devices[]", Holds),
    ("linux.devices[].path", Passed("where a node that is itself floored appears")),
    ("linux.devices[].type", Floored("devices")),
    ("linux.devices[].major", Floored("devices")),
    ("linux.devices[].minor", Floored("devices")),
    ("linux.devices[].fileMode", Passed("mode of a node that is itself floored")),
    ("linux.devices[].uid", Passed("owner of a node that is itself floored")),
    ("linux.devices[].gid", Passed("owner of a node that is itself floored")),
    ("linux.netDevices", Floored("fields")),
    ("linux.netDevices{}", Holds),
    ("linux.netDevices{}.name", Floored("fields")),
    ("linux.seccomp", Floored("seccomp")),
    ("linux.seccomp.defaultAction", Floored("seccomp")),
    ("linux.seccomp.defaultErrnoRet", Floored("seccomp")),
    ("linux.seccomp.architectures", Floored("seccomp")),
    ("linux.seccomp.flags", Floored("seccomp")),
    ("linux.seccomp.listenerPath", Floored("seccomp")),
    ("linux.seccomp.listenerMetadata", Floored("seccomp")),
    ("linux.seccomp.syscalls", Floored("seccomp")),
    ("linux.seccomp.syscalls[]", Holds),
    ("linux.seccomp.syscalls[].names", Floored("seccomp")),
    ("linux.seccomp.syscalls[].action", Floored("seccomp")),
    ("linux.seccomp.syscalls[].errnoRet", Floored("seccomp")),
    ("linux.seccomp.syscalls[].args", Floored("seccomp")),
    ("linux.seccomp.syscalls[].args[]", Holds),
    ("linux.seccomp.syscalls[].args[].index", Floored("seccomp")),
    ("linux.seccomp.syscalls[].args[].value", Floored("seccomp")),
    ("linux.seccomp.syscalls[].args[].valueTwo", Floored("seccomp")),
    ("linux.seccomp.syscalls[].args[].op", Floored("seccomp")),
    ("linux.rootfsPropagation", Floored("rootfsPropagation")),
    ("linux.maskedPaths", Floored("maskedPaths")),
    ("linux.readonlyPaths", Floored("readonlyPaths")),
    ("linux.mountLabel", Floored("seLinux")),
    ("linux.intelRdt", Floored("fields")),
    ("linux.intelRdt.closID", Floored("fields")),
    ("linux.intelRdt.schemata", Floored("fields")),
    ("linux.intelRdt.l3CacheSchema", Floored("fields")),
    ("linux.intelRdt.memBwSchema", Floored("fields")),
    ("linux.intelRdt.enableCMT", Floored("fields")),
    ("linux.intelRdt.enableMBM", Floored("fields")),
    ("linux.intelRdt.enableMonitoring", Floored("fields")),
    ("linux.memoryPolicy", Floored("fields")),
    ("linux.memoryPolicy.mode", Floored("fields")),
    ("linux.memoryPolicy.nodes", Floored("fields")),
    ("linux.memoryPolicy.flags", Floored("fields")),
    ("linux.personality", Floored("fields")),
    ("linux.personality.domain", Floored("fields")),
    ("linux.personality.flags", Floored("fields")),
    ("linux.timeOffsets", Floored("fields")),
    ("linux.timeOffsets{}", Holds),
    ("linux.timeOffsets{}.secs", Floored("fields")),
    ("linux.timeOffsets{}.nanosecs", Floored("fields")),
    ("solaris", NotLinux),
    ("windows", NotLinux),
    ("freebsd", NotLinux),
    ("zos", NotLinux),
    ("vm", NotLinux),
];

/// The decision for the field at `place`, if the table has it.
pub fn decision(place: &str) -> Option<Decision> {
    FIELDS.iter().find(|(field, _)| *field == place).map(|(_, decision)| *decision)
}

/// Whether the keys of the object at `place` are data (annotations, sysctls), not field names.
pub(crate) fn has_free_keys(place: &str) -> bool {
    !place.is_empty() && FIELDS.iter().any(|(field, _)| field.strip_suffix("{}") == Some(place))
}

/// The place of a value in the map at `place`.
pub(crate) fn free_child(place: &str) -> String {
    format!("{place}{{}}")
}

/// The place of `key` in the object at `place`.
pub(crate) fn child(place: &str, key: &str) -> String {
    if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") }
}

/// The known key of the object at `place` whose case folding is `folded`.
pub(crate) fn known_key(place: &str, folded: &str) -> Option<&'static str> {
    FIELDS.iter().find_map(|(field, _)| {
        let key = match field.strip_prefix(place)? {
            rest if place.is_empty() => rest,
            rest => rest.strip_prefix('.')?,
        };
        let leaf = !key.contains(['.', '[', '{']);
        (leaf && crate::json::fold(key) == folded).then_some(key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_stands_once_below_a_row_that_holds_it() {
        for (index, (field, _)) in FIELDS.iter().enumerate() {
            assert!(!FIELDS[..index].iter().any(|(other, _)| other == field), "{field} twice");
            let parent = field
                .strip_suffix("[]")
                .or_else(|| field.strip_suffix("{}"))
                .or_else(|| field.rsplit_once('.').map(|(parent, _)| parent));
            if let Some(parent) = parent {
                assert!(decision(parent).is_some(), "{field} has no parent row");
            }
        }
    }
}
