//! The pages: one for each worker, and one for the supervisor.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use ipc::Role;

use crate::{
    Figure, Figures as _, Kind, client_edge, http_api, mix_egress, mix_ingress,
    number::{HISTOGRAM_SLOTS, STRIDE},
    store, supervisor,
};

/// A page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Of a worker.
    Worker(Role),
    /// Of the supervisor.
    Supervisor,
}

impl Page {
    /// Every page, in one order everywhere.
    pub const ALL: [Self; 6] = [
        Self::Supervisor,
        Self::Worker(Role::MixIngress),
        Self::Worker(Role::MixEgress),
        Self::Worker(Role::ClientEdge),
        Self::Worker(Role::Store),
        Self::Worker(Role::HttpApi),
    ];

    /// Its figures, in the order of their places.
    pub const fn table(self) -> &'static [Figure] {
        match self {
            Self::Worker(Role::MixIngress) => mix_ingress::Counters::TABLE,
            Self::Worker(Role::MixEgress) => mix_egress::EgressCounters::TABLE,
            Self::Worker(Role::ClientEdge) => client_edge::Counters::TABLE,
            Self::Worker(Role::Store) => store::StoreCounters::TABLE,
            Self::Worker(Role::HttpApi) => http_api::HttpCounters::TABLE,
            Self::Supervisor => supervisor::SupervisorFigures::TABLE,
        }
    }

    /// The name of its process, as it stands in names of metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Worker(Role::MixIngress) => "mix_ingress",
            Self::Worker(Role::MixEgress) => "mix_egress",
            Self::Worker(Role::ClientEdge) => "client_edge",
            Self::Worker(Role::Store) => "store",
            Self::Worker(Role::HttpApi) => "http_api",
            Self::Supervisor => "supervisor",
        }
    }

    /// How many numbers it has that mean something.
    pub fn slots(self) -> usize {
        self.table().iter().map(Figure::slots).sum()
    }

    /// Bytes of memory for it.
    pub fn bytes(self) -> usize {
        self.slots() * STRIDE * size_of::<u64>()
    }
}

/// A number that differs between versions whose pages have other figures.
pub fn layout() -> u64 {
    let mut hasher = DefaultHasher::new();
    for page in Page::ALL {
        for figure in page.table() {
            (page.name(), figure.field, figure.slots()).hash(&mut hasher);
        }
    }
    hasher.finish()
}

impl Figure {
    /// Numbers that it takes in a page.
    pub const fn slots(&self) -> usize {
        match self.kind {
            Kind::Counter | Kind::Gauge => 1,
            Kind::Histogram => HISTOGRAM_SLOTS,
        }
    }
}

/// What was read of a page: its numbers in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    page: Page,
    values: Vec<u64>,
}

impl Reading {
    /// Reads a page, of which `value` gives the numbers by their place. What is missing counts as zero.
    pub fn take(page: Page, value: impl Fn(usize) -> Option<u64>) -> Self {
        let values = (0..page.slots()).map(|slot| value(slot * STRIDE).unwrap_or(0)).collect();
        Self { page, values }
    }

    /// The numbers of a page, in their order. `None` if there are not as many as the page has: they are of another version.
    pub fn of_values(page: Page, values: Vec<u64>) -> Option<Self> {
        (values.len() == page.slots()).then_some(Self { page, values })
    }

    /// The page.
    pub const fn page(&self) -> Page {
        self.page
    }

    /// The numbers in their order.
    pub fn values(&self) -> &[u64] {
        &self.values
    }

    /// Each figure with its numbers, of which only a histogram has more than one.
    pub fn figures(&self) -> impl Iterator<Item = (&'static Figure, &[u64])> {
        let mut rest = self.values.as_slice();
        self.page.table().iter().map_while(move |figure| {
            let (numbers, others) = rest.split_at_checked(figure.slots())?;
            rest = others;
            Some((figure, numbers))
        })
    }

    /// The number of a counter or gauge by the name of its field; zero if there is none of that name.
    pub fn value(&self, field: &str) -> u64 {
        let of_field = |(figure, numbers): (&Figure, &[u64])| (figure.field == field).then(|| numbers.first().copied());
        self.figures().find_map(of_field).flatten().unwrap_or(0)
    }

    /// The sum of several.
    pub fn sum(&self, fields: &[&str]) -> u64 {
        fields.iter().fold(0, |sum, field| sum.saturating_add(self.value(field)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_counts_is_what_readers_name() {
        use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
        let page = Page::Worker(Role::MixEgress);
        let memory: &'static [AtomicU64] = Vec::leak((0..page.bytes() / 8).map(|_| AtomicU64::new(0)).collect());
        let counters = mix_egress::EgressCounters::in_page(memory).unwrap();
        counters.packets_sent.fetch_add(7, Relaxed);
        counters.queued_memory.fetch_add(9, Relaxed);
        let read = Reading::take(page, |place| Some(memory.get(place)?.load(Relaxed)));
        assert_eq!((read.value("packets_sent"), read.value("queued_memory")), (7, 9));
        assert_eq!(read.sum(&["packets_sent", "queued_memory", "loop_turns"]), 16);
        assert_eq!(Reading::of_values(page, read.values().to_vec()), Some(read.clone()));
        assert_eq!(Reading::of_values(page, vec![0; 3]), None);
        assert!(mix_egress::EgressCounters::in_page(&memory[1..]).is_err());
    }

    #[test]
    fn no_field_and_no_family_with_its_label_is_there_twice() {
        for page in Page::ALL {
            let mut fields: Vec<_> = page.table().iter().map(|figure| figure.field).collect();
            let mut shown: Vec<_> = page.table().iter().map(|figure| (figure.family, figure.label)).collect();
            let all = fields.len();
            fields.sort_unstable();
            fields.dedup();
            shown.sort_unstable();
            shown.dedup();
            assert_eq!((fields.len(), shown.len()), (all, all), "{page:?}");
        }
    }
}
