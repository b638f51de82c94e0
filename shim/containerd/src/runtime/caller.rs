//! Whoever waits for an answer, and may stop waiting.
//!
//! ttrpc drops a handler when its deadline has passed or its connection is gone. What it was doing must be undone all the
//! same, so it goes on in a task of its own, and the runtime's call is ended, as containerd's shim does through Go's
//! context.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Tells whether the answer is still waited for.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// A client that is connected, and whose deadline has not passed.
    Client(watch::Receiver<()>),
    /// The shim itself, which waits until then.
    Shim(Instant),
}

impl Caller {
    /// The shim itself, which waits this long and no longer.
    pub(crate) fn shim(patience: Duration) -> Caller {
        Caller::Shim(Instant::now() + patience)
    }

    /// Ends when the answer is no longer waited for.
    pub(crate) async fn gone(&mut self) {
        match self {
            // Nothing is ever sent: an error means that the sender was dropped.
            Caller::Client(waiting) => while waiting.changed().await.is_ok() {},
            Caller::Shim(until) => sleep_until(*until).await,
        }
    }
}

/// Runs the work to its end in a task of its own, also when this future is dropped; the work is told. `None` when the
/// task was torn down with the runtime.
pub(crate) async fn answer<W, F, T>(work: W) -> Option<T>
where
    W: FnOnce(Caller) -> F,
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let (waiting, gone) = watch::channel(());
    let result = tokio::spawn(work(Caller::Client(gone))).await;
    drop(waiting);
    result.ok()
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn work_goes_on_and_is_told_when_nobody_waits() {
        let (done, is_done) = oneshot::channel();
        let request = answer(|mut caller| async move {
            caller.gone().await;
            done.send("undone").unwrap();
        });
        assert!(timeout(Duration::from_millis(20), request).await.is_err());
        assert_eq!(is_done.await.unwrap(), "undone");
        assert_eq!(answer(|_| async { 7 }).await, Some(7));
    }
}
