//! CRI-O: a file in /etc/crio/crio.conf.d (crio.conf.d(5)).

use super::ask::ask;
use super::containerd::toml_of;
use super::plan::{Check, Context, Obstacle, Planned};
use super::present::Present;
use super::tree::Tree;
use crate::doctor::handlers::{Found, Manager};

/// Files there are read in the order of their names.
const FILE: &str = "/etc/crio/crio.conf.d/zz-coaming.conf";

/// # Errors
/// It is not here, or must not be done, with what to do.
pub(super) fn plan(context: &Context<'_>, node: &Found) -> Result<Planned, Obstacle> {
    let program = context.root.in_path("crio", &[]);
    if program.is_none() && !context.tree.exists("/etc/crio") {
        return Err(Obstacle::Absent("there is neither /etc/crio nor a program crio".to_owned()));
    }
    let mut planned = Planned::new(Manager::Crio, &["crio.service"]);
    // Before CRI-O 1.31 runc, afterwards crun; where its files say nothing, what is there.
    let runtime = Present::of(context, node, Manager::Crio, FILE, "crun")?;
    runtime.check_default(context)?;
    let wrapper = Context::wrapper(&runtime.name);
    planned.notes.extend(context.check_wrapper(&wrapper)?);
    context.check_floor(&wrapper)?;
    let state = if wrapper.ends_with("crun") { "/run/crun" } else { "/run/runc" };
    let mut text = "# Written by `coaming install`, and taken away by `coaming install --uninstall`: do not edit.\n".to_owned();
    if context.default {
        text.push_str(&format!(
            "[crio.runtime]\ndefault_runtime = {}\n\n",
            toml_of(context.handler)
        ));
    }
    text.push_str(&format!(
        "[crio.runtime.runtimes.{}]\nruntime_path = {}\nruntime_type = \"oci\"\n# The state directory is part of what names a \
         container.\nruntime_root = {}\n",
        context.handler,
        toml_of(&wrapper),
        toml_of(state)
    ));
    planned.changes.extend(context.own_file(FILE, text)?);
    match program {
        Some(program) => {
            let handler = context.handler.to_owned();
            planned.check = Some(Check::Crio { program, handler, wrapper });
        }
        None => planned.notes.push("no crio was found to ask what it makes of this".to_owned()),
    }
    Ok(planned)
}

/// Asks CRI-O for the configuration that its files come to.
///
/// # Errors
/// It does not take them, or has another handler.
pub(super) fn check(
    tree: &Tree,
    program: &str,
    handler: &str,
    wrapper: &str,
) -> Result<String, String> {
    let said = ask(tree, program, &["config"])?;
    if !said.success {
        return Err(format!("{program} config says: {}", said.complaint()));
    }
    let found = said.out.parse::<toml::Table>().map_err(|error| {
        format!("what {program} config printed is not TOML: {}", error.message())
    })?;
    let path = ["crio", "runtime", "runtimes", handler, "runtime_path"];
    let (first, rest) = path.split_first().ok_or_else(String::new)?;
    let found =
        rest.iter().try_fold(found.get(*first), |value, key| Some(value?.get(*key))).flatten();
    match found.and_then(toml::Value::as_str) == Some(wrapper) {
        true => Ok(format!("{program} config")),
        false => {
            Err(format!("crio does not have the handler {handler} with runtime_path {wrapper}"))
        }
    }
}
