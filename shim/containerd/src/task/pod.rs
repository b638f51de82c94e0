//! The containers that this shim has.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coaming_config::Configuration;

use super::container::{Container, PATIENCE};
use super::exits::Exits;
use super::process::Ended;
use crate::error::Error;
use crate::events::Publisher;
use crate::log;
use crate::reaper::Reaper;
use crate::runtime::Caller;

/// Between two looks at creates that are to end.
const TURN: Duration = Duration::from_millis(10);

/// What is the same for all containers.
pub(crate) struct Setting {
    pub(crate) namespace: String,
    pub(crate) configuration: Arc<Configuration>,
    /// The folder of the wrappers.
    pub(crate) programs: PathBuf,
    pub(crate) publisher: Publisher,
}

/// The containers of one pod.
pub(crate) struct Pod {
    pub(super) setting: Setting,
    pub(super) reaper: Reaper,
    pub(super) exits: Arc<Exits>,
    containers: Mutex<HashMap<String, Place>>,
}

enum Place {
    /// It is being created.
    Reserved,
    Taken(Arc<Container>),
}

/// An id that nobody else can have, until it is filled or dropped.
pub(super) struct Reservation<'a> {
    pod: &'a Pod,
    id: String,
}

impl Pod {
    /// Must be called within the runtime, once in a process: it starts to reap children.
    pub(crate) fn new(setting: Setting) -> io::Result<Pod> {
        let reaper = Reaper::start()?;
        let exits = Arc::new(Exits::default());
        reaper.deliver_to(Arc::clone(&exits) as _);
        Ok(Pod { setting, reaper, exits, containers: Mutex::default() })
    }

    pub(crate) fn container(&self, id: &str) -> Result<Arc<Container>, Error> {
        match self.containers().get(id) {
            Some(Place::Taken(container)) => Ok(Arc::clone(container)),
            _ => Err(Error::NoContainer { id: id.to_owned() }),
        }
    }

    /// Whether it has none, nor is about to.
    pub(crate) fn is_empty(&self) -> bool {
        self.containers().is_empty()
    }

    /// The ids of containers that are being created, where there are no others.
    pub(crate) fn only_coming(&self) -> Option<Vec<String>> {
        let containers = self.containers();
        let coming = |(id, place): (&String, &Place)| match place {
            Place::Reserved => Some(id.clone()),
            Place::Taken(_) => None,
        };
        containers.iter().map(coming).collect()
    }

    /// Waits until each of these has come or has failed to, and removes it.
    pub(crate) async fn turn_away(&self, ids: &[String]) {
        let is_coming = |id: &String| matches!(self.containers().get(id), Some(Place::Reserved));
        while ids.iter().any(is_coming) {
            tokio::time::sleep(TURN).await;
        }
        for id in ids {
            match self.delete(id, &mut Caller::shim(PATIENCE)).await {
                Ok(_) | Err(Error::NoContainer { .. }) => {}
                Err(error) => log::warn!(id = id, "created for nobody, and not removed: {error}"),
            }
        }
    }

    /// A container that has stopped goes.
    pub(crate) async fn delete(&self, id: &str, caller: &mut Caller) -> Result<Ended, Error> {
        let container = self.container(id)?;
        let ended = container.delete(caller).await?;
        self.containers().remove(id);
        Ok(ended)
    }

    /// No process and no start is on the books.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.is_empty() && self.exits.is_idle()
    }

    pub(super) fn reserve(&self, id: &str) -> Result<Reservation<'_>, Error> {
        let mut containers = self.containers();
        if containers.contains_key(id) {
            return Err(Error::InUse { what: "container", id: id.to_owned() });
        }
        containers.insert(id.to_owned(), Place::Reserved);
        Ok(Reservation { pod: self, id: id.to_owned() })
    }

    fn containers(&self) -> MutexGuard<'_, HashMap<String, Place>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation<'_> {
    pub(super) fn fill(self, container: Arc<Container>) {
        self.pod.containers().insert(self.id.clone(), Place::Taken(container));
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut containers = self.pod.containers();
        if let Some(Place::Reserved) = containers.get(&self.id) {
            containers.remove(&self.id);
        }
    }
}
