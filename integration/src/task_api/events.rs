use std::sync::{Arc, Mutex, PoisonError};

use prost::Message;

use super::messages as wire;
use crate::grpc::{self, Connection};
use crate::{Error, Node, wait_for};

const SERVICE: &str = "containerd.services.events.v1.Events";
const READY: &str = "/coaming/listening";

/// An event of a task. What an event does not tell is empty or 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// containerd's namespace.
    pub namespace: String,
    /// The topic, such as `/tasks/exit`.
    pub topic: String,
    /// The container's ID.
    pub container: String,
    /// The process's: empty or the container's for the first process, or an exec's.
    pub process: String,
    /// The process's PID in the world.
    pub pid: u32,
    /// The exit status.
    pub status: u32,
    /// Whether it tells when a process ended.
    pub dated: bool,
}

/// Everything that containerd publishes from now on, until it ends.
pub struct Events {
    seen: Arc<Mutex<Vec<Event>>>,
}

impl Events {
    /// Subscribes; when this returns, nothing is missed any more.
    ///
    /// # Errors
    /// When containerd does not answer.
    pub fn subscribe(node: &Node) -> Result<Events, Error> {
        let seen: Arc<Mutex<Vec<Event>>> = Arc::default();
        let socket = grpc::socket(node.world());
        let listener = Connection::open(&socket, Some("default"))?;
        let into = Arc::clone(&seen);
        // It ends with containerd's end of the stream.
        std::thread::spawn(move || {
            let filters = Vec::new();
            let request = wire::SubscribeRequest { filters };
            let Ok(mut stream) = listener.subscribe(SERVICE, "Subscribe", request) else { return };
            while let Ok(Some(envelope)) = listener.next(&mut stream) {
                into.lock().unwrap_or_else(PoisonError::into_inner).push(event(envelope));
            }
        });
        // A stream begins with its first message.
        let talker = Connection::open(&socket, Some("default"))?;
        let events = Events { seen };
        wait_for("a subscription to events", || {
            let _ = talker.call::<_, wire::Empty>(SERVICE, "Publish", announcement());
            Ok(events.all().iter().any(|event| event.topic == READY).then_some(()))
        })?;
        Ok(events)
    }

    /// Everything until now, in its order.
    pub fn all(&self) -> Vec<Event> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What there is of tasks of one containerd namespace.
    pub fn of(&self, namespace: &str) -> Vec<Event> {
        let mut all = self.all();
        all.retain(|event| event.namespace == namespace && event.topic.starts_with("/tasks/"));
        all
    }
}

fn announcement() -> wire::PublishRequest {
    let event =
        wire::Any { type_url: "containerd.events.TaskPaused".to_owned(), value: Vec::new() };
    wire::PublishRequest { topic: READY.to_owned(), event: Some(event) }
}

fn event(envelope: wire::Envelope) -> Event {
    let wire::Envelope { namespace, topic, event } = envelope;
    let value = event.unwrap_or_default().value;
    let blank = Event {
        namespace,
        topic,
        container: String::new(),
        process: String::new(),
        pid: 0,
        status: 0,
        dated: false,
    };
    match blank.topic.as_str() {
        "/tasks/create" => {
            let wire::TaskCreate { container, pid, .. } = decoded(&value);
            Event { container, pid, ..blank }
        }
        "/tasks/start" => {
            let wire::TaskStart { container, pid } = decoded(&value);
            Event { container, pid, ..blank }
        }
        "/tasks/exit" => {
            let wire::TaskExit { container, id, pid, exit_status, exited_at } = decoded(&value);
            let dated = super::is_dated(exited_at.as_ref());
            Event { container, process: id, pid, status: exit_status, dated, ..blank }
        }
        "/tasks/delete" => {
            let wire::TaskDelete { container, id, pid, exit_status, exited_at } = decoded(&value);
            let dated = super::is_dated(exited_at.as_ref());
            Event { container, process: id, pid, status: exit_status, dated, ..blank }
        }
        "/tasks/exec-added" => {
            let wire::TaskExecAdded { container, exec } = decoded(&value);
            Event { container, process: exec, ..blank }
        }
        "/tasks/exec-started" => {
            let wire::TaskExecStarted { container, exec, pid } = decoded(&value);
            Event { container, process: exec, pid, ..blank }
        }
        topic if topic.starts_with("/tasks/") => {
            let wire::TaskSimple { container } = decoded(&value);
            Event { container, ..blank }
        }
        _ => blank,
    }
}

/// An event that cannot be decoded has nothing in it.
fn decoded<M: Message + Default>(value: &[u8]) -> M {
    M::decode(value).unwrap_or_default()
}
