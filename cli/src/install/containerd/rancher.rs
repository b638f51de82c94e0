//! k3s and rke2, which make containerd's configuration anew at each of their starts: from a template of their own,
//! or from one that an administrator puts beside it (k3s pkg/agent/templates).

use super::loaded::{Loaded, plugin};
use super::{Found, NAME, is_untouched, own_section, text};
use crate::install::plan::{self, Change, Context, Obstacle, Planned};
use crate::install::tree::above;

pub(super) fn plan(
    context: &Context<'_>,
    found: &Found,
    made_from: &str,
    planned: &mut Planned,
) -> Result<(), Obstacle> {
    let main = found.main.as_str();
    if !context.tree.exists(main) {
        return Err(Obstacle::Absent(format!("there is no {main} yet: start it once")));
    }
    let folder = |loaded: &Loaded| loaded.imported_folder(NAME).filter(|_| loaded.version > 2);
    let mut loaded = Loaded::read(context.tree, main, None)?;
    if let Some(folder) = folder(&loaded) {
        let path = format!("{folder}/{NAME}");
        loaded = Loaded::read(context.tree, main, Some(&path))?;
        let own = own_section(context, found, &loaded, &path)?;
        let text = text::drop_in(loaded.version, own.merge, own.section);
        planned.notes.extend(own.notes);
        planned.changes.extend(context.own_file(&path, text)?);
        planned.check = own.check;
        return Ok(());
    }
    if context.default {
        return Err(Obstacle::Refused(format!(
            "{main} is made from {made_from}, which names its default handler already: install without --default, and \
             put `default-runtime: {}` into the config.yaml of k3s or rke2",
            context.handler
        )));
    }
    // Whatever containerd makes of imports: a template becomes part of the one file.
    let name = if loaded.version > 2 { "config-v3.toml.tmpl" } else { "config.toml.tmpl" };
    let path = format!("{}/{name}", above(main));
    let mut own = own_section(context, found, &loaded, &path)?;
    let handler = own
        .section
        .get("containerd")
        .and_then(|containerd| containerd.get("runtimes")?.get(context.handler)?.as_table());
    let handler = handler.cloned().unwrap_or_default();
    let section = text::with_handler(toml::Table::new(), context.handler, handler, false);
    let body = text::body(loaded.version, section);
    let is_made_of_ours = loaded.files.first().is_some_and(|(_, table)| {
        super::loaded::table_at(
            table,
            &["plugins", plugin(loaded.version), "containerd", "runtimes", context.handler],
        )
        .is_some()
    });
    if let Some(plan::Check::Containerd(check)) = &mut own.check
        && !is_made_of_ours
    {
        let made = context.tree.read(main)?.map(|seen| seen.bytes).unwrap_or_default();
        check.trial = Some(format!("{}\n{body}", String::from_utf8_lossy(&made)));
    }
    planned.notes.extend(own.notes);
    planned.changes.extend(template(context, &path, &body)?);
    planned.check = own.check;
    Ok(())
}

/// The template with the handler in it.
fn template(context: &Context<'_>, path: &str, body: &str) -> Result<Option<Change>, Obstacle> {
    let fresh = format!(
        "{{{{/* Written by `coaming install`, and taken away by `coaming install --uninstall`: do not edit. */}}}}\n\
         {{{{ template \"base\" . }}}}\n\n{body}"
    );
    let entry = context.kept.entry(path);
    let Some(seen) = context.tree.read_own(path)? else { return context.own_file(path, fresh) };
    match entry {
        Some(entry) if entry.original.is_none() => return context.own_file(path, fresh),
        Some(entry) if is_untouched(entry, &seen.bytes) => return Ok(None),
        Some(_) => {
            return Err(Obstacle::Refused(format!(
                "{path} has been changed since coaming put its handler there, and is left as it is"
            )));
        }
        None => {}
    }
    if !context.replace {
        return Err(Obstacle::Refused(format!(
            "{path} is there, and coaming does not edit it; add this to its end and restart:\n{body}Or --replace: a copy \
             with that takes its place, and --uninstall puts the original back"
        )));
    }
    let mut after = seen.bytes.clone();
    if !after.ends_with(b"\n") {
        after.push(b'\n');
    }
    after.extend(format!("\n{body}").into_bytes());
    Ok(Some(Change { path: path.to_owned(), before: Some(seen), after }))
}
