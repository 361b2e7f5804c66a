//! Segments that are full get an index and a trailer, for which there is always room.

use std::sync::atomic::Ordering;

use super::log::{CLIENT, kill, make_spares, numbers, open, put, seal_writer};
use crate::mail::{
    Log, scan,
    segment::{BLOCK, SegmentId, SegmentNumber, Slot},
    shelf::memory::Memory,
};

fn is_sealed(log: &Log<Memory>, slot: Slot) -> bool {
    let (file, seal, end) = {
        let index = log.index();
        let segment = index.segment(slot).unwrap();
        (segment.file.clone(), segment.seal.clone(), segment.end)
    };
    scan::scan(file.as_ref(), &seal, end).unwrap().is_sealed
}

#[test]
fn what_is_full_is_sealed_and_no_start_doubts_it() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, 0..3, 100);
    let slot = seal_writer(&log);
    assert!(is_sealed(&log, slot));
    assert!(!kill(log, &shelf).was_unclean);
}

/// Of 16 blocks one is for the header, one for the index and one for the trailer.
#[test]
fn a_segment_that_is_full_to_its_last_block_is_sealed() {
    let log = open(&Memory::of(1 << 30));
    for number in 0..14 {
        put(&log, CLIENT, [number], 100);
        make_spares(&log);
    }
    let slot = log.index().segments().next().unwrap().0;
    let (messages, end) = log.index().segment(slot).map(|segment| (segment.messages, segment.end)).unwrap();
    assert_eq!((messages, end), (13, 14 * BLOCK));
    assert!(is_sealed(&log, slot));
}

/// 63 entries fill a block of the index, so the next makes it longer.
#[test]
fn a_message_that_makes_the_index_longer_needs_room_for_that() {
    let log = open(&Memory::of(1 << 30));
    // Three frames of four blocks with 21 messages each.
    put(&log, CLIENT, 0..63, 704);
    let slot = log.index().segments().next().unwrap().0;
    assert_eq!(log.index().segment(slot).unwrap().end, 13 * BLOCK);
    make_spares(&log);
    put(&log, CLIENT, [63], 100);
    make_spares(&log);
    assert_eq!(log.index().segment(slot).unwrap().messages, 63);
    assert!(is_sealed(&log, slot));
}

#[test]
fn a_start_knows_where_what_was_written_ends() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    put(&log, CLIENT, 0..3, 1_000);
    log.close();
    let end = |log: &Log<Memory>| log.index().segments().next().unwrap().1.end;
    let written = end(&log);
    assert_eq!(written, 2 * BLOCK);
    drop(log);
    assert_eq!(end(&open(&shelf)), written);
}

/// Three frames of a block each lie in front of the index.
#[test]
fn without_its_index_a_sealed_segment_is_read_from_head_to_head() {
    let shelf = Memory::of(1 << 30);
    let log = open(&shelf);
    (0..3).for_each(|number| put(&log, CLIENT, [number], 100));
    log.close();
    drop(log);
    for (damaged_blocks, damages, found) in
        [(&[3][..], 0, &[0, 1, 2][..]), (&[4], 0, &[0, 1, 2]), (&[3, 4], 1, &[0, 1])]
    {
        let shelf = shelf.copy();
        for block in damaged_blocks {
            shelf.flip(&SegmentNumber(1).name(), block * BLOCK as usize + 20);
        }
        let log = open(&shelf);
        assert_eq!(numbers(&log, CLIENT), found, "{damaged_blocks:?}");
        assert_eq!(log.counters.mail_damaged.load(Ordering::Relaxed), damages, "{damaged_blocks:?}");
    }
}

#[test]
fn no_two_segments_have_one_id() {
    assert_ne!(SegmentId::random(), SegmentId::random());
}
