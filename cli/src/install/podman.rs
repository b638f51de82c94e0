//! Podman: a file in /etc/containers/containers.conf.d (containers.conf(5)).

use toml::{Table, Value};

use super::ask::ask;
use super::containerd::toml_of;
use super::plan::{Check, Context, Obstacle, Planned};
use super::present::Present;
use super::tree::Tree;
use crate::doctor::handlers::{Found, Manager};

const FILE: &str = "/etc/containers/containers.conf.d/zz-coaming.conf";
/// In the order in which they are read; later ones count.
const FILES: [&str; 4] = [
    "/usr/share/containers/containers.conf",
    "/usr/share/containers/containers.conf.d/*.conf",
    "/etc/containers/containers.conf",
    "/etc/containers/containers.conf.d/*.conf",
];
/// Podman's own lists, which a file's take the place of (containers/common, pkg/config/default.go).
const JSON: [&str; 6] = ["crun", "runc", "kata", "runsc", "youki", "krun"];
const PATH_OF_RUNTIME: &str = "{{.Host.OCIRuntime.Path}}";
const NO_CGROUPS: [&str; 2] = ["crun", "krun"];

/// # Errors
/// It is not here, or must not be done, with what to do.
pub(super) fn plan(context: &Context<'_>, node: &Found) -> Result<Planned, Obstacle> {
    let program = context.root.in_path("podman", &[]);
    if program.is_none() {
        return Err(Obstacle::Absent("there is no program podman".to_owned()));
    }
    let mut planned = Planned::new(Manager::Podman, &[]);
    let runtime = Present::of(context, node, Manager::Podman, FILE, "crun")?;
    runtime.check_default(context)?;
    let wrapper = Context::wrapper(&runtime.name);
    planned.notes.extend(context.check_wrapper(&wrapper)?);
    context.check_floor(&wrapper)?;
    let text = text(context, &wrapper)?;
    planned.changes.extend(context.own_file(FILE, text)?);
    if let Some(program) = program {
        if !planned.changes.is_empty() {
            let said = ask(context.tree, &program, &["info", "--format", PATH_OF_RUNTIME])?;
            if !said.success {
                return Err(format!("podman does not answer as it is: {}", said.complaint()).into());
            }
        }
        let handler = context.handler.to_owned();
        planned.check = Some(Check::Podman { program, handler, wrapper });
    }
    Ok(planned)
}

fn text(context: &Context<'_>, wrapper: &str) -> Result<String, Obstacle> {
    let handler = context.handler;
    let mut text = "# Written by `coaming install`, and taken away by `coaming install --uninstall`: do not edit.\n[engine]\n".to_owned();
    if context.default {
        text.push_str(&format!("runtime = {}\n", toml_of(handler)));
    }
    // A list in a file takes the place of that of the files before it.
    let mut lists = vec![("runtime_supports_json", &JSON[..])];
    if wrapper.ends_with("crun") {
        lists.push(("runtime_supports_nocgroups", &NO_CGROUPS[..]));
    }
    for (key, built_in) in lists {
        let mut list = listed(context, key)?
            .unwrap_or_else(|| built_in.iter().map(|name| Value::from(*name)).collect());
        if !list.iter().any(|name| name.as_str() == Some(handler)) {
            list.push(handler.into());
        }
        text.push_str(&format!("{key} = {}\n", Value::Array(list)));
    }
    text.push_str(&format!("\n[engine.runtimes]\n{handler} = [{}]\n", toml_of(wrapper)));
    Ok(text)
}

/// A list of the engine's, as the files before ours have it.
fn listed(context: &Context<'_>, key: &str) -> Result<Option<Vec<Value>>, Obstacle> {
    let mut found = None;
    for path in
        FILES.iter().flat_map(|pattern| context.root.glob(pattern)).filter(|path| path != FILE)
    {
        let Some(seen) = context.tree.read(&path)? else { continue };
        let table: Table = super::containerd::parse(&path, &seen.bytes)?;
        let list = table.get("engine").and_then(|engine| engine.get(key)?.as_array());
        found = list.cloned().or(found);
    }
    Ok(found)
}

/// Asks podman which program it takes for the handler.
///
/// # Errors
/// It does not take its files, or takes another.
pub(super) fn check(
    tree: &Tree,
    program: &str,
    handler: &str,
    wrapper: &str,
) -> Result<String, String> {
    let said = ask(tree, program, &["--runtime", handler, "info", "--format", PATH_OF_RUNTIME])?;
    match said.success && said.out.trim() == wrapper {
        true => Ok(format!("{program} info")),
        false => Err(format!(
            "{program} --runtime {handler} info says: {}",
            if said.success { said.out.trim().to_owned() } else { said.complaint() }
        )),
    }
}
