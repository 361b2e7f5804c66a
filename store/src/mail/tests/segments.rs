//! Segments: their spares, copies, indexes and limits.

use std::sync::{Arc, atomic::Ordering};

use ipc::ingress_store::Ack;
use session_ipc::Sequence;

use super::{
    log::{ALL, CLIENT, OTHER, clean, close_writer, kill, numbers, open, put, remove},
    world::SETTINGS,
};
use crate::{
    counters::StoreCounters,
    mail::{
        Log,
        index::{MAX_SEGMENTS, Segment, State},
        pace::Pace,
        recover::LEAP,
        segment::{BLOCK, Seal, SegmentId, SegmentNumber},
        shelf::{Shelf as _, memory::Memory},
        victim::Need,
    },
    mailbox::{MailBatch, MailboxError},
};

#[test]
fn commits_never_take_the_spare_of_the_copies() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, [0], 100);
    while log.clean_up(&mut Pace::unlimited()).unwrap() {}
    assert_eq!(log.spares.count(), 2);
    shelf.set_free(0);
    let mut number = 1;
    let refused = loop {
        let mut batch = MailBatch::default();
        batch.put(CLIENT, Sequence(number), vec![1; 3_000].into(), Ack::Owed);
        let put = crate::mail::entry::Put::new(CLIENT, Sequence(number), 7, Ack::Owed, &[1; 3_000]);
        let facts = [(crate::mail::entry::Fact::Put(put), &[1; 3_000][..])];
        let mut writer = log.writer.lock().unwrap();
        match log.write(&mut writer, &facts, 7) {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
        assert!(number < 100);
    };
    assert!(matches!(refused, MailboxError::File { .. }), "{refused}");
    assert_eq!(log.spares.count(), 1, "the copies have theirs");
    // The segment is empty now, so cleaning gives its room back.
    remove(&log, CLIENT, 0..number);
    while log.clean_up(&mut Pace::unlimited()).unwrap() {}
    assert_eq!(log.spares.count(), 2);
}

#[test]
fn a_copy_of_what_was_removed_meanwhile_is_dead() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, 0..2, 100);
    let slot = close_writer(&log);
    let puts: Vec<_> = {
        let index = log.index();
        let inbox = index.inbox(&CLIENT).unwrap();
        inbox.messages().map(|(number, message)| (slot, inbox.put(CLIENT, number, message))).collect()
    };
    // The client fetches the message after it was chosen for a copy.
    remove(&log, CLIENT, [0]);
    log.copy(&mut log.copier.lock().unwrap(), &puts, 7).unwrap();
    assert_eq!(numbers(&log, CLIENT), [1]);
    assert_eq!(log.index().dead(&CLIENT), 3, "the first twice, and where the second was");
    assert_eq!(numbers(&kill(log, &shelf), CLIENT), [1]);
}

#[test]
fn a_segment_with_a_message_that_cannot_be_read_stays() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, 0..3, 1_000);
    let slot = close_writer(&log);
    let name = log.index().segment(slot).unwrap().number.name();
    let at = {
        let index = log.index();
        let inbox = index.inbox(&CLIENT).unwrap();
        inbox.put(CLIENT, 1, inbox.get(1).unwrap()).offset() as usize
    };
    shelf.flip(&name, at);
    clean(&log, slot);
    assert_eq!(log.index().segment(slot).unwrap().state, State::Unreadable);
    assert!(shelf.list().unwrap().contains(&name));
    let page = log.peek(&CLIENT, (Sequence(0), Sequence(9)), ALL);
    assert_eq!((page.messages.len(), page.unreadable), (2, vec![(Sequence(1), 1_000)]));
    // Once the core has set the record aside, the segment is removed and the bytes are kept.
    let mut batch = MailBatch::default();
    batch.set_aside(CLIENT, Sequence(1));
    log.commit(&batch, 7).unwrap();
    assert_eq!(log.counters.mail_unreadable.load(Ordering::Relaxed), 1);
    assert_eq!(log.victim(Need::Order), Some(slot));
    clean(&log, slot);
    let names = shelf.list().unwrap();
    assert!(!names.contains(&name) && names.iter().any(|name| name.ends_with(".aside")), "{names:?}");
}

#[test]
fn a_segment_that_is_damaged_gets_no_index() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, [0], 100);
    put(&log, CLIENT, [1], 100);
    put(&log, CLIENT, [2], 100);
    let name = SegmentNumber(1).name();
    // Damage in the last head, and in an earlier one.
    for block in [3, 2] {
        let shelf = shelf.copy();
        let counters = Arc::new(StoreCounters::default());
        let log = Log::open(shelf.clone(), SETTINGS, counters, 1).unwrap();
        put(&log, OTHER, [LEAP], 100);
        put(&log, OTHER, [LEAP + 1], 100);
        put(&log, OTHER, [LEAP + 2], 100);
        let slot = close_writer(&log);
        let open = log.index().segment(slot).unwrap().number.name();
        shelf.flip(&open, block * BLOCK as usize + 20);
        log.seal(slot).unwrap();
        drop(log);
        let counters = Arc::new(StoreCounters::default());
        let log = Log::open(shelf.clone(), SETTINGS, Arc::clone(&counters), 1).unwrap();
        assert!(log.was_unclean);
        assert!(block == 3 || counters.mail_damaged.load(Ordering::Relaxed) > 0);
    }
    assert!(shelf.list().unwrap().contains(&name));
}

#[test]
fn a_start_removes_only_segments_in_which_nothing_is_alive() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, [0], 100);
    put(&log, CLIENT, [1], 100);
    let name = SegmentNumber(1).name();
    // The second message is in doubt and is copied. The first is not, and stays where it is.
    let log = kill(log, &shelf);
    assert!(shelf.list().unwrap().contains(&name));
    remove(&log, CLIENT, [0]);
    let log = kill(log, &shelf);
    assert!(!shelf.list().unwrap().contains(&name));
    assert_eq!(numbers(&log, CLIENT), [1]);
}

#[test]
fn with_as_many_segments_as_there_can_be_nothing_breaks() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, [0], 100);
    shelf.set_bytes("x", &[0; 3 * BLOCK as usize]);
    let file = Arc::new(shelf.open("x").unwrap());
    let id = SegmentId::random();
    log.index_mut().fill(|| Segment {
        number: SegmentNumber(1_000_000),
        seal: Seal::new(id, SegmentNumber(1_000_000)),
        file: Arc::clone(&file),
        len: 0,
        end: BLOCK,
        state: State::Open,
        alive: 0,
        messages: 0,
        kept: 0,
        made: u64::MAX,
        unproved: Vec::new(),
    });
    assert_eq!(log.index().segments().count(), MAX_SEGMENTS);
    let files = shelf.list().unwrap().len();
    let mut number = 1;
    let error = loop {
        let mut batch = MailBatch::default();
        batch.put(CLIENT, Sequence(number), vec![1; 4_000].into(), Ack::Owed);
        match log.commit(&batch, 7) {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("too many segments"), "{error}");
    assert!(log.commit(&MailBatch::default(), 7).is_ok());
    assert_eq!(shelf.list().unwrap().len(), files, "no file is made that nobody can use");
    assert_eq!(numbers(&log, CLIENT).len() as u64, number);
}
