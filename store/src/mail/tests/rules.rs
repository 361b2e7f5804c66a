//! The four rules of the log (see `mail/mod.rs`), and the numbers of messages.

use bytes::Bytes;
use ipc::ingress_store::Ack;
use nix::errno::Errno;
use rand::{SeedableRng as _, rngs::StdRng};
use session_ipc::Sequence;

use super::log::{
    ALL, CLIENT, OTHER, clean, close_copier, close_writer, kill, numbers, open, put, remove, seal_writer,
};
use crate::{
    mail::{
        Log, TakenOver,
        index::State,
        pace::Pace,
        recover::LEAP,
        segment::SegmentNumber,
        shelf::memory::{End, Fault, Memory},
        victim::Need,
    },
    mailbox::{MailBatch, MailboxError},
};

#[test]
fn a_gone_fact_stays_while_any_file_holds_what_it_covers() {
    // Bitcask had this fault (its issue 82): a file with a tombstone was removed while an older file still held the record, and the
    // record was back after the next start.
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
    // The same once the fact has been copied.
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
    // One sync of the directory fails; each of them in turn.
    shelf.plan(2, Fault::Fails(Errno::EIO));
    assert!(log.clean(older, Need::Room, &mut Pace::unlimited()).is_err());
    assert!(shelf.calls() >= before + 2);
    assert_eq!(log.index().dead(&CLIENT), 3, "the file may be back after a power cut");
}

#[test]
fn a_victim_that_is_back_after_a_power_cut_brings_nothing_back() {
    // After the loss of power, each name that was not synced may be as it was before.
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
    // The removal of an unknown message is written, too: after a kill the message may be there.
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
    // The same holds after a start, for an inbox of which the files hold no messages, only facts that messages are gone.
    put(&log, OTHER, 5..9, 100);
    let older = close_writer(&log);
    remove(&log, OTHER, 5..9);
    clean(&log, older);
    let log = kill(log, &shelf);
    assert!(log.index().inbox(&OTHER).is_none());
    assert_eq!((log.summary_of(&CLIENT).next, log.summary_of(&OTHER).next), (9, 9));
}

#[test]
fn what_was_removed_just_before_a_kill_stays_removed() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, 0..2, 1_000);
    seal_writer(&log);
    remove(&log, CLIENT, [0]);
    // The segment with the fact is in doubt at the first start, and gone at the second.
    let log = kill(log, &shelf);
    assert_eq!(numbers(&log, CLIENT), [1]);
    let log = kill(log, &shelf);
    assert_eq!(numbers(&log, CLIENT), [1]);
}

#[test]
fn after_an_unclean_end_every_number_leaps() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, 0..5, 100);
    let log = kill(log, &shelf);
    assert!(log.was_unclean);
    log.leap();
    assert_eq!(log.summary_of(&CLIENT).next, 5 + LEAP);
    assert!(log.summary_of(&OTHER).next >= LEAP);
    log.close();
    drop(log);
    assert!(!open(&shelf).was_unclean, "a clean end leaves nothing in doubt");
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
fn mail_that_is_taken_over_in_pieces_is_there_once() {
    let messages: Vec<_> = (0..30_u64)
        .map(|number| TakenOver {
            client: if number % 3 == 0 { OTHER } else { CLIENT },
            number: Sequence(number),
            arrival: number,
            ack: Ack::Owed,
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
                // A torn write may cost the order, but no message.
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
