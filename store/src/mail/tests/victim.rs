//! Which segment is cleaned next, by what the index knows of them.

use super::log::{CLIENT, close_writer, open, put, remove};
use crate::{
    clock,
    mail::{
        Log,
        index::State,
        millis,
        segment::{BLOCK, Slot},
        shelf::memory::Memory,
        victim::Need,
    },
};

const LEN: u64 = 64 * 1024;
const WEEK: u64 = 7 * 24 * 60 * 60 * 1_000;

/// A log with two closed segments of today, in which so many bytes are alive.
fn log_with(alive: [u64; 2]) -> (Log<Memory>, [Slot; 2]) {
    let log = open(&Memory::of(1 << 30));
    let mut number = 0;
    let slots = alive.map(|alive| {
        put(&log, CLIENT, [number], 1_000);
        number += 1;
        let slot = close_writer(&log);
        let mut index = log.index_mut();
        let segment = index.segment_mut(slot).unwrap();
        (segment.alive, segment.made) = (alive, millis(clock::now()));
        slot
    });
    (log, slots)
}

#[test]
fn the_emptiest_goes_first_when_room_is_needed() {
    let (log, slots) = log_with([30_000, 20_000]);
    assert_eq!(log.victim(Need::Room), Some(slots[1]));
    // Facts that are kept count as well.
    log.index_mut().segment_mut(slots[1]).unwrap().kept = 10_001;
    assert_eq!(log.victim(Need::Room), Some(slots[0]));
}

#[test]
fn a_segment_of_nine_tenths_is_not_worth_cleaning() {
    let (log, slots) = log_with([58_982, LEN]);
    assert_eq!(log.victim(Need::Room), Some(slots[0]));
    log.index_mut().segment_mut(slots[0]).unwrap().alive += 1;
    assert_eq!(log.victim(Need::Room), None);
}

/// Twenty bytes that are alive may have 31 in files, and a segment more.
#[test]
fn without_need_files_may_be_half_again_as_large_as_mail() {
    let (log, slots) = log_with([20_000, 22_280]);
    assert_eq!(log.victim(Need::Order), Some(slots[0]));
    let set = |alive, len| {
        let mut index = log.index_mut();
        let segment = index.segment_mut(slots[1]).unwrap();
        (segment.alive, segment.len) = (alive, len);
    };
    set(22_300, LEN);
    assert_eq!(log.victim(Need::Order), None);
    for (len, expected) in [(LEN - 2, None), (LEN - 1, Some(slots[0]))] {
        set(22_280, len);
        assert_eq!(log.victim(Need::Order), expected, "31 times 2,114 bytes and a segment are the limit");
    }
}

#[test]
fn what_is_dead_for_a_week_goes_if_a_tenth_is_dead() {
    let (log, slots) = log_with([9_000, LEN]);
    let set = |alive, made, written| {
        let mut index = log.index_mut();
        let segment = index.segment_mut(slots[0]).unwrap();
        (segment.alive, segment.made, segment.end, segment.len) = (alive, made, BLOCK + written, written);
    };
    let now = millis(clock::now());
    for (alive, age, expected) in [
        (8_999, WEEK + 1_000, Some(slots[0])),
        (9_000, WEEK + 1_000, None),
        (8_999, WEEK - 60_000, None),
        (9_999, WEEK - 60_000, None),
    ] {
        set(alive, now - age, 10_000);
        assert_eq!(log.victim(Need::Order), expected, "{alive} of 10,000 for {age} ms");
    }
    set(9_500, now - WEEK - 1_000, 10_000);
    assert_eq!(log.victim(Need::Room), None, "age makes no room");
}

#[test]
fn facts_that_are_not_needed_any_more_count_no_longer() {
    let log = open(&Memory::of(1 << 30));
    put(&log, CLIENT, [0, 1], 1_000);
    let older = close_writer(&log);
    remove(&log, CLIENT, [0]);
    let facts = close_writer(&log);
    put(&log, CLIENT, [2], 1_000);
    let open = log.writer.lock().unwrap().slot().unwrap();
    // As if far more had been needed when it was written than the one fact that the older segment still needs.
    let set = |slot, alive, kept| {
        let mut index = log.index_mut();
        let segment = index.segment_mut(slot).unwrap();
        (segment.alive, segment.kept) = (alive, kept);
    };
    set(older, LEN, 0);
    for (alive, expected) in [(0, Some(facts)), (58_982 - 128, Some(facts)), (58_983 - 128, None)] {
        set(facts, alive, LEN);
        assert_eq!(log.victim(Need::Room), expected, "{alive} bytes are alive");
        assert_eq!(log.index().segment(facts).unwrap().kept, 128);
    }
    set(open, 0, LEN);
    assert_eq!(log.victim(Need::Room), None, "a segment that is open is not cleaned");
}

#[test]
fn what_is_in_doubt_or_empty_goes_first() {
    let (log, slots) = log_with([LEN, LEN]);
    assert_eq!([Need::Room, Need::Order].map(|need| log.victim(need)), [None; 2]);
    log.index_mut().segment_mut(slots[0]).unwrap().alive = 0;
    assert_eq!(log.victim(Need::Order), Some(slots[0]));
    log.index_mut().segment_mut(slots[1]).unwrap().state = State::Doubtful;
    assert_eq!(log.victim(Need::Order), Some(slots[1]));
}
