//! Sums that have to come out even: what came has ended in a way that is counted, or is still held.
//!
//! The process that holds something counts how much it holds apart from how it ends, so that an end that nobody counted shows. A process
//! that dies holds nothing any more; its successor counts as lost what had not ended.
//!
//! Nobody sees how much is on the way between two processes. But a link is taken from at once, so what was sent [`ON_THE_WAY`] ago has
//! been taken, or is lost with a link of which an end died. `mix-egress` learns how much is lost when the next link begins.
//!
//! *Promises*: a process that dies, or is stopped for less time than it takes to be replaced, leaves no sum off.

#[cfg(test)]
mod tests;

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use ipc::Role;

use crate::{
    Page, Reading, client_edge, mix_egress, mix_ingress,
    number::PageTooShort,
    store::{self, StoreCounters},
};

const INGRESS: Page = Page::Worker(Role::MixIngress);
const EGRESS: Page = Page::Worker(Role::MixEgress);
const EDGE: Page = Page::Worker(Role::ClientEdge);
const STORE: Page = Page::Worker(Role::Store);

/// A message is on the way between two processes for less time than this while both live. Each of them is replaced when it stands still
/// for a little more than a minute.
pub const ON_THE_WAY: Duration = Duration::from_secs(180);

/// A sum over figures.
#[derive(Debug)]
pub struct Balance {
    /// What it is about, as it stands in `gatewayd_balance_off`.
    pub name: &'static str,
    came: Fields,
    ended: &'static [Fields],
    held: Held,
}

/// Counters of one page.
#[derive(Clone, Copy, Debug)]
struct Fields(Page, &'static [&'static str]);

/// What has not ended.
#[derive(Clone, Copy, Debug)]
enum Held {
    /// As much as this gauge shows.
    Shown(Page, &'static str),
    /// What has come within [`ON_THE_WAY`].
    OnTheWay,
    /// Nobody knows how much. Only that no more ended than came is sure.
    Unknown,
}

/// The packets that `mix-ingress` received: accepted, dropped, or in flight.
const RECEIVED: Balance = Balance {
    name: "received",
    came: Fields(INGRESS, &["packets_received"]),
    ended: &[Fields(INGRESS, &mix_ingress::ACCEPTED), Fields(INGRESS, &mix_ingress::DROPPED)],
    held: Held::Shown(INGRESS, "packets_in_flight"),
};

/// The messages that `mix-ingress` delivered to `store`: accepted, refused, or neither yet.
const DELIVERED: Balance = Balance {
    name: "delivered",
    came: Fields(STORE, &["messages_delivered"]),
    ended: &[Fields(STORE, &store::ACCEPTED), Fields(STORE, &store::REFUSED)],
    held: Held::Shown(STORE, "messages_pending"),
};

/// The messages that `mix-ingress` takes for accepted: `store` has accepted them. It may have accepted more, of which a death kept
/// `mix-ingress` from hearing; these were delivered again, or lost with `mix-ingress`.
const ACCEPTED: Balance = Balance {
    name: "accepted",
    came: Fields(STORE, &store::ACCEPTED),
    ended: &[Fields(INGRESS, &mix_ingress::ACCEPTED)],
    held: Held::Unknown,
};

/// The SURB-acks that `mix-ingress` owed: sent to `mix-egress`, lost, or waiting for the link.
const ACKS: Balance = Balance {
    name: "acks",
    came: Fields(INGRESS, &["acks_paid"]),
    ended: &[Fields(INGRESS, &["acks_sent"]), Fields(INGRESS, &mix_ingress::ACKS_LOST)],
    held: Held::Shown(INGRESS, "acks_waiting"),
};

/// The SURB-acks that `mix-ingress` sent to `mix-egress`: taken, lost with a link, or on the way.
const ACKS_ON_LINK: Balance = Balance {
    name: "acks_on_link",
    came: Fields(INGRESS, &["acks_sent"]),
    ended: &[Fields(EGRESS, &["acks_taken", "acks_lost_on_link"])],
    held: Held::OnTheWay,
};

/// The packets of clients that `client-edge` took: sent to `mix-egress`, lost, or waiting for the link.
const CLIENTS_PACKETS: Balance = Balance {
    name: "clients_packets",
    came: Fields(EDGE, &["packets_forwarded"]),
    ended: &[Fields(EDGE, &["packets_sent"]), Fields(EDGE, &client_edge::PACKETS_LOST)],
    held: Held::Shown(EDGE, "packets_waiting"),
};

/// The packets of clients that `client-edge` sent to `mix-egress`: taken, lost with a link, or on the way.
const CLIENTS_PACKETS_ON_LINK: Balance = Balance {
    name: "clients_packets_on_link",
    came: Fields(EDGE, &["packets_sent"]),
    ended: &[Fields(EGRESS, &["clients_packets_taken", "clients_packets_lost_on_link"])],
    held: Held::OnTheWay,
};

/// The packets that `mix-egress` took: sent, dropped, or waiting.
const FORWARDED: Balance = Balance {
    name: "forwarded",
    came: Fields(EGRESS, &mix_egress::TAKEN),
    ended: &[Fields(EGRESS, &["packets_sent"]), Fields(EGRESS, &mix_egress::DROPPED)],
    held: Held::Shown(EGRESS, "packets_waiting"),
};

/// All of them, in the order in which a packet meets them.
pub const ALL: [&Balance; 8] =
    [&RECEIVED, &DELIVERED, &ACCEPTED, &ACKS, &ACKS_ON_LINK, &CLIENTS_PACKETS, &CLIENTS_PACKETS_ON_LINK, &FORWARDED];

/// What pages show, read one right after the other. What a missing page would show counts as zero.
#[derive(Clone, Debug, Default)]
pub struct Snapshot(Vec<Reading>);

impl Snapshot {
    /// Of these readings.
    pub const fn of(readings: Vec<Reading>) -> Self {
        Self(readings)
    }

    fn page(&self, page: Page) -> Option<&Reading> {
        self.0.iter().find(|reading| reading.page() == page)
    }

    fn sum(&self, Fields(page, fields): Fields) -> u64 {
        self.page(page).map_or(0, |reading| reading.sum(fields))
    }
}

impl Balance {
    fn all_ended(&self, snapshot: &Snapshot) -> u64 {
        self.ended.iter().fold(0, |sum, fields| sum.saturating_add(snapshot.sum(*fields)))
    }

    /// How far the sum is off at least. The pages are read twice, one snapshot right after the other, because numbers change meanwhile:
    /// the sum is even if any values between the two make it so. `earlier` was taken [`ON_THE_WAY`] ago or earlier, or is empty.
    pub fn off(&self, earlier: &Snapshot, [first, second]: &[Snapshot; 2]) -> u64 {
        let signed = |number: u64| i128::from(number);
        let ended = [first, second].map(|snapshot| signed(self.all_ended(snapshot)));
        let came = [first, second].map(|snapshot| signed(snapshot.sum(self.came)));
        let (missing, least_held) = match self.held {
            Held::Shown(page, gauge) => {
                let held = |snapshot: &Snapshot| snapshot.page(page).map_or(0, |reading| reading.value(gauge));
                let mut held = [first, second].map(|snapshot| signed(held(snapshot)));
                held.sort_unstable();
                (came[0] - ended[1] - held[1], held[0])
            }
            Held::OnTheWay => (signed(earlier.sum(self.came)) - ended[1], 0),
            Held::Unknown => (0, 0),
        };
        let too_many = ended[0] + least_held - came[1];
        u64::try_from(missing.max(too_many).max(0)).unwrap_or(u64::MAX)
    }

    /// What the process of a page that ended left without an end.
    fn left_by(&self, page: Page, memory: &[AtomicU64]) -> u64 {
        let found = Snapshot::of(vec![Reading::take(page, |place| Some(memory.get(place)?.load(Relaxed)))]);
        found.sum(self.came).saturating_sub(self.all_ended(&found))
    }
}

impl mix_ingress::Counters {
    /// The figures of a new process in its page. What an earlier one held when it died is counted as lost.
    ///
    /// # Errors
    /// If the page is too short.
    pub fn take_up(page: &'static [AtomicU64]) -> Result<Self, PageTooShort> {
        let [packets, acks] = [RECEIVED, ACKS].map(|sum| sum.left_by(INGRESS, page));
        let figures = Self::in_page(page)?;
        figures.packets_lost_at_death.fetch_add(packets, Relaxed);
        figures.acks_lost_at_death.fetch_add(acks, Relaxed);
        Ok(figures)
    }
}

impl mix_egress::EgressCounters {
    /// The figures of a new process in its page. What an earlier one held when it died is counted as lost.
    ///
    /// # Errors
    /// If the page is too short.
    pub fn take_up(page: &'static [AtomicU64]) -> Result<Self, PageTooShort> {
        let packets = FORWARDED.left_by(EGRESS, page);
        let figures = Self::in_page(page)?;
        figures.packets_lost_at_death.fetch_add(packets, Relaxed);
        Ok(figures)
    }
}

impl client_edge::Counters {
    /// The figures of a new process in its page. What an earlier one held when it died is counted as lost.
    ///
    /// # Errors
    /// If the page is too short.
    pub fn take_up(page: &'static [AtomicU64]) -> Result<Self, PageTooShort> {
        let packets = CLIENTS_PACKETS.left_by(EDGE, page);
        let figures = Self::in_page(page)?;
        figures.packets_lost_at_death.fetch_add(packets, Relaxed);
        Ok(figures)
    }
}

impl StoreCounters {
    /// The figures of a new process in its page. What an earlier one had neither accepted nor refused is counted as lost.
    ///
    /// # Errors
    /// If the page is too short.
    pub fn take_up(page: &'static [AtomicU64]) -> Result<Self, PageTooShort> {
        let messages = DELIVERED.left_by(STORE, page);
        let figures = Self::in_page(page)?;
        figures.messages_lost_at_death.fetch_add(messages, Relaxed);
        Ok(figures)
    }
}
