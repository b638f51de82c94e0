use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Capability, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxDeviceCgroupBuilder,
    LinuxNamespaceBuilder, LinuxNamespaceType, LinuxResourcesBuilder, Mount, MountBuilder,
    PosixRlimitBuilder, PosixRlimitType, ProcessBuilder, RootBuilder, SpecBuilder, UserBuilder,
};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::PathBuf;

use crate::{Error, World, images, output};

/// An OCI bundle in a world, with the root file system of [`images::PROBE`]; gone with the world.
pub struct Bundle<'a> {
    world: &'a World,
    id: String,
}

impl<'a> Bundle<'a> {
    /// Makes a bundle for a container of this ID.
    ///
    /// # Errors
    /// The file system's, or that the probe does not build.
    pub fn new(world: &'a World, id: &str, spec: &Value) -> Result<Bundle<'a>, Error> {
        let bundle = Bundle { world, id: id.to_owned() };
        let rootfs = bundle.path().join("rootfs");
        bundle.configure(spec.to_string())?;
        world.run([OsStr::new("mkdir"), rootfs.as_ref()])?.ok("mkdir rootfs")?;
        // Unpacked from inside the world: the tar crate canonicalises paths, which leads from /proc/PID/root to the host.
        let mut unpack = world.command("tar");
        output::run(
            unpack.args(["--extract", "--preserve-permissions", "--directory"]).arg(&rootfs),
            images::rootfs()?,
        )?
        .ok("tar --extract")?;
        Ok(bundle)
    }

    /// Replaces config.json, by whatever text.
    ///
    /// # Errors
    /// The file system's.
    pub fn configure(&self, config: impl AsRef<[u8]>) -> Result<(), Error> {
        self.world.write(self.path().join("config.json"), config, 0o644)
    }

    /// The container's ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The bundle's folder in the world.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/bundles").join(&self.id)
    }

    /// The command line of its program, as /proc shows it; none when there is no telling.
    pub(crate) fn program(&self) -> Option<Vec<u8>> {
        let config = self.world.read(self.path().join("config.json")).ok()?;
        let config: Value = serde_json::from_str(&config).ok()?;
        let args = config.pointer("/process/args")?.as_array()?;
        let words = args.iter().map(|arg| Some(arg.as_str()?.to_owned() + "\0"));
        words.collect::<Option<String>>().map(String::into_bytes)
    }

    pub(crate) fn world(&self) -> &'a World {
        self.world
    }
}

/// A runtime spec in the manner of containerd's default (oci/spec.go, `populateDefaultUnixSpec`; the same from 1.6 to
/// 2.x), without a terminal, running `args`. No seccomp, as with `ctr run`.
///
/// # Errors
/// None that an argument could cause.
pub fn default_spec<A: Into<String>>(
    id: &str,
    args: impl IntoIterator<Item = A>,
) -> Result<Value, Error> {
    let args = args.into_iter().map(Into::into).collect();
    typed_spec(id, args)
        .map_err(|error| error.to_string())
        .and_then(|spec| serde_json::to_value(spec).map_err(|error| error.to_string()))
        .map_err(Error::malformed("the default runtime spec"))
}

fn typed_spec(id: &str, args: Vec<String>) -> Result<oci_spec::runtime::Spec, OciSpecError> {
    use LinuxNamespaceType::{Ipc, Mount, Network, Pid, Uts};
    let capabilities = [
        Capability::Chown,
        Capability::DacOverride,
        Capability::Fsetid,
        Capability::Fowner,
        Capability::Mknod,
        Capability::NetRaw,
        Capability::Setgid,
        Capability::Setuid,
        Capability::Setfcap,
        Capability::Setpcap,
        Capability::NetBindService,
        Capability::SysChroot,
        Capability::Kill,
        Capability::AuditWrite,
    ];
    let nothing = std::collections::HashSet::new();
    let capabilities = LinuxCapabilitiesBuilder::default()
        .bounding(capabilities)
        .effective(capabilities)
        .permitted(capabilities)
        .inheritable(nothing.clone())
        .ambient(nothing)
        .build()?;
    let process = ProcessBuilder::default()
        .args(args)
        .cwd("/")
        .env(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()])
        .no_new_privileges(true)
        .user(UserBuilder::default().uid(0_u32).gid(0_u32).build()?)
        .capabilities(capabilities)
        .rlimits([PosixRlimitBuilder::default()
            .typ(PosixRlimitType::RlimitNofile)
            .hard(1024_u64)
            .soft(1024_u64)
            .build()?])
        .build()?;
    let namespaces = [Pid, Ipc, Uts, Mount, Network]
        .into_iter()
        .map(|kind| LinuxNamespaceBuilder::default().typ(kind).build())
        .collect::<Result<Vec<_>, _>>()?;
    let deny_all = LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build()?;
    let masked = [
        "/proc/acpi",
        "/proc/asound",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/sys/firmware",
        "/proc/scsi",
    ];
    let readonly = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
    let linux = LinuxBuilder::default()
        .namespaces(namespaces)
        .cgroups_path(format!("/default/{id}"))
        .resources(LinuxResourcesBuilder::default().devices([deny_all]).build()?)
        .masked_paths(masked.map(str::to_owned))
        .readonly_paths(readonly.map(str::to_owned))
        .build()?;
    SpecBuilder::default()
        // crun 1.8 knows no later one.
        .version("1.0.2")
        .root(RootBuilder::default().path("rootfs").readonly(false).build()?)
        .process(process)
        .mounts(mounts()?)
        .linux(linux)
        .build()
}

fn mounts() -> Result<Vec<Mount>, OciSpecError> {
    [
        ("/proc", "proc", "proc", "nosuid,noexec,nodev"),
        ("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        ("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
        ("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
        ("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        ("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
        ("/run", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
    ]
    .into_iter()
    .map(|(destination, kind, source, options)| {
        MountBuilder::default()
            .destination(destination)
            .typ(kind)
            .source(source)
            .options(options.split(',').map(str::to_owned).collect::<Vec<_>>())
            .build()
    })
    .collect()
}
