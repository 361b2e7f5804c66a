//! Damaged files. The start succeeds, everything that was not touched is served in order, and what cannot be read is logged.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use ipc::ingress_store::Ack;
use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::world::SETTINGS;
use crate::{
    counters::StoreCounters,
    mail::{
        Log, Settings,
        entry::Fact,
        pace::Pace,
        scan,
        segment::{BLOCK, SegmentNumber},
        shelf::{Shelf as _, memory::Memory},
    },
    mailbox::{MailBatch, PageLimit},
};

const SMALL: Settings = Settings { segment: 32 * 1024, most: 16 * 32 * 1024, ..SETTINGS };
const ALL: PageLimit = PageLimit { messages: usize::MAX, bytes: usize::MAX };
const BLOCK_LEN: usize = BLOCK as usize;

type Place = (ClientAddress, u64);

fn client(n: u8) -> ClientAddress {
    ClientAddress([n; 32])
}

/// A message that is alive, and where its body is.
#[derive(Clone, Debug)]
struct Stored {
    body: Bytes,
    file: String,
    at: usize,
    /// Where its frame begins, and ends.
    frame: (usize, usize),
}

/// The files of a log that was closed, and the messages in it.
struct Store {
    shelf: Memory,
    alive: BTreeMap<Place, Stored>,
    gone: BTreeSet<Place>,
}

fn open(shelf: &Memory) -> (Log<Memory>, Arc<StoreCounters>) {
    let counters = Arc::new(StoreCounters::default());
    (Log::open(shelf.clone(), SMALL, Arc::clone(&counters), 1).unwrap(), counters)
}

fn body(client: u8, number: u64) -> Bytes {
    let len = 200 + (usize::from(client) * 977 + usize::try_from(number).unwrap() * 631) % 1_500;
    (0..len).map(|at| (at as u8).wrapping_mul(31) ^ client ^ (number as u8)).collect::<Vec<_>>().into()
}

/// Three segments of mail. Some messages are removed.
fn store(is_clean: bool) -> Store {
    let shelf = Memory::of(1 << 30);
    let (log, _) = open(&shelf);
    let mut gone = BTreeSet::new();
    let mut next = [0_u64; 3];
    for step in 0..15_u8 {
        let mut batch = MailBatch::default();
        for owner in 0..3 {
            for _ in 0..=step % 2 {
                let number = &mut next[usize::from(owner)];
                batch.put(client(owner), Sequence(*number), body(owner, *number), Ack::Owed);
                *number += 1;
            }
        }
        log.commit(&batch, 7).unwrap();
        if step % 3 == 2 {
            let mut batch = MailBatch::default();
            let owner = step % 2;
            let place = (client(owner), u64::from(step) / 2);
            batch.remove(place.0, Sequence(place.1));
            gone.insert(place);
            log.commit(&batch, 7).unwrap();
        }
    }
    let mut alive = BTreeMap::new();
    {
        let index = log.index();
        for (slot, segment) in index.segments() {
            let mut at = BLOCK;
            while let Some((header, _)) = scan::read_head(segment.file.as_ref(), &segment.seal, at).unwrap() {
                let frame = (at as usize, (at + header.len()) as usize);
                for fact in scan::scan(segment.file.as_ref(), &segment.seal, segment.end).unwrap().facts {
                    let Fact::Put(put) = fact else { continue };
                    let offset = put.offset() as usize;
                    if index.lives_at(&put, slot) && frame.0 < offset && offset < frame.1 {
                        let owner = put.inbox.as_bytes()[0];
                        let (body, file) = (body(owner, put.number), segment.number.name());
                        alive.insert((put.inbox, put.number), Stored { body, file, at: offset, frame });
                    }
                }
                at += header.len();
            }
        }
    }
    assert_eq!(alive.len() + gone.len(), next.iter().sum::<u64>() as usize);
    if is_clean {
        log.close();
    }
    Store { shelf, alive, gone }
}

impl Store {
    fn files(&self) -> Vec<String> {
        let names = self.shelf.list().unwrap();
        let files = names.into_iter().filter(|name| self.alive.values().any(|stored| stored.file == *name));
        files.collect()
    }

    /// Opens the log after its files were changed. Messages for which `is_touched` holds may be missing; all others must be there.
    /// Returns which are unreadable, which are missing without a report, and how often damage was counted.
    fn check(
        &self,
        shelf: &Memory,
        what: &str,
        is_touched: impl Fn(&Stored) -> bool,
    ) -> (BTreeSet<Place>, BTreeSet<Place>, u64) {
        let (log, counters) = open(shelf);
        let mut unreadable = BTreeSet::new();
        let mut missing = BTreeSet::new();
        for owner in 0..3 {
            let page = log.peek(&client(owner), (Sequence(0), Sequence(u64::MAX)), ALL);
            assert!(page.messages.is_sorted_by(|a, b| a.0 < b.0), "{what}: out of order");
            unreadable.extend(page.unreadable.iter().map(|(number, _)| (client(owner), number.0)));
            let found: BTreeMap<_, _> = page.messages.into_iter().collect();
            for (place, stored) in self.alive.iter().filter(|((owned, _), _)| *owned == client(owner)) {
                match found.get(&Sequence(place.1)) {
                    Some(body) => assert_eq!(*body, stored.body, "{what}: {place:?} has another body"),
                    None => {
                        assert!(is_touched(stored), "{what}: {place:?} is not served");
                        if !unreadable.contains(place) {
                            missing.insert(*place);
                        }
                    }
                }
            }
            for number in found.keys() {
                let place = (client(owner), number.0);
                assert!(self.alive.contains_key(&place) || self.gone.contains(&place), "{what}: {place:?} is made up");
            }
        }
        // The log still takes new mail.
        let mut batch = MailBatch::default();
        let next = log.summary_of(&client(0)).next;
        batch.put(client(0), Sequence(next), body(0, 1), Ack::Owed);
        log.commit(&batch, 9).unwrap();
        let damaged = counters.mail_damaged.load(Ordering::Relaxed);
        (unreadable, missing, damaged)
    }

    /// No removed message has come back.
    fn check_gone(&self, shelf: &Memory, what: &str) {
        let (log, _) = open(shelf);
        for (client, number) in &self.gone {
            let page = log.peek(client, (Sequence(*number), Sequence(number + 1)), ALL);
            assert!(page.messages.is_empty() && page.unreadable.is_empty(), "{what}: {number} of {client} is back");
        }
    }
}

fn touches(stored: &Stored, file: &str, range: std::ops::Range<usize>) -> bool {
    stored.file == file && stored.at < range.end && range.start < stored.at + stored.body.len()
}

#[test]
fn any_damaged_byte_of_a_sealed_store_costs_one_body_at_most() {
    let store = store(true);
    for name in store.files() {
        let bytes = store.shelf.bytes(&name);
        for at in (0..bytes.len()).step_by(23) {
            let shelf = store.shelf.copy();
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            shelf.set_bytes(&name, &damaged);
            let what = format!("{name} at {at}");
            let (_, missing, _) = store.check(&shelf, &what, |stored| touches(stored, &name, at..at + 1));
            assert!(missing.is_empty(), "{what}: {missing:?} are missing without a word");
            if at % 5 == 0 {
                store.check_gone(&shelf, &what);
            }
        }
    }
}

#[test]
fn a_damaged_byte_of_an_unsealed_store_costs_one_frame() {
    let store = store(false);
    for name in store.files() {
        let bytes = store.shelf.bytes(&name);
        for at in (0..bytes.len()).step_by(37) {
            let shelf = store.shelf.copy();
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            shelf.set_bytes(&name, &damaged);
            let is_touched = |stored: &Stored| stored.file == name && stored.frame.0 <= at && at < stored.frame.1;
            let what = format!("{name} at {at}");
            let (_, missing, counted) = store.check(&shelf, &what, is_touched);
            // The last commit may be missing without a report: it could as well have been cut off.
            let last = store.alive.values().filter(|stored| stored.file == name).map(|stored| stored.frame.0).max();
            let is_last = |place: &Place| Some(store.alive[place].frame.0) == last;
            let is_said = counted > 0 || missing.iter().all(is_last);
            assert!(is_said, "{what}: {missing:?} are missing without a word");
        }
    }
}

#[test]
fn any_block_of_zeros_costs_its_bodies_at_most() {
    let store = store(true);
    for name in store.files() {
        let bytes = store.shelf.bytes(&name);
        for block in 0..bytes.len() / BLOCK_LEN {
            let shelf = store.shelf.copy();
            let range = block * BLOCK_LEN..(block + 1) * BLOCK_LEN;
            let mut damaged = bytes.clone();
            damaged[range.clone()].fill(0);
            shelf.set_bytes(&name, &damaged);
            let what = format!("block {block} of {name}");
            let (_, missing, _) = store.check(&shelf, &what, |stored| touches(stored, &name, range.clone()));
            assert!(missing.is_empty(), "{what}: {missing:?} are missing without a word");
            store.check_gone(&shelf, &what);
        }
    }
}

#[test]
fn swapped_blocks_cost_what_is_in_them_at_most() {
    let store = store(true);
    for name in store.files() {
        let bytes = store.shelf.bytes(&name);
        let blocks = bytes.len() / BLOCK_LEN;
        for (a, b) in (0..blocks).flat_map(|a| (a + 1..blocks).map(move |b| (a, b))) {
            let shelf = store.shelf.copy();
            let mut damaged = bytes.clone();
            let (front, back) = damaged.split_at_mut(b * BLOCK_LEN);
            front[a * BLOCK_LEN..(a + 1) * BLOCK_LEN].swap_with_slice(&mut back[..BLOCK_LEN]);
            shelf.set_bytes(&name, &damaged);
            let what = format!("blocks {a} and {b} of {name}");
            let range = |block: usize| block * BLOCK_LEN..(block + 1) * BLOCK_LEN;
            // One change may hit both a head and the index that repeats it.
            let loses_head = |stored: &Stored| {
                let head = stored.frame.0 / BLOCK_LEN;
                // Without the header, only the first head tells that the file is a segment.
                stored.file == name && (head == a || head == b || (a, b) == (0, 1))
            };
            let is_touched = |stored: &Stored| {
                touches(stored, &name, range(a)) || touches(stored, &name, range(b)) || loses_head(stored)
            };
            let (_, missing, counted) = store.check(&shelf, &what, is_touched);
            assert!(missing.is_empty() || counted > 0, "{what}: {missing:?} are missing without a word");
        }
    }
}

#[test]
fn a_file_that_was_cut_off_serves_what_is_left_of_it() {
    let store = store(true);
    for name in store.files() {
        let bytes = store.shelf.bytes(&name);
        for len in (0..bytes.len()).step_by(BLOCK_LEN / 2) {
            let shelf = store.shelf.copy();
            shelf.set_bytes(&name, &bytes[..len]);
            let what = format!("{len} bytes of {name}");
            let is_touched = |stored: &Stored| stored.file == name && (len < 3 * BLOCK_LEN || stored.frame.1 > len);
            let (_, _, counted) = store.check(&shelf, &what, is_touched);
            assert!(counted > 0, "{what}: it is not counted");
        }
    }
}

#[test]
fn a_file_under_another_number_is_kept_apart_and_not_read() {
    let store = store(true);
    for name in store.files() {
        for is_doubled in [false, true] {
            let shelf = store.shelf.copy();
            let other = SegmentNumber(77).name();
            shelf.set_bytes(&other, &store.shelf.bytes(&name));
            if !is_doubled {
                shelf.remove(&name).unwrap();
            }
            let what = format!("{name} as {other}, doubled: {is_doubled}");
            let (_, _, counted) = store.check(&shelf, &what, |stored| stored.file == name && !is_doubled);
            assert_eq!(counted, 1, "{what}");
            let names = shelf.list().unwrap();
            assert!(names.contains(&format!("{other}.damaged")) && !names.contains(&other), "{what}: {names:?}");
        }
    }
}

#[test]
fn two_files_with_each_others_names_are_kept_apart() {
    let store = store(true);
    let [a, b] = [&store.files()[0], &store.files()[1]];
    let shelf = store.shelf.copy();
    shelf.set_bytes(a, &store.shelf.bytes(b));
    shelf.set_bytes(b, &store.shelf.bytes(a));
    let (_, _, counted) = store.check(&shelf, "swapped", |stored| stored.file == *a || stored.file == *b);
    assert_eq!(counted, 2);
}

#[test]
fn a_frame_in_a_body_is_no_frame() {
    // A sender puts a frame of another segment into a message, at a block's boundary. The frame says that everything is gone.
    let other = Memory::of(1 << 30);
    let (log, _) = open(&other);
    let mut batch = MailBatch::default();
    for number in 0..20 {
        batch.put(client(1), Sequence(number), body(1, 1), Ack::Owed);
    }
    log.commit(&batch, 7).unwrap();
    let mut batch = MailBatch::default();
    batch.erase(client(1));
    log.commit(&batch, 7).unwrap();
    let name = SegmentNumber(1).name();
    let (frames, end) = {
        let index = log.index();
        (other.bytes(&name), index.segments().next().unwrap().1.end as usize)
    };
    let frame = &frames[end - BLOCK_LEN..end];
    assert_eq!(frame[..4], *b"frme");

    let shelf = Memory::of(1 << 30);
    let (log, _) = open(&shelf);
    // Head and entries of one message are 128 bytes.
    let hostile = [&vec![0; BLOCK_LEN - 128][..], frame].concat();
    let mut batch = MailBatch::default();
    batch.put(client(1), Sequence(0), hostile.clone().into(), Ack::Owed);
    log.commit(&batch, 7).unwrap();
    let mut batch = MailBatch::default();
    batch.put(client(1), Sequence(1), body(1, 1), Ack::Owed);
    log.commit(&batch, 7).unwrap();
    drop(log);
    let bytes = shelf.bytes(&name);
    assert_eq!(bytes[2 * BLOCK_LEN..3 * BLOCK_LEN], *frame, "the frame is at a block's boundary");
    // With a readable head in front of the message, and with a damaged one.
    for damage in [0, BLOCK_LEN + 20, 17] {
        let shelf = shelf.copy();
        let mut bytes = bytes.clone();
        bytes[damage] ^= 1;
        if damage == 0 {
            bytes[damage] ^= 1;
        }
        shelf.set_bytes(&name, &bytes);
        let (log, _) = open(&shelf);
        let page = log.peek(&client(1), (Sequence(0), Sequence(u64::MAX)), ALL);
        let numbers: Vec<_> = page.messages.iter().map(|(number, _)| number.0).collect();
        let expected: &[u64] = if damage > BLOCK_LEN { &[1] } else { &[0, 1] };
        assert_eq!(numbers, expected, "damage at {damage}");
        assert_eq!(page.messages.last().unwrap().1, body(1, 1));
    }
}

#[test]
fn a_file_that_is_used_again_shows_nothing_of_what_was_in_it() {
    let shelf = Memory::of(1 << 30);
    let (log, _) = open(&shelf);
    let put = |owner: u8, messages: u64| {
        let mut batch = MailBatch::default();
        let next = log.summary_of(&client(owner)).next;
        for number in next..next + messages {
            batch.put(client(owner), Sequence(number), body(owner, number), Ack::Owed);
        }
        log.commit(&batch, 7).unwrap();
    };
    for _ in 0..12 {
        put(1, 8);
    }
    let mut batch = MailBatch::default();
    batch.erase(client(1));
    log.commit(&batch, 7).unwrap();
    shelf.set_free(0);
    while log.clean_up(&mut Pace::unlimited()).unwrap() {}
    for _ in 0..8 {
        put(2, 1);
    }
    let used_again = {
        let index = log.index();
        let reused = index.segments().filter(|(_, segment)| {
            let bytes = shelf.bytes(&segment.number.name());
            bytes.get(segment.end as usize..segment.end as usize + 4) == Some(b"frme")
        });
        reused.map(|(_, segment)| segment.number.name()).collect::<Vec<_>>()
    };
    assert!(!used_again.is_empty(), "no file with old frames is in use");
    drop(log);
    for damage in [None, Some(20), Some(BLOCK_LEN + 50)] {
        let shelf = shelf.copy();
        for name in &used_again {
            let mut bytes = shelf.bytes(name);
            damage.into_iter().for_each(|at| bytes[at] ^= 1);
            shelf.set_bytes(name, &bytes);
        }
        let (log, _) = open(&shelf);
        assert_eq!(log.summary_of(&client(1)).messages, 0, "damage at {damage:?}");
        let page = log.peek(&client(2), (Sequence(0), Sequence(u64::MAX)), ALL);
        assert!(page.unreadable.is_empty());
        assert!(page.messages.iter().all(|(number, found)| *found == body(2, number.0)));
        assert!(damage.is_some_and(|at| at > BLOCK_LEN) || page.messages.len() == 8, "damage at {damage:?}");
    }
}
