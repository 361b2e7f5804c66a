//! The log at its limit, on a disk that others have filled: removals give room back, and they need nothing of the file system.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use ipc::ingress_store::Ack;
use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::world::SETTINGS;
use crate::{
    counters::StoreCounters,
    mail::{
        Log, Settings,
        capacity::Space,
        index::{GONE_WEIGHT, State},
        message::weight,
        pace::Pace,
        shelf::{Shelf as _, memory::Memory},
    },
    mailbox::{Lack, MailBatch, MailboxError},
};

const SEGMENT: u64 = 256 * 1024;
const SEGMENTS: u64 = 12;
const LIMIT: Settings = Settings { segment: SEGMENT, most: SEGMENTS * SEGMENT, ..SETTINGS };
const BODY: usize = 3_000;
/// Cleaning must be finished after so many steps.
const PATIENCE: usize = 200;

fn client(n: u16) -> ClientAddress {
    let mut address = [0; 32];
    address[..2].copy_from_slice(&n.to_le_bytes());
    ClientAddress(address)
}

struct Full {
    log: Log<Memory>,
    shelf: Memory,
    counters: Arc<StoreCounters>,
    alive: BTreeMap<(ClientAddress, u64), usize>,
    inboxes: u16,
}

impl Full {
    fn new(settings: Settings, inboxes: u16) -> Self {
        let shelf = Memory::of(1 << 40);
        let counters = Arc::new(StoreCounters::default());
        let log = Log::open(shelf.clone(), settings, Arc::clone(&counters), 1).unwrap();
        Self { log, shelf, counters, alive: BTreeMap::new(), inboxes }
    }

    /// Puts messages into all inboxes in turn until there is no room. Returns how many.
    fn fill(&mut self, len: usize, each: usize) -> usize {
        let mut messages = 0;
        loop {
            for owner in 0..self.inboxes {
                let mut batch = MailBatch::default();
                let next = self.log.summary_of(&client(owner)).next;
                for number in next..next + each as u64 {
                    batch.put(client(owner), Sequence(number), vec![owner as u8; len].into(), Ack::Owed);
                }
                match self.log.commit(&batch, 7) {
                    Ok(()) => {}
                    Err(MailboxError::NoRoom(Lack::Mail { .. } | Lack::Disk { .. })) => return messages,
                    Err(error) => panic!("message {messages}: {error}"),
                }
                for (client, number) in batch.puts() {
                    self.alive.insert((client, number.0), len);
                }
                messages += each;
                self.clean();
            }
        }
    }

    /// Does what the thread that cleans would do.
    fn clean(&self) {
        for _ in 0..PATIENCE {
            if !self.log.clean_up(&mut Pace::unlimited()).unwrap() {
                return;
            }
        }
        panic!("cleaning comes to no end");
    }

    fn remove(&mut self, places: &[(ClientAddress, u64)]) {
        let mut batch = MailBatch::default();
        for (client, number) in places {
            batch.remove(*client, Sequence(*number));
            self.alive.remove(&(*client, *number));
        }
        self.log.commit(&batch, 7).unwrap();
    }

    /// From now on the file system has no room.
    fn fill_disk(&self) {
        self.shelf.set_free(0);
    }

    fn check(&self) {
        for owner in 0..self.inboxes {
            let own = self.alive.range((client(owner), 0)..=(client(owner), u64::MAX));
            let (mut messages, mut bytes) = (0, 0);
            own.for_each(|(_, len)| (messages, bytes) = (messages + 1, bytes + *len as u64));
            let summary = self.log.summary_of(&client(owner));
            assert_eq!((summary.messages, summary.bytes), (messages, bytes));
        }
        assert!(self.log.files() <= self.log.settings.most, "{} bytes of files", self.log.files());
    }
}

/// Fills the log, removes all messages in this order, one for each commit, and fills the log again. The disk is full all the time.
fn drain(inboxes: u16, order: impl Fn(&[(ClientAddress, u64)]) -> Vec<(ClientAddress, u64)>) {
    let mut full = Full::new(LIMIT, inboxes);
    let first = full.fill(BODY, 1);
    let capacity = LIMIT.capacity(&Space { alive: 0, files: LIMIT.most, free: 0 });
    let most = (capacity - u64::from(inboxes) * GONE_WEIGHT) / weight(BODY as u32);
    assert!(first as u64 >= most - u64::from(inboxes), "{first} and not {most} messages were taken");
    full.fill_disk();
    full.check();
    let all: Vec<_> = full.alive.keys().copied().collect();
    for place in order(&all) {
        full.remove(&[place]);
        full.clean();
    }
    full.check();
    assert!(full.alive.is_empty());
    let second = full.fill(BODY, 1);
    assert!(second + usize::from(inboxes) >= first, "{second} messages and not {first} fit the second time");
    full.check();
}

#[test]
fn a_full_store_on_a_full_disk_empties_and_fills_again() {
    drain(3, <[_]>::to_vec);
}

#[test]
fn every_second_message_goes_on_a_full_disk() {
    drain(7, |all| {
        let (even, odd): (Vec<_>, Vec<_>) = all.iter().partition(|(_, number)| number % 2 == 0);
        even.into_iter().chain(odd).collect()
    });
}

#[test]
fn the_latest_go_first_on_a_full_disk() {
    drain(5, |all| all.iter().rev().copied().collect());
}

#[test]
fn a_message_kept_alive_in_each_segment_holds_no_room() {
    let mut full = Full::new(LIMIT, 3);
    let first = full.fill(BODY, 1);
    full.fill_disk();
    for _ in 0..4 {
        let mut kept = BTreeMap::new();
        {
            let index = full.log.index();
            for (client, inbox) in index.inboxes_from(..) {
                for (number, message) in inbox.messages() {
                    kept.insert(message.spot().slot, (*client, number));
                }
            }
        }
        let gone: Vec<_> =
            full.alive.keys().filter(|place| !kept.values().any(|kept| kept == *place)).copied().collect();
        for gone in gone.chunks(20) {
            full.remove(gone);
            full.clean();
        }
        let again = full.fill(BODY, 1);
        assert!(again + kept.len() + 3 >= first, "{again} messages, {} kept, {first} at first", kept.len());
        full.check();
    }
}

#[test]
fn removals_in_the_middle_of_many_inboxes_come_to_an_end() {
    const INBOXES: u16 = 250;
    let mut full = Full::new(Settings { most: 64 * SEGMENT, ..LIMIT }, INBOXES);
    for owner in 0..INBOXES {
        let mut batch = MailBatch::default();
        for number in 0..129 {
            batch.put(client(owner), Sequence(number), vec![1; 100].into(), Ack::Owed);
            full.alive.insert((client(owner), number), 100);
        }
        full.log.commit(&batch, 7).unwrap();
        full.clean();
    }
    full.fill_disk();
    // The order goes over all inboxes, so that no fact can be united with its neighbour.
    for number in (1..129).step_by(2) {
        let places: Vec<_> = (0..INBOXES).map(|owner| (client(owner), number)).collect();
        full.remove(&places);
        full.clean();
    }
    full.check();
    let copied = full.counters.mail_copied.load(Ordering::Relaxed);
    let all = u64::from(INBOXES) * 129 * weight(100);
    assert!(copied < 3 * all, "{copied} bytes were copied of {all}");
    // Once all messages are gone, no facts about them are needed.
    for owner in 0..INBOXES {
        let mut batch = MailBatch::default();
        batch.erase(client(owner));
        full.log.commit(&batch, 7).unwrap();
        full.clean();
    }
    full.alive.clear();
    let space = Space { alive: 0, files: full.log.files(), free: full.shelf.free().unwrap() };
    let capacity = full.log.settings.capacity(&space);
    let messages = full.fill(BODY, 1);
    full.check();
    let taken = messages as u64 * weight(BODY as u32) + 2 * u64::from(INBOXES) * GONE_WEIGHT;
    assert!(taken >= 9 * capacity / 10, "{messages} messages fit where {capacity} bytes do");
}

#[test]
fn removals_are_taken_at_the_limit_without_a_spare() {
    // No cleaning happens in this test.
    let mut full = Full::new(LIMIT, 2);
    let mut next = [0_u64; 2];
    'full: loop {
        for owner in 0..2_u16 {
            let mut batch = MailBatch::default();
            let number = next[usize::from(owner)];
            batch.put(client(owner), Sequence(number), vec![1; 60_000].into(), Ack::Owed);
            if full.log.commit(&batch, 7).is_err() {
                break 'full;
            }
            full.alive.insert((client(owner), number), 60_000);
            next[usize::from(owner)] += 1;
        }
    }
    // Removals fill the open segment more than once.
    for _ in 0..150 {
        let mut batch = MailBatch::default();
        let place = full.alive.keys().next().copied();
        let (owner, number) = place.unwrap_or((client(0), next[0] - 1));
        batch.remove(owner, Sequence(number));
        full.log.commit(&batch, 7).unwrap();
        full.alive.remove(&(owner, number));
    }
    full.clean();
    full.check();
}

#[test]
fn removals_go_into_what_is_left_when_the_disk_is_full() {
    let full = Full::new(LIMIT, 1);
    full.fill_disk();
    full.shelf.set_free(SEGMENT);
    let mut number = 0;
    let error = loop {
        let mut batch = MailBatch::default();
        batch.put(client(0), Sequence(number), vec![1; 30_000].into(), Ack::Owed);
        full.shelf.set_free(if number == 0 { SEGMENT } else { 0 });
        // As if the free space had not been asked for yet.
        let put = crate::mail::entry::Put::new(client(0), Sequence(number), 7, Ack::Owed, &[1; 30_000]);
        let facts = [(crate::mail::entry::Fact::Put(put), &[1; 30_000][..])];
        let mut writer = full.log.writer.lock().unwrap();
        if let Err(error) = full.log.write(&mut writer, &facts, 7) {
            break error;
        }
        number += 1;
    };
    assert!(number > 2, "{error}");
    let mut batch = MailBatch::default();
    batch.remove(client(0), Sequence(0));
    full.log.commit(&batch, 7).unwrap();
    assert_eq!(full.log.summary_of(&client(0)).messages, number - 1);
}

#[test]
fn segments_that_cannot_be_cleaned_count_as_full() {
    let mut full = Full::new(LIMIT, 1);
    full.fill(BODY, 1);
    let before = full.log.index().occupied();
    let places: Vec<_> = full.alive.keys().copied().collect();
    full.remove(&places[..places.len() / 2]);
    let after = full.log.index().occupied();
    assert!(after < before / 2 + before / 10);
    let slot = full.log.index().segments().find(|(_, segment)| segment.state == State::Closed).unwrap().0;
    full.log.index_mut().segment_mut(slot).unwrap().state = State::Unreadable;
    assert!(full.log.index().occupied() > after + SEGMENT / 2);
}

/// A small message takes little more room than the fact that it is gone, and here each removal needs a fact of its own.
#[test]
fn every_second_small_message_gives_its_room_back() {
    for (len, inboxes) in [(21, 1), (100, 7)] {
        let mut full = Full::new(LIMIT, inboxes);
        full.fill(len, 64);
        full.fill_disk();
        for turn in 0..3 {
            let all: Vec<_> = full.alive.keys().copied().collect();
            let gone: Vec<_> = all.iter().skip(turn % 2).step_by(2).copied().collect();
            for place in &gone {
                full.remove(&[*place]);
                full.clean();
            }
            full.check();
            let again = full.fill(len, 64);
            let rounding = usize::from(inboxes) * 64;
            assert!(again + rounding >= gone.len(), "turn {turn}: {again} of {} fit again", gone.len());
            full.check();
        }
    }
}
