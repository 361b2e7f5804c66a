//! What is shown to others than the operator: numbers of a whole minute, and coarse ones while few clients are there.
//!
//! *Promises*: while fewer than [`FEW`] clients are logged in, every number that clients can change is rounded down, so that what one
//! client does is hidden among what as many others might have done.

use crate::{Figure, Kind, Page, Reading, Unit, client_edge::ATTACHED};

/// With fewer clients than this numbers are rounded to steps of so many.
pub const FEW: u64 = 8;
/// Bytes of a step: those of so many packets of the usual size.
const BYTES: u64 = FEW * 2_048;
/// Seconds of a step.
const SECONDS: u64 = FEW * 60;

/// What may be shown of all pages, read at one moment.
pub fn publish(readings: Vec<Reading>) -> Vec<Reading> {
    let attached = |reading: &Reading| reading.sum(&ATTACHED);
    let clients: u64 = readings.iter().map(attached).fold(0, u64::saturating_add);
    if clients >= FEW { readings } else { readings.into_iter().map(coarse).collect() }
}

fn coarse(reading: Reading) -> Reading {
    // The supervisor counts no client's doing.
    if reading.page() == Page::Supervisor {
        return reading;
    }
    let rounded = reading.figures().flat_map(|(figure, numbers)| round(figure, numbers)).collect();
    Reading::of_values(reading.page(), rounded).unwrap_or(reading)
}

fn round(figure: &Figure, numbers: &[u64]) -> Vec<u64> {
    let to = |step: u64| move |value: &u64| value - value % step;
    match (figure.kind, figure.unit) {
        (Kind::Histogram, _) => {
            let last = numbers.len().saturating_sub(1);
            numbers
                .iter()
                .enumerate()
                .map(|(place, value)| if place == last { to(SECONDS * 1_000_000)(value) } else { to(FEW)(value) })
                .collect()
        }
        (_, Unit::None) => numbers.iter().map(to(FEW)).collect(),
        (_, Unit::Bytes) => numbers.iter().map(to(BYTES)).collect(),
        (_, Unit::Seconds) => numbers.iter().map(to(SECONDS)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;
    use crate::{exposition::open_metrics, store::StoreCounters};
    use ipc::Role;

    /// A world of its own: pages, and what its clients have done to them.
    struct World {
        edge: (crate::client_edge::Counters, &'static [AtomicU64]),
        store: (StoreCounters, &'static [AtomicU64]),
    }

    fn page(page: Page) -> &'static [AtomicU64] {
        Vec::leak((0..page.bytes() / 8).map(|_| AtomicU64::new(0)).collect())
    }

    const EDGE: Page = Page::Worker(Role::ClientEdge);
    const STORE: Page = Page::Worker(Role::Store);

    impl World {
        fn new() -> Self {
            let (edge, store) = (page(EDGE), page(STORE));
            let edge = (crate::client_edge::Counters::in_page(edge).unwrap(), edge);
            Self { edge, store: (StoreCounters::in_page(store).unwrap(), store) }
        }

        /// One client logs in and gets so many messages.
        fn client_gets(&self, messages: u64) {
            self.edge.0.authentications.fetch_add(1, Relaxed);
            self.edge.0.attached_2024.fetch_add(1, Relaxed);
            self.edge.0.messages_pushed.fetch_add(messages, Relaxed);
            self.store.0.delivered.fetch_add(messages, Relaxed);
        }

        fn shown(&self) -> String {
            let read = |page, memory: &[AtomicU64]| Reading::take(page, |place| Some(memory.get(place)?.load(Relaxed)));
            open_metrics(&publish(vec![read(EDGE, self.edge.1), read(STORE, self.store.1)]))
        }
    }

    /// Who got what is not shown: only how much all clients together got in the minute.
    #[test]
    fn two_worlds_same_metrics() {
        let (one, other) = (World::new(), World::new());
        for messages in [100, 0, 0, 0, 0, 0, 0, 0, 7] {
            one.client_gets(messages);
        }
        for messages in [12, 12, 11, 12, 12, 12, 12, 12, 12] {
            other.client_gets(messages);
        }
        assert_eq!(one.shown(), other.shown());
        assert!(one.shown().contains("gatewayd_store_delivered_total 107\n"), "{}", one.shown());
    }

    #[test]
    fn with_few_clients_numbers_go_in_steps_of_eight() {
        let (one, other) = (World::new(), World::new());
        one.client_gets(9);
        (0..7).for_each(|_| other.client_gets(2));
        assert_eq!(one.shown(), other.shown());
        assert!(one.shown().contains("gatewayd_store_delivered_total 8\n"), "{}", one.shown());
        other.client_gets(0);
        assert!(other.shown().contains("gatewayd_store_delivered_total 14\n"), "{}", other.shown());
    }

    #[test]
    fn a_coarse_histogram_is_still_one() {
        let world = World::new();
        (0..20).for_each(|_| world.store.0.mail_commit_time.observe(std::time::Duration::from_millis(3)));
        let text = world.shown();
        assert!(text.contains("gatewayd_store_mail_commit_time_seconds_bucket{le=\"0.005\"} 16\n"), "{text}");
        assert!(text.contains("gatewayd_store_mail_commit_time_seconds_count 16\n"), "{text}");
    }
}
