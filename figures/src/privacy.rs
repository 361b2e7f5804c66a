//! What is shown to others than the operator: coarse numbers of a whole minute.
//!
//! *Promises*: every number that clients can change is rounded down, so that what one client does is hidden among what as many others might have
//! done. That holds for memory and descriptors of the processes, too: each connection takes some. It is so however many clients are
//! there: numbers that became exact with the eighth client would tell when it comes, and counters would fall when it leaves.

use crate::{Figure, Kind, Page, Reading, Unit};

/// Counts are rounded to steps of so many.
pub const STEP: u64 = 8;
/// Bytes of a step: those of so many packets of the usual size.
const BYTES: u64 = STEP * 2_048;
/// Seconds of a step.
const SECONDS: u64 = STEP * 60;

/// What may be shown of all pages, read at one moment.
pub fn publish(readings: Vec<Reading>) -> Vec<Reading> {
    readings.into_iter().map(coarse).collect()
}

fn coarse(reading: Reading) -> Reading {
    let page = reading.page();
    let rounded = reading
        .figures()
        .flat_map(|(figure, numbers)| if is_exact(page, figure) { numbers.to_vec() } else { round(figure, numbers) })
        .collect();
    Reading::of_values(page, rounded).unwrap_or(reading)
}

/// Whether a number says nothing of what clients do: the state of the gateway and its limits. Rounded, they would mean nothing.
fn is_exact(page: Page, figure: &Figure) -> bool {
    match page {
        Page::Supervisor => !matches!(figure.family, "worker_resident_memory" | "worker_descriptors"),
        Page::Worker(_) => figure.field == "storage_trouble" || figure.field.ends_with("_limit"),
    }
}

fn round(figure: &Figure, numbers: &[u64]) -> Vec<u64> {
    let to = |step: u64| move |value: &u64| value - value % step;
    match (figure.kind, figure.unit) {
        (Kind::Histogram, _) => {
            let last = numbers.len().saturating_sub(1);
            numbers
                .iter()
                .enumerate()
                .map(|(place, value)| if place == last { to(SECONDS * 1_000_000)(value) } else { to(STEP)(value) })
                .collect()
        }
        (_, Unit::None) => numbers.iter().map(to(STEP)).collect(),
        (_, Unit::Bytes) => numbers.iter().map(to(BYTES)).collect(),
        (_, Unit::Seconds) => numbers.iter().map(to(SECONDS)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;
    use crate::{exposition::open_metrics, store::StoreCounters, supervisor::SupervisorFigures};
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

    /// Who got what is not shown: only how much all clients together got.
    #[test]
    fn who_got_what_is_not_shown() {
        let (one, other) = (World::new(), World::new());
        for messages in [100, 0, 0, 0, 0, 0, 0, 0, 7] {
            one.client_gets(messages);
        }
        for messages in [12, 12, 11, 12, 12, 12, 12, 12, 12] {
            other.client_gets(messages);
        }
        assert_eq!(one.shown(), other.shown());
        assert!(one.shown().contains("gatewayd_store_delivered_total 104\n"), "{}", one.shown());
    }

    #[test]
    fn numbers_go_in_steps_of_eight() {
        let (one, other) = (World::new(), World::new());
        one.client_gets(9);
        (0..7).for_each(|_| other.client_gets(2));
        assert_eq!(one.shown(), other.shown());
        assert!(one.shown().contains("gatewayd_store_delivered_total 8\n"), "{}", one.shown());
        // The eighth changes nothing but what reaches the next step, and nothing falls when it leaves.
        other.client_gets(0);
        assert!(other.shown().contains("gatewayd_store_delivered_total 8\n"), "{}", other.shown());
    }

    #[test]
    fn a_state_is_exact_and_a_process_is_coarse() {
        let page = page(Page::Supervisor);
        let supervisor = SupervisorFigures::in_page(page).unwrap();
        let world = World::new();
        supervisor.ready_store.store(1, Relaxed);
        supervisor.descriptors_client_edge.store(21, Relaxed);
        supervisor.resident_client_edge.store(BYTES + 4_096, Relaxed);
        world.store.0.storage_trouble.store(2, Relaxed);
        world.store.0.pushed_memory_limit.store(1_001, Relaxed);
        let read = Reading::take(Page::Supervisor, |place| Some(page.get(place)?.load(Relaxed)));
        let text = open_metrics(&publish(vec![read])) + &world.shown();
        for line in [
            "gatewayd_worker_ready{worker=\"store\"} 1",
            "gatewayd_worker_descriptors{worker=\"client-edge\"} 16",
            "gatewayd_worker_resident_memory_bytes{worker=\"client-edge\"} 16384",
            "gatewayd_store_storage_trouble 2",
            "gatewayd_store_pushed_memory_limit_bytes 1001",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
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
