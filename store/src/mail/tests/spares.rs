//! Segments that are held ready: which a start keeps, and what becomes one.

use std::{sync::Arc, time::Duration};

use super::{
    log::{CLIENT, clean, close_writer, make_spares, open, put, remove},
    world::SETTINGS,
};
use crate::{
    counters::StoreCounters,
    mail::{
        Log, Settings,
        segment::{SegmentNumber, Stream},
        shelf::{Shelf as _, memory::Memory},
    },
};

/// Segments of another size, as after a change of the limit.
const OTHER_SIZE: Settings = Settings { segment: 2 * SETTINGS.segment, ..SETTINGS };

fn blank(shelf: &Memory, number: u64, len: u64) {
    shelf.set_bytes(&SegmentNumber(number).name(), &vec![0; usize::try_from(len).unwrap()]);
}

#[test]
fn a_start_keeps_two_spares_of_the_size_and_removes_the_others() {
    let shelf = Memory::of(1 << 30);
    blank(&shelf, 1, OTHER_SIZE.segment);
    for number in [2, 3, 99] {
        blank(&shelf, number, SETTINGS.segment);
    }
    let log = open(&shelf);
    assert_eq!(shelf.list().unwrap(), [2, 3].map(|number| SegmentNumber(number).name()));
    assert_eq!((log.spares.count(), log.files()), (2, 2 * SETTINGS.segment));
    let made = log.spares.make(&shelf, SETTINGS.segment).unwrap();
    assert_eq!(made.number, SegmentNumber(100), "behind every number that was in use");
}

#[test]
fn what_is_cleaned_becomes_a_spare_if_one_is_wanted() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, 0..3, 1_000);
    let first = close_writer(&log);
    remove(&log, CLIENT, 0..3);
    assert_eq!((log.spares.count(), log.files()), (0, 2 * SETTINGS.segment));
    clean(&log, first);
    assert_eq!((log.spares.count(), log.files()), (1, 2 * SETTINGS.segment));
    make_spares(&log);
    let files = log.files();
    let second = close_writer(&log);
    clean(&log, second);
    assert_eq!((log.spares.count(), log.files()), (2, files - SETTINGS.segment), "no third is wanted");
}

#[test]
fn what_is_cleaned_and_has_another_size_is_removed() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, 0..3, 1_000);
    log.close();
    drop(log);
    let log = Log::open(shelf.clone(), OTHER_SIZE, Arc::new(StoreCounters::default()), 1).unwrap();
    let (old, _) = log.index().segments().next().unwrap();
    clean(&log, old);
    assert_eq!(log.spares.count(), 0);
    // The copy lies in a segment of the new size.
    assert_eq!(log.files(), OTHER_SIZE.segment);
}

#[test]
fn a_spare_that_comes_in_time_is_waited_for() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    let spare = log.spares.make(&shelf, SETTINGS.segment).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // If it comes before the wait begins, the same is true.
            std::thread::sleep(Duration::from_millis(50));
            log.spares.keep(spare);
        });
        assert!(log.spares.wait_for(Stream::Copies, Duration::from_secs(60)).is_some());
    });
    assert!(log.spares.wait_for(Stream::Copies, Duration::from_millis(1)).is_none());
}
