//! Cleaning gives way: to commits, to its pace while nothing is urgent, and to the end of the process.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::log::{make_spares, open};
use crate::mail::{
    Log,
    pace::{PIECE, Pace},
    shelf::memory::Memory,
    victim::Need,
};

/// How long cleaning waits before it copies a piece.
fn waits(log: &Log<Memory>, need: Need, pace: &mut Pace) -> Duration {
    let begin = Instant::now();
    assert!(log.give_way(need, PIECE, pace));
    begin.elapsed()
}

#[test]
fn without_need_pieces_come_at_the_pace_and_with_need_at_once() {
    let log = open(&Memory::of(1 << 30));
    make_spares(&log);
    let pace = &mut Pace::new(0);
    // The first costs nothing, each other a quarter of a second.
    waits(&log, Need::Order, pace);
    assert!(waits(&log, Need::Order, pace) >= Duration::from_millis(200));
    let begin = Instant::now();
    (0..200).for_each(|_| assert!(log.give_way(Need::Room, PIECE, pace)));
    assert!(begin.elapsed() < Duration::from_secs(40), "at the pace it takes 50 seconds");
}

#[test]
fn a_commit_goes_first_for_a_while() {
    let log = open(&Memory::of(1 << 30));
    log.is_committing.store(true, Ordering::SeqCst);
    assert!(waits(&log, Need::Room, &mut Pace::unlimited()) >= Duration::from_millis(50));
}

#[test]
fn nothing_is_copied_once_it_is_over() {
    let log = open(&Memory::of(1 << 30));
    log.chores.end();
    for need in [Need::Room, Need::Order] {
        assert!(!log.give_way(need, PIECE, &mut Pace::unlimited()));
    }
}
