//! Events, sent to containerd in the order in which they happened.
//!
//! One queue and one sender. An event that cannot be sent is tried again before any later one, up to five times with
//! growing pauses, as the Go shim does (containerd, pkg/shim/publisher.go); unlike there, later events wait for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use containerd_shim_protos::shim::event::Envelope;
use containerd_shim_protos::shim::events::ForwardRequest;
use containerd_shim_protos::shim_async::{Client, EventsClient};
use protobuf::well_known_types::any::Any;
use protobuf::{Message, MessageField};
use tokio::sync::Notify;
use ttrpc::context;

use crate::log;

/// Events that wait at most; beyond, the oldest is given up, so that a containerd that is gone for hours costs no memory.
const LONGEST_QUEUE: usize = 2048;
/// For one attempt.
const TIMEOUT: Duration = Duration::from_secs(5);
const TRIES: u32 = 6;
/// The package of all events; names and types are derived from it.
const PACKAGE: &str = "containerd.events";

/// Sends events.
#[derive(Clone)]
pub(crate) struct Publisher(Option<Arc<Shared>>);

struct Shared {
    namespace: String,
    queue: Mutex<Queue>,
    /// Something was queued.
    queued: Notify,
    /// The queue is empty, and nothing is being sent.
    idle: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Envelope>,
    sending: bool,
}

impl Publisher {
    /// A publisher to the address in `TTRPC_ADDRESS`; without one, events go nowhere. To be called within the runtime.
    pub(crate) fn new(ttrpc_address: Option<String>, namespace: String) -> Self {
        let Some(address) = ttrpc_address.filter(|address| !address.is_empty()) else {
            return Publisher(None);
        };
        let url = if address.contains("://") { address } else { format!("unix://{address}") };
        let shared = Arc::new(Shared {
            namespace,
            queue: Mutex::default(),
            queued: Notify::new(),
            idle: Notify::new(),
        });
        tokio::spawn(send_all(shared.clone(), Sender { url, client: None }));
        Publisher(Some(shared))
    }

    /// Queues `containerd.events.<M>`. Events are sent in the order of the calls.
    pub(crate) fn publish<M: Message>(&self, topic: &'static str, event: M) {
        let Some(shared) = &self.0 else { return };
        let value = match event.write_to_bytes() {
            Ok(value) => value,
            Err(error) => {
                log::error!("an event of {topic} cannot be written, and is lost: {error}");
                return;
            }
        };
        let event = Any { type_url: format!("{PACKAGE}.{}", M::NAME), value, ..Any::default() };
        let envelope = Envelope {
            timestamp: MessageField::some(SystemTime::now().into()),
            namespace: shared.namespace.clone(),
            topic: topic.to_owned(),
            event: MessageField::some(event),
            ..Envelope::default()
        };
        let lost = {
            let mut queue = shared.queue();
            queue.waiting.push_back(envelope);
            if queue.waiting.len() > LONGEST_QUEUE { queue.waiting.pop_front() } else { None }
        };
        if let Some(lost) = lost {
            log::error!(
                "more than {LONGEST_QUEUE} events wait for containerd; the oldest, of {}, is lost",
                lost.topic
            );
        }
        shared.queued.notify_one();
    }

    /// Ends when all that was queued is sent or given up, or `limit` has passed.
    pub(crate) async fn drain(&self, limit: Duration) {
        let Some(shared) = &self.0 else { return };
        let drained = async {
            loop {
                let idle = shared.idle.notified();
                if shared.queue().is_idle() {
                    break;
                }
                idle.await;
            }
        };
        if tokio::time::timeout(limit, drained).await.is_err() {
            let left = shared.queue().waiting.len();
            log::error!("{left} events could not be sent to containerd within {limit:?}");
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.sending
    }

    fn next(&mut self) -> Option<Envelope> {
        let next = self.waiting.pop_front();
        self.sending = next.is_some();
        next
    }
}

async fn send_all(shared: Arc<Shared>, mut sender: Sender) {
    loop {
        let next = shared.queue().next();
        let Some(envelope) = next else {
            shared.idle.notify_waiters();
            shared.queued.notified().await;
            continue;
        };
        sender.send(envelope).await;
    }
}

struct Sender {
    url: String,
    client: Option<EventsClient>,
}

impl Sender {
    /// Sends it, or gives it up after the last try.
    async fn send(&mut self, envelope: Envelope) {
        let topic = envelope.topic.clone();
        let request =
            ForwardRequest { envelope: MessageField::some(envelope), ..ForwardRequest::default() };
        for tried in 1..=TRIES {
            match self.forward(&request).await {
                Ok(()) => return,
                Err(error) if tried == TRIES => {
                    log::error!("an event of {topic} is lost after {TRIES} tries: {error}");
                }
                Err(error) => {
                    log::warn!(
                        "an event of {topic} could not be sent, and will be tried again: {error}"
                    );
                    tokio::time::sleep(Duration::from_secs(tried.into())).await;
                }
            }
        }
    }

    async fn forward(&mut self, request: &ForwardRequest) -> ttrpc::Result<()> {
        // A connection of before may have been closed by a restart of containerd; then a new one is tried at once.
        if let Some(client) = &self.client {
            match attempt(client, request).await {
                Ok(()) => return Ok(()),
                Err(error @ ttrpc::Error::RpcStatus(_)) => return Err(error),
                Err(_) => self.client = None,
            }
        }
        let client = EventsClient::new(Client::connect(&self.url).await?);
        attempt(&client, request).await?;
        self.client = Some(client);
        Ok(())
    }
}

async fn attempt(client: &EventsClient, request: &ForwardRequest) -> ttrpc::Result<()> {
    let nanoseconds = i64::try_from(TIMEOUT.as_nanos()).unwrap_or(i64::MAX);
    let mut context = context::with_timeout(nanoseconds);
    if let Some(envelope) = request.envelope.as_ref() {
        context.add("containerd-namespace-ttrpc".to_owned(), envelope.namespace.clone());
    }
    client.forward(context, request).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use containerd_shim_protos::events::task::{TaskExit, TaskStart};
    use containerd_shim_protos::protobuf::well_known_types::empty::Empty;
    use containerd_shim_protos::shim_async::{Events, create_events};
    use ttrpc::asynchronous::{Server, TtrpcContext};

    use super::*;

    #[derive(Default)]
    struct Containerd {
        got: Mutex<Vec<(String, String, String, u32)>>,
        /// Requests that are refused before any is taken.
        refusals: Mutex<u32>,
    }

    #[async_trait::async_trait]
    impl Events for Containerd {
        async fn forward(
            &self,
            context: &TtrpcContext,
            request: ForwardRequest,
        ) -> ttrpc::Result<Empty> {
            {
                let mut refusals = self.refusals.lock().unwrap();
                if *refusals > 0 {
                    *refusals -= 1;
                    let status = ttrpc::get_status(ttrpc::Code::UNAVAILABLE, "not now");
                    return Err(ttrpc::Error::RpcStatus(status));
                }
            }
            let envelope = request.envelope.unwrap();
            let namespaces = &context.metadata["containerd-namespace-ttrpc"];
            assert_eq!(namespaces.join(","), envelope.namespace);
            let start = TaskStart::parse_from_bytes(&envelope.event.value).unwrap();
            self.got.lock().unwrap().push((
                envelope.topic.clone(),
                envelope.event.type_url.clone(),
                envelope.namespace.clone(),
                start.pid,
            ));
            Ok(Empty::new())
        }
    }

    async fn serve(socket: &Path, containerd: &Arc<Containerd>) -> Server {
        let _ = std::fs::remove_file(socket);
        let mut server = Server::new()
            .bind(&format!("unix://{}", socket.display()))
            .unwrap()
            .register_service(create_events(containerd.clone()));
        server.start().await.unwrap();
        server
    }

    fn start(pid: u32) -> TaskStart {
        TaskStart { pid, ..TaskStart::default() }
    }

    #[tokio::test]
    async fn order_is_kept_over_refusals_and_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("c.sock.ttrpc");
        let containerd = Arc::new(Containerd::default());
        *containerd.refusals.lock().unwrap() = 1;
        let mut server = serve(&socket, &containerd).await;
        let publisher = Publisher::new(Some(socket.display().to_string()), "k8s.io".to_owned());
        for pid in 1..=50 {
            publisher.publish("/tasks/start", start(pid));
        }
        publisher.drain(Duration::from_secs(20)).await;
        server.shutdown().await.unwrap();
        drop(server);
        for pid in 51..=60 {
            publisher.publish("/tasks/start", start(pid));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let _server = serve(&socket, &containerd).await;
        publisher.drain(Duration::from_secs(20)).await;
        let got = containerd.got.lock().unwrap();
        let pids: Vec<u32> = got.iter().map(|event| event.3).collect();
        assert_eq!(pids, (1..=60).collect::<Vec<_>>());
        assert_eq!(got[0].0, "/tasks/start");
        assert_eq!(got[0].1, "containerd.events.TaskStart");
        assert_eq!(got[0].2, "k8s.io");
    }

    #[tokio::test]
    async fn without_an_address_nothing_waits() {
        let publisher = Publisher::new(Some(String::new()), "n".to_owned());
        publisher.publish("/tasks/exit", TaskExit::default());
        publisher.drain(Duration::from_secs(60)).await;
    }

    #[tokio::test]
    async fn draining_ends_at_its_limit() {
        let publisher = Publisher::new(Some("/nonexistent/socket".to_owned()), "n".to_owned());
        publisher.publish("/tasks/exit", TaskExit::default());
        let before = tokio::time::Instant::now();
        publisher.drain(Duration::from_millis(100)).await;
        assert!(before.elapsed() < Duration::from_secs(3));
    }
}
