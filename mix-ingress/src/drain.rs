//! The order to drain, as every task sees it: the moment by which all work must be done.

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// Orders the drain.
pub(crate) struct DrainOrder(watch::Sender<Option<Instant>>);

/// Watches for the order. A dropped [`DrainOrder`] counts as the order to end at once.
#[derive(Clone)]
pub(crate) struct Drain(watch::Receiver<Option<Instant>>);

/// An order that is still to be given, and its watcher.
pub(crate) fn channel() -> (DrainOrder, Drain) {
    let (order, drain) = watch::channel(None);
    (DrainOrder(order), Drain(drain))
}

impl DrainOrder {
    /// From now on nothing new is taken; what is in flight has until `deadline`.
    pub(crate) fn begin(&self, deadline: Instant) {
        self.0.send_replace(Some(deadline));
    }
}

impl Drain {
    /// Whether the drain was ordered. Cheap.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }

    /// Waits until the drain is ordered.
    pub(crate) async fn begun(&self) {
        // An error means that the order was dropped.
        let _ = self.0.clone().wait_for(Option::is_some).await;
    }

    /// Waits until the drain was ordered and its deadline has passed.
    pub(crate) async fn over(&self) {
        let deadline = self.0.clone().wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
        if let Some(deadline) = deadline {
            sleep_until(deadline).await;
        }
    }
}
