//! A log on a shelf in memory, for tests that look at its parts.

use std::sync::Arc;

use ipc::ingress_store::Ack;
use rand::{SeedableRng as _, rngs::StdRng};
use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::world::SETTINGS;
use crate::{
    counters::StoreCounters,
    mail::{
        Log,
        index::State,
        pace::Pace,
        segment::Slot,
        shelf::memory::{End, Memory},
        victim::Need,
    },
    mailbox::{MailBatch, PageLimit},
};

pub(super) const ALL: PageLimit = PageLimit { messages: usize::MAX, bytes: usize::MAX };
pub(super) const CLIENT: ClientAddress = ClientAddress([1; 32]);
pub(super) const OTHER: ClientAddress = ClientAddress([2; 32]);

/// One of many clients, in the order of the numbers.
pub(super) fn client(number: u16) -> ClientAddress {
    let mut client = ClientAddress([3; 32]);
    client.0[..2].copy_from_slice(&number.to_be_bytes());
    client
}

pub(super) fn open(shelf: &Memory) -> Log<Memory> {
    Log::open(shelf.clone(), SETTINGS, Arc::new(StoreCounters::default()), 1).unwrap()
}

/// Puts messages with these numbers.
pub(super) fn put(log: &Log<Memory>, client: ClientAddress, numbers: impl IntoIterator<Item = u64>, len: usize) {
    let mut batch = MailBatch::default();
    for number in numbers {
        batch.put(client, Sequence(number), vec![number as u8; len].into(), Ack::Owed);
    }
    log.commit(&batch, 7).unwrap();
}

pub(super) fn remove(log: &Log<Memory>, client: ClientAddress, numbers: impl IntoIterator<Item = u64>) {
    let mut batch = MailBatch::default();
    for number in numbers {
        batch.remove(client, Sequence(number));
    }
    log.commit(&batch, 7).unwrap();
}

pub(super) fn numbers(log: &Log<Memory>, client: ClientAddress) -> Vec<u64> {
    let page = log.peek(&client, (Sequence(0), Sequence(u64::MAX)), ALL);
    assert!(page.unreadable.is_empty());
    page.messages.iter().map(|(number, _)| number.0).collect()
}

/// The segment that is open for commits is closed.
pub(super) fn close_writer(log: &Log<Memory>) -> Slot {
    let slot = log.writer.lock().unwrap().close().unwrap();
    log.index_mut().segment_mut(slot).unwrap().state = State::Closed;
    slot
}

pub(super) fn close_copier(log: &Log<Memory>) {
    let slot = log.copier.lock().unwrap().close().unwrap();
    log.index_mut().segment_mut(slot).unwrap().state = State::Closed;
}

/// The segment that is open for commits is full, and sealed by the cleaning: no start doubts it.
pub(super) fn seal_writer(log: &Log<Memory>) -> Slot {
    let slot = log.writer.lock().unwrap().close().unwrap();
    log.are_full(vec![slot]);
    assert!(log.clean_up(&mut Pace::unlimited()).unwrap());
    slot
}

/// Has the cleaning do its chores until it holds both spares, so that commits may fill a segment wholly.
pub(super) fn make_spares(log: &Log<Memory>) {
    while log.spares.is_wanting() {
        assert!(log.clean_up(&mut Pace::unlimited()).unwrap());
    }
}

pub(super) fn clean(log: &Log<Memory>, slot: Slot) {
    assert!(log.clean(slot, Need::Room, &mut Pace::unlimited()).unwrap());
}

/// The next process, after a kill.
pub(super) fn kill(log: Log<Memory>, shelf: &Memory) -> Log<Memory> {
    drop(log);
    shelf.end(End::Kill, &mut StdRng::seed_from_u64(1));
    open(shelf)
}
