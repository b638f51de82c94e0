//! From the verdict's launch plan to the bytes that the launcher reads.

use std::fs::{self};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use coaming_hooks::plan::{Filter, Instruction, Layer, PathRule, Plan, PlanError, PortRule};
use coaming_policy::launch::Launch;
use coaming_policy::seccomp::{Profile, Program, SeccompError, compile, compile_as_written};
use coaming_policy::spec::view;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::baked;
use crate::host::hex;
use crate::whole_file;

/// The most compiled filters that are kept, of at most 32 KiB each; then the older half goes.
const MAX_FILTERS: usize = 512;

/// Why a plan cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The seccomp profile cannot be compiled.
    #[error("compiling the seccomp profile: {0}")]
    Seccomp(#[from] SeccompError),
    /// The runtime would load another filter than the one that was judged.
    #[error(
        "{runtime} reads the conditions of seccomp rules otherwise than runc and crun do (the operands of \
         SCMP_CMP_MASKED_EQ change places, and of several conditions of a rule one is enough), so that the \
         profile which policy demands would not be the one in force; hand off to runc or crun"
    )]
    Misread {
        /// The runtime's path.
        runtime: String,
    },
    /// The plan is beyond the launcher's limits.
    #[error("writing the launch plan: {0}")]
    Plan(#[from] PlanError),
}

/// The digest of what a launcher is to do. It names the plan's content without compiling anything; whether
/// denials are logged is no part of it.
pub fn digest(launch: &Launch) -> String {
    let mut digest = Sha256::new();
    // Debug text of plain numbers and paths, and canonical JSON: the same plan, the same text.
    digest.update(format!("{:?}", launch.layers));
    for filter in &launch.filters {
        digest.update(format!("\0{}", filter.to_oci()));
    }
    hex(&digest.finalize())
}

/// The plan's bytes. Compiled filters are kept under `cache`, a folder of root's.
///
/// # Errors
/// [`LaunchError`].
pub fn encode(launch: &Launch, cache: &Path) -> Result<Vec<u8>, LaunchError> {
    let layers = launch.layers.iter().map(layer).collect();
    let filters = launch
        .filters
        .iter()
        .map(|profile| {
            let instructions = compiled(profile, cache)?;
            Ok(Filter { flags: profile.kernel_flags(), instructions })
        })
        .collect::<Result<_, LaunchError>>()?;
    Ok(Plan { layers, filters, log_denials: launch.log_denials }.encode()?)
}

fn layer(layer: &coaming_policy::controls::landlock::Layer) -> Layer {
    Layer {
        handled_fs: layer.handled_fs,
        handled_net: layer.handled_net,
        scoped: layer.scoped,
        paths: layer
            .paths
            .iter()
            .map(|(path, access)| PathRule { access: *access, path: path.clone().into_bytes() })
            .collect(),
        ports: layer
            .ports
            .iter()
            .map(|(port, access)| PortRule { access: *access, port: *port })
            .collect(),
    }
}

/// Makes sure that a profile which the runtime will compile comes out right: libseccomp is known not to get every
/// profile right, and a runtime does not look at what it loads.
///
/// # Errors
/// [`SeccompError::Mismatch`], and those of reading and compiling the profile; [`LaunchError::Misread`] for rules with
/// conditions before youki (libcontainer/src/seccomp/mod.rs, `initialize_seccomp`).
pub fn check_for_runtime(section: &Value, runtime: &Path, cache: &Path) -> Result<(), LaunchError> {
    let conditions = |rule: &Value| !view::items(rule, "args").is_empty();
    let name = runtime.file_name().unwrap_or_default().to_string_lossy();
    if name.contains("youki") && view::items(section, "syscalls").iter().any(conditions) {
        return Err(LaunchError::Misread { runtime: runtime.display().to_string() });
    }
    let profile = Profile::from_oci(section)?;
    cached(&profile, "runtime", cache, compile_as_written).map(drop)?;
    Ok(())
}

/// Makes sure that a profile can be compiled for the launcher.
///
/// # Errors
/// Those of compiling it.
pub fn check_for_launcher(profile: &Profile, cache: &Path) -> Result<(), LaunchError> {
    compiled(profile, cache).map(drop)?;
    Ok(())
}

/// The launcher's program of a profile.
fn compiled(profile: &Profile, cache: &Path) -> Result<Vec<Instruction>, SeccompError> {
    cached(profile, "launcher", cache, compile)
}

/// A program from the cache, or compiled now. A cache that cannot be read or written costs time, and nothing else.
fn cached(
    profile: &Profile,
    loader: &str,
    cache: &Path,
    compile: fn(&Profile) -> Result<Program, SeccompError>,
) -> Result<Vec<Instruction>, SeccompError> {
    let text = profile.to_oci().to_string();
    let name = format!("{}.{loader}", hex(&Sha256::digest(&text)));
    let file = cache.join(&name);
    if let Some(program) = fs::read(&file).ok().and_then(|bytes| unpack(&bytes)) {
        return Ok(program);
    }
    if let Some(bytes) = baked::filter(&name)
        && let Some(program) = unpack(&bytes)
    {
        let _ = store(&file, &bytes);
        return Ok(program);
    }
    let program: Vec<Instruction> = compile(profile)?
        .instructions()
        .iter()
        .map(|i| Instruction { code: i.code, jt: i.jt, jf: i.jf, k: i.k })
        .collect();
    let _ = store(&file, &pack(&program));
    Ok(program)
}

/// Eight bytes an instruction, as the kernel has them, after a digest of them all.
fn pack(program: &[Instruction]) -> Vec<u8> {
    let mut body = Vec::with_capacity(program.len() * 8);
    for instruction in program {
        body.extend(instruction.code.to_le_bytes());
        body.extend([instruction.jt, instruction.jf]);
        body.extend(instruction.k.to_le_bytes());
    }
    let mut bytes = Sha256::digest(&body).to_vec();
    bytes.extend(body);
    bytes
}

fn unpack(bytes: &[u8]) -> Option<Vec<Instruction>> {
    let (digest, body) = bytes.split_at_checked(32)?;
    if body.is_empty() || body.len() % 8 != 0 || Sha256::digest(body).as_slice() != digest {
        return None;
    }
    body.chunks_exact(8)
        .map(|chunk| {
            let [c0, c1, jt, jf, k0, k1, k2, k3] = chunk.try_into().ok()?;
            Some(Instruction {
                code: u16::from_le_bytes([c0, c1]),
                jt,
                jf,
                k: u32::from_le_bytes([k0, k1, k2, k3]),
            })
        })
        .collect()
}

/// Writes a file of the cache, whole or not at all. Whatever the caller's umask is, nobody else may write here: what
/// is in the cache is loaded into containers.
pub(crate) fn store(file: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        make_room(folder)?;
    }
    whole_file::write(file, bytes, 0o600)
}

/// A client that makes up profiles shall not fill the memory that /run is in.
fn make_room(folder: &Path) -> io::Result<()> {
    let files: Vec<fs::DirEntry> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    if files.len() >= MAX_FILTERS {
        let mut aged: Vec<_> = files
            .iter()
            .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())))
            .collect();
        aged.sort();
        for (_, path) in aged.iter().take(MAX_FILTERS / 2) {
            let _ = fs::remove_file(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn profile() -> Profile {
        Profile::from_oci(&json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["keyctl"], "action": "SCMP_ACT_ERRNO"}]}))
        .unwrap()
    }

    #[test]
    fn a_filter_comes_out_of_the_cache_as_it_went_in_and_a_damaged_one_does_not() {
        let cache = tempfile::tempdir().unwrap();
        let first = compiled(&profile(), cache.path()).unwrap();
        let file = fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
        assert_eq!(unpack(&fs::read(&file).unwrap()).unwrap(), first);
        let mut damaged = fs::read(&file).unwrap();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(unpack(&damaged), None);
        fs::write(&file, &damaged).unwrap();
        assert_eq!(compiled(&profile(), cache.path()).unwrap(), first);
    }

    #[test]
    fn the_cache_has_a_bound() {
        let cache = tempfile::tempdir().unwrap();
        for number in 0..MAX_FILTERS + 10 {
            store(&cache.path().join(number.to_string()), b"x").unwrap();
        }
        let left = fs::read_dir(cache.path()).unwrap().count();
        assert!((MAX_FILTERS / 2..MAX_FILTERS).contains(&left), "{left}");
    }

    #[test]
    fn nobody_else_writes_the_cache() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("filters");
        fs::create_dir(&folder).unwrap();
        // As a caller with no umask would have made it.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        store(&folder.join("x"), b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("x"))), (0o700, 0o600));
    }

    #[test]
    fn what_the_runtime_would_load_is_checked() {
        let cache = tempfile::tempdir().unwrap();
        let (runc, youki) = (Path::new("/usr/bin/runc"), Path::new("/usr/bin/youki"));
        assert!(check_for_runtime(&profile().to_oci(), runc, cache.path()).is_ok());
        let plain = json!({"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["keyctl"], "action": "SCMP_ACT_ERRNO"}]});
        assert!(check_for_runtime(&plain, youki, cache.path()).is_ok());
        let masked = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [
                {"index": 0, "value": 255, "valueTwo": 40, "op": "SCMP_CMP_MASKED_EQ"}]}]});
        assert!(check_for_runtime(&masked, runc, cache.path()).is_ok());
        let error = check_for_runtime(&masked, youki, cache.path()).unwrap_err().to_string();
        assert!(error.contains("youki") && error.contains("runc or crun"), "{error}");
        // Not in the form in which profiles are written for runtimes, so what a runtime makes of it is not known.
        let other = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["clone"], "action": "SCMP_ACT_ERRNO",
             "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_GT"}]},
        ]});
        let error = check_for_runtime(&other, runc, cache.path()).unwrap_err().to_string();
        assert!(error.contains("SCMP_CMP_MASKED_EQ"), "{error}");
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 2, "what failed is not kept");
    }

    #[test]
    fn the_digest_follows_what_the_launcher_does() {
        let one = Launch { filters: vec![profile()], ..Launch::default() };
        assert_eq!(digest(&one), digest(&one.clone()));
        assert_ne!(digest(&one), digest(&Launch::default()));
        let cache = tempfile::tempdir().unwrap();
        let plan = Plan::decode(&encode(&one, cache.path()).unwrap()).unwrap();
        assert_eq!(plan.filters.len(), 1);
    }
}
