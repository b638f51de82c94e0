//! The daemon: the task service on the socket that `start` bound and handed over.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use coaming_config::{Configuration, DocumentError};
use containerd_shim_protos::shim_async::create_task;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use ttrpc::asynchronous::transport::Listener;
use ttrpc::asynchronous::{Server, Service as Dispatch};

use crate::events::Publisher;
use crate::flags::Flags;
use crate::log;
use crate::service::{Service, Setup};
use crate::socket::Address;
use crate::sys;

/// One service under two names: their messages are the same on the wire.
const TASK_V2: &str = "containerd.task.v2.Task";
const TASK_V3: &str = "containerd.task.v3.Task";
/// Services that a containerd may look for and that this shim has not. To know their names makes the answer
/// UNIMPLEMENTED, on which containerd falls back, in place of INVALID_ARGUMENT.
const NOT_IMPLEMENTED: [&str; 2] =
    ["containerd.runtime.sandbox.v1.Sandbox", "containerd.services.streaming.v1.TTRPCStreaming"];
/// For events that are still on their way at the end.
const DRAIN: Duration = Duration::from_secs(5);
/// For the answer to Shutdown to be written before the connection goes.
const LAST_ANSWER: Duration = Duration::from_millis(20);
/// For calls that are still being answered.
const LAST_ANSWERS: Duration = Duration::from_millis(200);
/// For the first container to come. containerd creates it at once, or has given up and forgotten this shim.
const NOBODY_CAME: Duration = Duration::from_secs(300);
/// Threads of the runtime only wait in blocking system calls.
const STACK: usize = 256 << 10;

/// Why the daemon could not serve, or ended otherwise than in order.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error(transparent)]
    Configuration(#[from] DocumentError),
    #[error(
        "no listening socket was handed over as descriptor 3: {0}; this is a containerd shim, which \
         containerd runs with the verb \"start\""
    )]
    NoSocket(#[source] io::Error),
    #[error("preparing to serve: {what}: {error}")]
    Setup { what: &'static str, error: io::Error },
    #[error("serving: {0}")]
    Server(#[from] ttrpc::Error),
}

/// The wish that the daemon ends; cloned to whoever may have it.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown {
    address: Address,
    requested: watch::Sender<bool>,
}

impl Shutdown {
    /// For the daemon that listens there.
    pub(crate) fn new(address: Address) -> Self {
        Shutdown { address, requested: watch::Sender::new(false) }
    }

    /// Asks the daemon to end: the server stops, events are drained. The socket goes at once, once: whoever is told that
    /// the daemon ends may start another one for this group, and must not be led to this one.
    pub(crate) fn request(&self) {
        if self.requested.send_replace(true) {
            return;
        }
        if let Err(error) = self.address.remove() {
            log::warn!("{} could not be removed: {error}", self.address.url());
        }
    }

    /// Ends when it was requested.
    pub(crate) async fn requested(&self) {
        let _ = self.requested.subscribe().wait_for(|requested| *requested).await;
    }

    fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }
}

/// Serves until containerd or a signal ends it. The working directory is the bundle of the group's first container.
pub(crate) fn serve(flags: &Flags) -> Result<(), ServeError> {
    // First of all, so that nothing else is opened as descriptor 3.
    let listener = sys::inherited_listener().map_err(ServeError::NoSocket)?;
    let setup = |what| move |error: nix::Error| ServeError::Setup { what, error: error.into() };
    // Until the log is open, a failure is told where the log would be: nobody reads this process's standard error.
    let configuration = Configuration::load();
    let configured = configuration.as_ref().map(|c| c.shim.log_level).unwrap_or_default();
    let opened = log::open(log::level(configured, flags.debug), &flags.namespace);
    let result = (|| {
        let configuration = Arc::new(configuration?);
        if let Err(error) = opened {
            log::warn!("the bundle's log could not be opened: {error}");
        }
        // Processes of containers whose parent dies become children of this one, which learns how they end.
        nix::sys::prctl::set_child_subreaper(true).map_err(setup("becoming the reaper"))?;
        if let Err(errno) = sys::disable_huge_pages() {
            log::warn!("transparent huge pages could not be turned off for the shim: {errno}");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_stack_size(STACK)
            .build()
            .map_err(|error| ServeError::Setup { what: "making a runtime", error })?;
        let served = runtime.block_on(run(flags, configuration, listener));
        // A thread that hangs in a system call must not keep the process.
        runtime.shutdown_background();
        served
    })();
    if let Err(error) = &result {
        log::error!(id = &flags.id, "the shim ends: {error}");
    }
    result
}

async fn run(
    flags: &Flags,
    configuration: Arc<Configuration>,
    listener: std::os::unix::net::UnixListener,
) -> Result<(), ServeError> {
    let setup = |what| move |error: io::Error| ServeError::Setup { what, error };
    let address = Address::from(&listener);
    let mut terminated = signal(SignalKind::terminate()).map_err(setup("catching SIGTERM"))?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(setup("catching SIGINT"))?;
    // Its default would end the process; the Go shim answers it with a line in its log too.
    let mut asked = signal(SignalKind::user_defined1()).map_err(setup("catching SIGUSR1"))?;
    let shutdown = Shutdown::new(address.clone());
    let publisher = Publisher::new(std::env::var("TTRPC_ADDRESS").ok(), flags.namespace.clone());
    let service = Service::new(Setup {
        namespace: flags.namespace.clone(),
        publisher: publisher.clone(),
        configuration,
        shutdown: shutdown.clone(),
    })
    .map_err(setup("the task service"))?;

    listener.set_nonblocking(true).map_err(setup("the socket"))?;
    let listener = UnixListener::from_std(listener).map_err(setup("the socket"))?;
    let mut server =
        Server::new().add_listener(Listener::from(listener)).register_service(services(&service));
    server.start().await?;
    log::debug!(id = &flags.id, "serving on {}", address.url());

    let mut nobody_came = std::pin::pin!(tokio::time::sleep(NOBODY_CAME));
    let mut waits = true;
    loop {
        tokio::select! {
            () = &mut nobody_came, if waits => {
                waits = false;
                if !service.has_containers() {
                    log::warn!(id = &flags.id, "ending: no container was created");
                    shutdown.request();
                }
            }
            () = shutdown.requested() => {
                tokio::time::sleep(LAST_ANSWER).await;
                break;
            }
            _ = terminated.recv() => { log::info!(id = &flags.id, "ending: SIGTERM"); break; }
            _ = interrupted.recv() => { log::info!(id = &flags.id, "ending: SIGINT"); break; }
            _ = asked.recv() => {
                let has = if service.has_containers() { "has" } else { "has no" };
                log::info!(id = &flags.id, "the shim of this group runs and {has} containers");
            }
        }
    }

    // Before the socket is closed, so that a `start` of this group either reaches this daemon or finds nothing. With
    // containers left, containerd is still to learn that this daemon is gone; it is by what it dials.
    if !shutdown.is_requested() && !service.has_containers() {
        shutdown.request();
    }
    server.stop_listen().await;
    // Calls that wait for the end of a process would hold this up: they end with the connection.
    let _ = tokio::time::timeout(LAST_ANSWERS, server.disconnect()).await;
    publisher.drain(DRAIN).await;
    log::debug!(id = &flags.id, "ended");
    Ok(())
}

fn services(service: &Arc<Service>) -> HashMap<String, Dispatch> {
    let none = || Dispatch { methods: HashMap::new(), streams: HashMap::new() };
    let mut services: HashMap<String, Dispatch> =
        NOT_IMPLEMENTED.into_iter().map(|name| (name.to_owned(), none())).collect();
    for name in [TASK_V2, TASK_V3] {
        // What is made has one service, named as version 3.
        let made = create_task(service.clone()).into_values();
        services.extend(made.map(|dispatch| (name.to_owned(), dispatch)));
    }
    services
}
