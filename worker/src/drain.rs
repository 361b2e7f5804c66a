//! The order to drain, as every task of a worker sees it: the moment by which all work must be done.

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// Orders the drain.
#[derive(Debug)]
pub struct DrainOrder(watch::Sender<Option<Instant>>);

/// Watches for the order. A dropped [`DrainOrder`] counts as the order to end at once.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<Option<Instant>>);

/// An order that is still to be given, and its watcher.
pub fn channel() -> (DrainOrder, Drain) {
    let (order, drain) = watch::channel(None);
    (DrainOrder(order), Drain(drain))
}

impl DrainOrder {
    /// From now on nothing new is taken; what is in flight has until `deadline`.
    pub fn begin(&self, deadline: Instant) {
        self.0.send_replace(Some(deadline));
    }
}

impl Drain {
    /// Whether the drain was ordered. Cheap.
    pub fn has_begun(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }

    /// Waits until the drain is ordered.
    pub async fn begun(&self) {
        // An error means that the order was dropped.
        let _ = self.0.clone().wait_for(Option::is_some).await;
    }

    /// Waits until the drain was ordered and its deadline has passed.
    pub async fn over(&self) {
        let deadline = self.0.clone().wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
        if let Some(deadline) = deadline {
            sleep_until(deadline).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drain_begins_with_the_order_and_is_over_at_its_deadline() {
        let (order, drain) = channel();
        assert!(!drain.has_begun());
        let start = Instant::now();
        order.begin(start + Duration::from_secs(3));
        assert!(drain.has_begun());
        drain.begun().await;
        drain.over().await;
        assert_eq!(start.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test]
    async fn a_dropped_order_ends_at_once() {
        let (order, drain) = channel();
        drop(order);
        assert!(drain.has_begun());
        drain.begun().await;
        drain.over().await;
    }
}
