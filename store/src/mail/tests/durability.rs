//! When a write counts: what is synced, what is written a second time, and what a start finds.

use std::sync::{Arc, atomic::Ordering};

use ipc::ingress_store::Ack;
use nix::errno::Errno;
use rand::{SeedableRng as _, rngs::StdRng};
use session_ipc::Sequence;

use super::{
    log::{CLIENT, OTHER, clean, kill, numbers, open, put, remove},
    world::SETTINGS,
};
use crate::{
    counters::StoreCounters,
    mail::{
        Log,
        index::State,
        recover::LEAP,
        segment::{BLOCK, SegmentNumber},
        shelf::{
            Shelf as _,
            memory::{End, Fault, Memory},
        },
    },
    mailbox::MailBatch,
};

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
        // What was committed survives without a further sync.
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
fn a_torn_first_write_leaves_a_spare_and_no_damage() {
    for seed in 0..40 {
        let shelf = Memory::of(1 << 30);
        let log = open(&shelf);
        // The file is made and its name is synced. The write follows, but its sync never happens.
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
