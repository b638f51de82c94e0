//! What a container's process is: arguments, environment, working directory, terminal (containerd
//! internal/cri/opts, WithProcessArgs; internal/cri/server, buildLinuxSpec).

use serde_json::{Map, Value, json};

use crate::error::ManifestError;
use crate::field::Field;
use crate::pod::Shared;

/// The default of containerd (pkg/oci, WithDefaultPathEnv).
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Stands for the command of an image that is not known.
const UNKNOWN_COMMAND: &str = "the-image's-own-command";

/// `process` with `args`, `env`, `cwd` and `terminal`.
pub(crate) fn process(
    pod: &Shared<'_>,
    container: &Field<'_>,
    approximations: &mut Vec<String>,
) -> Result<Map<String, Value>, ManifestError> {
    let image = &pod.settings.image;
    let terminal = container.get("tty")?.is_true()?;
    let mut process = Map::new();
    if terminal {
        process.insert("terminal".to_owned(), Value::Bool(true));
    }
    let command = container.get("command")?.strings()?;
    let mut args: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
    if args.is_empty() {
        args.clone_from(&image.command);
        if args.is_empty() {
            approximations.push("the command is the image's".to_owned());
            args.push(UNKNOWN_COMMAND.to_owned());
        }
    }
    args.extend(container.get("args")?.strings()?.into_iter().map(str::to_owned));
    let mut env = vec![PATH.to_owned()];
    if terminal {
        env.push("TERM=xterm".to_owned());
    }
    let host = if pod.host_network { "node" } else { pod.name };
    env.push(format!("HOSTNAME={host}"));
    env.extend(image.env.iter().cloned());
    let mut from_elsewhere = !container.get("envFrom")?.items()?.is_empty();
    for variable in container.get("env")?.items()? {
        let name = variable.get("name")?.name()?;
        let value = variable.get("value")?.string()?.unwrap_or_default();
        from_elsewhere |= !variable.get("valueFrom")?.is_absent();
        env.push(format!("{name}={value}"));
    }
    approximations.push(if from_elsewhere {
        "the environment lacks what the image, services, secrets and config maps give".to_owned()
    } else {
        "the environment lacks what the image and services give".to_owned()
    });
    let cwd = container.get("workingDir")?.string()?.filter(|path| !path.is_empty());
    let cwd = cwd.or(image.working_dir.as_deref()).unwrap_or("/");
    process.insert("args".to_owned(), json!(args));
    process.insert("env".to_owned(), json!(env));
    process.insert("cwd".to_owned(), json!(cwd));
    Ok(process)
}
