//! The end of the worker's life, as every task sees it: first none, then a moment by which all must be done.

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// Orders the end.
pub(crate) struct DrainOrder(watch::Sender<Option<Instant>>);

/// Watches for the end. That nobody is left to order it is an order too: at once.
#[derive(Clone)]
pub(crate) struct Drain(watch::Receiver<Option<Instant>>);

/// An order, and what watches for it.
pub(crate) fn channel() -> (DrainOrder, Drain) {
    let (order, drain) = watch::channel(None);
    (DrainOrder(order), Drain(drain))
}

impl DrainOrder {
    /// Nothing new is taken from now on; what is in flight has until `deadline`.
    pub(crate) fn begin(&self, deadline: Instant) {
        self.0.send_replace(Some(deadline));
    }
}

impl Drain {
    /// Whether the end was ordered. Cheap.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }

    /// Waits until the end is ordered, as long as the worker lives.
    pub(crate) async fn begun(&self) {
        // An error means that nobody is left to order it.
        let _ = self.0.clone().wait_for(Option::is_some).await;
    }

    /// Waits until the time for what is in flight is over.
    pub(crate) async fn over(&self) {
        let deadline = self.0.clone().wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
        if let Some(deadline) = deadline {
            sleep_until(deadline).await;
        }
    }
}
