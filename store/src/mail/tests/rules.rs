//! The rules on which the log rests, each by its name.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use ipc::ingress_store::Ack;
use nix::errno::Errno;
use rand::{SeedableRng as _, rngs::StdRng};
use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::world::SETTINGS;
use crate::{
    counters::StoreCounters,
    mail::{
        Log, TakenOver,
        index::{MAX_SEGMENTS, Segment, State},
        pace::Pace,
        recover::LEAP,
        segment::{BLOCK, Seal, SegmentId, SegmentNumber, Slot},
        shelf::{
            Shelf as _,
            memory::{End, Fault, Memory},
        },
        victim::Need,
    },
    mailbox::{MailBatch, MailboxError, PageLimit},
};

const ALL: PageLimit = PageLimit { messages: usize::MAX, bytes: usize::MAX };
const CLIENT: ClientAddress = ClientAddress([1; 32]);
const OTHER: ClientAddress = ClientAddress([2; 32]);

fn open(shelf: &Memory) -> Log<Memory> {
    Log::open(shelf.clone(), SETTINGS, Arc::new(StoreCounters::default()), 1).unwrap()
}

/// Puts messages with these numbers.
fn put(log: &Log<Memory>, client: ClientAddress, numbers: impl IntoIterator<Item = u64>, len: usize) {
    let mut batch = MailBatch::default();
    for number in numbers {
        batch.put(client, Sequence(number), vec![number as u8; len].into(), Ack::Owed);
    }
    log.commit(&batch, 7).unwrap();
}

fn remove(log: &Log<Memory>, client: ClientAddress, numbers: impl IntoIterator<Item = u64>) {
    let mut batch = MailBatch::default();
    for number in numbers {
        batch.remove(client, Sequence(number));
    }
    log.commit(&batch, 7).unwrap();
}

fn numbers(log: &Log<Memory>, client: ClientAddress) -> Vec<u64> {
    let page = log.peek(&client, (Sequence(0), Sequence(u64::MAX)), ALL);
    assert!(page.unreadable.is_empty());
    page.messages.iter().map(|(number, _)| number.0).collect()
}

/// The segment that is open for commits is closed.
fn close_writer(log: &Log<Memory>) -> Slot {
    let slot = log.writer.lock().unwrap().close().unwrap();
    log.index_mut().segment_mut(slot).unwrap().state = State::Closed;
    slot
}

fn close_copier(log: &Log<Memory>) {
    let slot = log.copier.lock().unwrap().close().unwrap();
    log.index_mut().segment_mut(slot).unwrap().state = State::Closed;
}

fn clean(log: &Log<Memory>, slot: Slot) {
    assert!(log.clean(slot, Need::Room, &mut Pace::unlimited()).unwrap());
}

/// The next process, after a kill.
fn kill(log: Log<Memory>, shelf: &Memory) -> Log<Memory> {
    drop(log);
    shelf.end(End::Kill, &mut StdRng::seed_from_u64(1));
    open(shelf)
}

#[test]
fn a_gone_fact_stays_while_any_file_holds_what_it_covers() {
    // What is known as number 82 of bitcask: the tombstone went with its file, the older file with the record was still there,
    // and the record was back after the next start.
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, 0..3, 1_000);
    put(&log, OTHER, 0..20, 1_000);
    let older = close_writer(&log);
    remove(&log, CLIENT, 0..2);
    put(&log, OTHER, 20..22, 1_000);
    let with_gone = close_writer(&log);
    clean(&log, with_gone);
    let log = kill(log, &shelf);
    assert_eq!(numbers(&log, CLIENT), [2], "they are gone, and the older file holds them still");
    // And again, when the fact has been copied once.
    close_copier(&log);
    let mut copies: Vec<_> = log.index().segments().filter(|(slot, _)| *slot != older).map(|(slot, _)| slot).collect();
    copies.retain(|slot| log.index().segment(*slot).is_some_and(|segment| segment.state != State::Open));
    for slot in copies {
        if log.index().segment(slot).is_some_and(|segment| segment.number > SegmentNumber(1)) {
            clean(&log, slot);
        }
    }
    let log = kill(log, &shelf);
    assert_eq!(numbers(&log, CLIENT), [2]);
}

#[test]
fn a_gone_fact_goes_when_no_file_holds_what_it_covers() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, 0..3, 1_000);
    remove(&log, CLIENT, 0..3);
    assert_eq!(log.index().dead(&CLIENT), 3);
    let slot = close_writer(&log);
    clean(&log, slot);
    assert!(log.index().inbox(&CLIENT).is_none());
    assert_eq!(log.index().segments().count(), 0);
}

#[test]
fn dead_counts_fall_only_when_the_file_is_gone_for_good() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, 0..3, 1_000);
    let older = close_writer(&log);
    remove(&log, CLIENT, 0..3);
    let before = shelf.calls();
    // The directory's sync fails, whichever it is.
    shelf.plan(2, Fault::Fails(Errno::EIO));
    assert!(log.clean(older, Need::Room, &mut Pace::unlimited()).is_err());
    assert!(shelf.calls() >= before + 2);
    assert_eq!(log.index().dead(&CLIENT), 3, "the file may be back after a power cut");
}

#[test]
fn a_victim_that_is_back_after_a_power_cut_brings_nothing_back() {
    // Names that were not synced when the power went may be as before, each on its own.
    for seed in 0..60 {
        let shelf = Memory::of(1 << 30);
        let log = open(&shelf);
        put(&log, CLIENT, 0..8, 3_000);
        let older = close_writer(&log);
        remove(&log, CLIENT, 0..7);
        let with_gone = close_writer(&log);
        for at in 1..14 {
            let shelf = shelf.copy();
            let log = open(&shelf);
            shelf.plan(at, Fault::Dies);
            let _ = log.clean(older, Need::Room, &mut Pace::unlimited());
            let _ = log.clean(with_gone, Need::Room, &mut Pace::unlimited());
            drop(log);
            shelf.end(End::Power, &mut StdRng::seed_from_u64(seed));
            assert_eq!(numbers(&open(&shelf), CLIENT), [7], "call {at}, seed {seed}");
        }
    }
}

#[test]
fn no_number_of_an_inbox_is_used_twice() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, [4, 9], 100);
    for number in [0, 4, 5, 9] {
        let mut batch = MailBatch::default();
        batch.put(CLIENT, Sequence(number), Bytes::from_static(b"another"), Ack::Owed);
        let error = log.commit(&batch, 7).unwrap_err();
        assert!(matches!(error, MailboxError::OutOfOrder { number: refused, .. } if refused == number));
    }
    remove(&log, CLIENT, [4, 9]);
    assert_eq!(log.summary_of(&CLIENT).next, 10);
    let log = kill(log, &shelf);
    assert!(log.summary_of(&CLIENT).next >= 10);
}

#[test]
fn a_number_is_spent_by_a_write_that_fails() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, [0], 100);
    let mut batch = MailBatch::default();
    batch.put(CLIENT, Sequence(1), vec![1; 100].into(), Ack::Owed);
    shelf.plan(2, Fault::Fails(Errno::ENOSPC));
    assert!(log.commit(&batch, 7).is_err());
    assert_eq!((log.summary_of(&CLIENT).next, log.summary_of(&CLIENT).messages), (2, 1));
    assert_eq!(log.index().dead(&CLIENT), 1, "it may be in the file");
    // Its removal is written though nobody knows such a message: after a kill it may be there.
    remove(&log, CLIENT, [1]);
    let log = kill(log, &shelf);
    assert_eq!(numbers(&log, CLIENT), [0]);
}

#[test]
fn an_unknown_inbox_begins_behind_all_that_were_forgotten() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, 0..5, 100);
    remove(&log, CLIENT, 0..5);
    let slot = close_writer(&log);
    clean(&log, slot);
    assert!(log.index().inbox(&CLIENT).is_none());
    assert_eq!(log.summary_of(&CLIENT).next, 5);
    assert_eq!(log.summary_of(&OTHER).next, 5);
    // So it is after a start, for an inbox of which a file says only what is gone.
    put(&log, OTHER, 5..9, 100);
    let older = close_writer(&log);
    remove(&log, OTHER, 5..9);
    clean(&log, older);
    let log = kill(log, &shelf);
    assert!(log.index().inbox(&OTHER).is_none());
    assert_eq!((log.summary_of(&CLIENT).next, log.summary_of(&OTHER).next), (9, 9));
}

#[test]
fn after_an_unclean_end_every_number_leaps() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, 0..5, 100);
    let log = kill(log, &shelf);
    assert!(log.was_unclean);
    log.index_mut().leap(LEAP);
    assert_eq!(log.summary_of(&CLIENT).next, 5 + LEAP);
    assert!(log.summary_of(&OTHER).next >= LEAP);
    log.close();
    drop(log);
    assert!(!open(&shelf).was_unclean, "a clean end leaves nothing in doubt");
}

#[test]
fn what_is_in_doubt_is_written_anew_before_anything_is_served() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, 0..2, 100);
    let log = kill(log, &shelf);
    assert_eq!(log.counters.mail_written_twice.load(Ordering::Relaxed), 1);
    drop(log);
    shelf.end(End::Power, &mut StdRng::seed_from_u64(3));
    assert_eq!(numbers(&open(&shelf), CLIENT), [0, 1]);
}

#[test]
fn a_gateway_that_dies_at_every_start_does_not_fill_the_disk() {
    let shelf = Memory::of(1 << 30);
    let mut log = open(&shelf);
    put(&log, CLIENT, 0..2, 100);
    put(&log, OTHER, 0..2, 100);
    remove(&log, OTHER, 0..1);
    let mut most = 0;
    for start in 0..30 {
        log = kill(log, &shelf);
        let files = shelf.list().unwrap().len();
        if start < 5 {
            most = most.max(files);
        }
        assert!(files <= most, "{files} files at start {start}, {most} before");
        assert_eq!((numbers(&log, CLIENT), numbers(&log, OTHER)), (vec![0, 1], vec![1]));
    }
}

#[test]
fn a_file_that_failed_is_never_written_again() {
    for fault in [Fault::Fails(Errno::EIO), Fault::Reverts] {
        for at in 1..=2 {
            let shelf = Memory::of(1 << 30);
            let log = open(&shelf);
            put(&log, CLIENT, [0], 100);
            shelf.plan(at, fault);
            put(&log, CLIENT, [1], 100);
            assert_eq!(numbers(&log, CLIENT), [0, 1], "the second file has it");
            let failed = log.index().segments().find(|(_, segment)| segment.state == State::Failed).unwrap().0;
            let calls = shelf.trace().len();
            put(&log, CLIENT, [2], 100);
            clean(&log, failed);
            // The first file of the shelf has the number 0.
            let trace = shelf.trace().split_off(calls).join("\n");
            assert!(!trace.contains("write 0 ") && !trace.contains("sync 0"), "{trace}");
            assert!(!trace.contains("rename"), "it becomes no spare: {trace}");
            assert_eq!(numbers(&kill(log, &shelf), CLIENT), [0, 1, 2]);
        }
    }
}

#[test]
fn nothing_is_written_over_what_was_acknowledged() {
    // Each frame begins a block of its own, so a torn write cannot touch the one before.
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    let mut end = 0;
    for number in 0..6 {
        let calls = shelf.trace().len();
        put(&log, CLIENT, [number], 100);
        for call in shelf.trace().split_off(calls) {
            let Some(at) = call.strip_prefix("write 0 ").and_then(|call| call.split('+').next()) else { continue };
            let at: u64 = at.parse().unwrap();
            assert!(at >= end && at.is_multiple_of(BLOCK), "{call}");
            end = (at / BLOCK + if at == 0 { 2 } else { 1 }) * BLOCK;
        }
    }
}

#[test]
fn a_commit_returns_behind_the_sync_of_all_its_writes() {
    for len in [10, 3_000, 60_000] {
        let shelf = Memory::of(1 << 30);
        let log = open(&shelf);
        for number in 0..3 {
            let before = shelf.trace().len();
            put(&log, CLIENT, number * 4..number * 4 + 4, len / 4);
            let trace = shelf.trace().split_off(before);
            let last_write = trace.iter().rposition(|call| call.starts_with("write")).unwrap();
            let files: Vec<_> = trace
                .iter()
                .filter_map(|call| call.strip_prefix("write ").and_then(|call| call.split(' ').next()))
                .collect();
            for file in files {
                let write = trace.iter().rposition(|call| call.starts_with(&format!("write {file} "))).unwrap();
                let sync = trace.iter().rposition(|call| *call == format!("sync {file}"));
                assert!(sync.is_some_and(|sync| sync > write), "{trace:#?}");
            }
            assert!(last_write + 1 < trace.len(), "{trace:#?}");
        }
        // And what was committed survives at once.
        drop(log);
        shelf.end(End::Power, &mut StdRng::seed_from_u64(5));
        assert_eq!(numbers(&open(&shelf), CLIENT).len(), 12);
    }
}

#[test]
fn names_of_new_files_are_synced_before_they_are_relied_on() {
    for seed in 0..8 {
        let shelf = Memory::of(1 << 30);
        let log = open(&shelf);
        put(&log, CLIENT, 0..4, 100);
        drop(log);
        shelf.end(End::Power, &mut StdRng::seed_from_u64(seed));
        assert_eq!(numbers(&open(&shelf), CLIENT).len(), 4);
    }
}

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
    // So room comes back.
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
    // It was chosen for a copy, and its client fetched it.
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
    // When the core has set it aside the segment goes, and the bytes are kept.
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
fn an_erasure_leaves_what_the_same_batch_puts() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, 0..3, 100);
    let mut batch = MailBatch::default();
    batch.erase(CLIENT);
    batch.remove(CLIENT, Sequence(2));
    batch.put(CLIENT, Sequence(3), vec![3; 100].into(), Ack::Owed);
    log.commit(&batch, 7).unwrap();
    assert_eq!(numbers(&log, CLIENT), [3]);
    let log = kill(log, &shelf);
    assert_eq!(numbers(&log, CLIENT), [3]);
    let mut batch = MailBatch::default();
    batch.remove(CLIENT, Sequence(3));
    batch.put(CLIENT, Sequence(4), vec![3; 100].into(), Ack::Owed);
    log.commit(&batch, 7).unwrap();
    assert_eq!(numbers(&kill(log, &shelf), CLIENT), [4]);
}

#[test]
fn a_segment_that_is_damaged_gets_no_index() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, [0], 100);
    put(&log, CLIENT, [1], 100);
    put(&log, CLIENT, [2], 100);
    let name = SegmentNumber(1).name();
    // In the last head, and in one before.
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
fn a_torn_first_write_leaves_a_spare_and_no_damage() {
    for seed in 0..40 {
        let shelf = Memory::of(1 << 30);
        let log = open(&shelf);
        // The file is made, its name synced; then the write, and its sync that never comes.
        shelf.plan(4, Fault::Dies);
        let mut batch = MailBatch::default();
        batch.put(CLIENT, Sequence(0), vec![1; 600].into(), Ack::Owed);
        assert!(log.commit(&batch, 7).is_err());
        drop(log);
        shelf.end(End::Tear, &mut StdRng::seed_from_u64(seed));
        let counters = Arc::new(StoreCounters::default());
        let log = Log::open(shelf.clone(), SETTINGS, Arc::clone(&counters), 1).unwrap();
        let names = shelf.list().unwrap();
        assert!(!names.iter().any(|name| name.ends_with(".damaged")), "seed {seed}: {names:?}");
        put(&log, CLIENT, [LEAP], 100);
    }
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

#[test]
fn mail_that_is_taken_over_in_pieces_is_there_once() {
    let messages: Vec<_> = (0..30_u64)
        .map(|number| TakenOver {
            client: if number % 3 == 0 { OTHER } else { CLIENT },
            number: Sequence(number),
            arrival: number,
            body: vec![number as u8; 1_900].into(),
        })
        .collect();
    let all = |log: &Log<Memory>| {
        let bodies = [CLIENT, OTHER].map(|client| {
            let page = log.peek(&client, (Sequence(0), Sequence(u64::MAX)), ALL);
            assert!(page.unreadable.is_empty());
            page.messages.into_iter().map(|(_, body)| body[0]).collect::<Vec<_>>()
        });
        bodies.concat()
    };
    let expected: Vec<u8> = (0..30).filter(|n| n % 3 != 0).chain((0..30).step_by(3)).collect();
    for at in 1..16 {
        for seed in 0..6 {
            let shelf = Memory::of(1 << 30);
            let log = open(&shelf);
            shelf.plan(at, Fault::Dies);
            let _ = messages.chunks(10).try_for_each(|part| log.take_over(part, 7).map(|_| ()));
            drop(log);
            shelf.end(if seed == 0 { End::Kill } else { End::Power }, &mut StdRng::seed_from_u64(seed));
            let log = open(&shelf);
            for part in messages.chunks(10) {
                log.take_over(part, 7).unwrap();
            }
            let check = |log: &Log<Memory>| {
                let mut found = all(log);
                if seed == 0 {
                    assert_eq!(found, expected, "call {at}");
                }
                // A write that was torn may cost the order, and no message.
                found.sort_unstable();
                assert_eq!(found, (0..30).collect::<Vec<_>>(), "call {at}, seed {seed}");
            };
            check(&log);
            for part in messages.chunks(10) {
                log.take_over(part, 7).unwrap();
            }
            drop(log);
            shelf.end(End::Power, &mut StdRng::seed_from_u64(9));
            let _ = check;
            let mut found = all(&open(&shelf));
            found.sort_unstable();
            found.dedup();
            assert_eq!(found.len(), 30, "call {at}, seed {seed}");
        }
    }
}

/// A process that was killed between making a file and syncing its name leaves a spare that a loss of power may take away.
#[test]
fn a_spare_left_by_the_dead_has_its_name_synced_at_a_start() {
    for seed in 0..20 {
        let shelf = Memory::of(1 << 30);
        for number in [1, 2] {
            shelf.make(&SegmentNumber(number).name(), SETTINGS.segment).unwrap();
        }
        let log = open(&shelf);
        assert_eq!(log.spares.count(), 2);
        put(&log, CLIENT, 0..3, 100);
        drop(log);
        shelf.end(End::Power, &mut StdRng::seed_from_u64(seed));
        assert_eq!(numbers(&open(&shelf), CLIENT), [0, 1, 2], "seed {seed}");
    }
}
