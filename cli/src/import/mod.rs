//! `coaming import`: policies from what a cluster has already.

mod artifact;
mod object;
mod operator;
mod pod_security;
mod profile;
mod written;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::error::CommandError;
use crate::output::Outcome;
use written::Written;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 8 << 20;

/// Write policies from what a cluster has: Pod Security labels of Namespaces, objects of the Security
/// Profiles Operator, seccomp profiles.
///
/// Which it is, is told by the content. A file of Kubernetes objects holds Namespaces (Pod Security
/// labels), SeccompProfiles and ProfileBindings, also as `kubectl get -o yaml` prints them; a file in JSON
/// with a `defaultAction` is a seccomp profile of Docker, containerd or the OCI spec; a folder is an OCI
/// image layout with a seccomp profile as KEP-6061 proposes it. What could not be carried over stands in
/// comments.
/// Exit codes: 0 policies were written, 2 something cannot be read or written.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Files, and folders of image layouts.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Namespaces of the containers that a seccomp profile is for, as globs. Default: all workloads.
    #[arg(long = "namespace", value_name = "GLOB")]
    namespaces: Vec<String>,
    /// The folder that policies and profiles are written to; what is there already is not overwritten.
    /// Default: policies are printed, and profiles are not written.
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    let mut written = Written::default();
    let mut objects = Vec::new();
    for path in &arguments.paths {
        let metadata =
            fs::metadata(path).map_err(|error| CommandError::Path { path: path.clone(), error })?;
        let wrong = |problem: String| CommandError::Import { path: path.clone(), problem };
        if metadata.is_dir() {
            let bytes = artifact::profile(path).map_err(wrong)?;
            let name = path.canonicalize().unwrap_or_else(|_| path.clone());
            profile::import(&name, bytes, &arguments.namespaces, &mut written).map_err(wrong)?;
            continue;
        }
        let bytes = read(path, MAX_BYTES)
            .map_err(|error| CommandError::Path { path: path.clone(), error })?;
        if profile::is_one(&bytes) {
            profile::import(path, bytes, &arguments.namespaces, &mut written).map_err(wrong)?;
        } else {
            objects.extend(object::read(path, bytes).map_err(|error| {
                let problem = error.to_string();
                CommandError::Import { path: path.to_owned(), problem }
            })?);
        }
    }
    pod_security::import(&objects, &mut written);
    operator::import(&objects, &mut written);
    written.pass_over(&objects);
    if written.is_empty() {
        let nothing = "nothing in it makes a policy: no Namespace with Pod Security labels, no profile \
                       and no ProfileBinding";
        let path = arguments.paths.first().cloned().unwrap_or_default();
        return Err(CommandError::Import { path, problem: nothing.to_owned() });
    }
    match &arguments.output_dir {
        Some(folder) => written.store(folder, out)?,
        None => written.print(out)?,
    }
    Ok(Outcome::Fine)
}

/// A file, if it is not too large.
fn read(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(std::io::Error::other(format!("larger than the {most} bytes that are read")));
    }
    Ok(bytes)
}
