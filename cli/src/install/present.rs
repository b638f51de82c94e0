//! The runtime that a manager takes where none is named, but for what we have written.

use super::plan::{Context, Obstacle, is_plain_runtime};
use crate::doctor::handlers::{Ends, Found, Manager};

/// The runtime that ours stands before.
pub(super) struct Present {
    /// A name or a path.
    pub(super) name: String,
    /// Whether it is runc or crun, or coaming before one of them.
    is_plain: bool,
}

impl Present {
    /// Of the manager whose file of ours is `file`. `otherwise`: what it takes where nothing says it.
    ///
    /// # Errors
    /// A file of it is not understood, or has a runtime of our name that we have not written.
    pub(super) fn of(
        context: &Context<'_>,
        node: &Found,
        manager: Manager,
        file: &str,
        otherwise: &str,
    ) -> Result<Present, Obstacle> {
        let folder = match manager {
            Manager::Containerd => "/etc/containerd/",
            Manager::Crio => "/etc/crio/",
            Manager::Docker => "/etc/docker/",
            // In /usr/share as in /etc.
            Manager::Podman => "/containers/",
        };
        if let Some(problem) = node.unreadable.iter().find(|problem| problem.contains(folder)) {
            return Err(Obstacle::Refused(format!(
                "its configuration is not understood: {problem}"
            )));
        }
        let mut handlers = node.handlers.iter().filter(|handler| handler.manager == manager);
        let other = handlers
            .clone()
            .find(|handler| handler.name == context.handler && handler.place.file != file);
        if let Some(other) = other {
            return Err(Obstacle::Refused(format!(
                "{} has a runtime {} already; choose another name (--handler)",
                other.place, other.name
            )));
        }
        // What we have written says which wrapper it was to be, and may itself be the default by now.
        let written = context.tree.read_own(file)?.filter(|_| context.kept.entry(file).is_some());
        if let Some(seen) = written {
            let text = String::from_utf8_lossy(&seen.bytes).into_owned();
            let wrapper = match manager {
                // The file has others' runtimes too.
                Manager::Docker => {
                    serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|all| {
                        Some(all.get("runtimes")?.get(context.handler)?.get("path")?.to_string())
                    })
                }
                _ => Some(text),
            };
            let is_crun = wrapper.is_some_and(|wrapper| wrapper.contains("/coaming-crun\""));
            let name = if is_crun { "crun" } else { "runc" };
            return Ok(Present { name: name.to_owned(), is_plain: true });
        }
        Ok(match handlers.find(|handler| handler.default) {
            Some(handler) => Present {
                name: handler.name.clone(),
                is_plain: is_plain_runtime(&handler.name) || handler.ends != Ends::Around,
            },
            None => Present { name: otherwise.to_owned(), is_plain: true },
        })
    }

    /// Whether containers that name no runtime may be given to ours.
    ///
    /// # Errors
    /// They would lose what another runtime does for them.
    pub(super) fn check_default(&self, context: &Context<'_>) -> Result<(), Obstacle> {
        if !context.default || self.is_plain || context.force {
            return Ok(());
        }
        Err(Obstacle::Refused(format!(
            "the default runtime is {}, which is more than runc or crun: containers that rely on what it does would \
             lose it. Put coaming behind it instead (docs/engines.md, \"Beside another wrapper\"), or take it as the \
             default by --force",
            self.name
        )))
    }
}
