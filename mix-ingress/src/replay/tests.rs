//! The filter without any task around it.

use std::{
    collections::HashSet,
    sync::{Barrier, atomic::AtomicUsize, atomic::Ordering::Relaxed},
    time::Duration,
};

use proptest::prelude::*;
use proto::ipc::{control::ReplayConfig, ingress_store::GENERATION_LIMIT};

use super::*;

const PACKETS: u32 = 2_000;

fn config(packets: u32, per_billion: u32) -> ReplayConfig {
    ReplayConfig {
        packets_per_generation: packets,
        period: Duration::from_hours(24),
        false_positives_per_billion: per_billion,
        snapshot_interval: Duration::from_mins(1),
    }
}

fn filter(packets: u32, per_billion: u32) -> ReplayFilter {
    ReplayFilter::new([7; 16], Shape::of(&config(packets, per_billion)).unwrap(), packets, 4, 0)
}

/// As unlike each other as real ones.
fn tag(number: u64) -> ReplayTag {
    ReplayTag(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn describe(generation: &Generation, filter: &ReplayFilter) -> (ReplayGeneration, Vec<u8>) {
    (filter.describe(generation), generation.pieces(999).flatten().collect())
}

#[test]
fn the_default_takes_thirty_megabytes_for_a_generation() {
    let shape = Shape::of(&config(10_000_000, 10_000)).unwrap();
    assert_eq!(shape.len(), 29_953_312);
    let TooLarge { .. } = Shape::of(&config(u32::MAX, 1)).unwrap_err();
    assert!(Shape::of(&config(1, 100_000_000)).unwrap().len() > 0);
    assert!(Shape::of(&config(350_000_000, 10_000)).unwrap().len() <= GENERATION_LIMIT);
}

#[test]
fn the_bits_of_a_tag_are_pinned() {
    // Whatever changes them makes every saved generation worthless: give the files another version then.
    let filter = filter(10, 1_000_000);
    assert_eq!(filter.hasher.hash(&ReplayTag([1; 32])), GOLDEN_HASH);
    filter.mark(&ReplayTag([1; 32]));
    let (description, marks) = describe(filter.current(), &filter);
    assert_eq!((description.number, description.hashes, description.marked, description.len), (4, 13, 1, 24));
    assert_eq!(hex::encode(marks), GOLDEN_MARKS);
}

#[test]
fn the_rate_of_false_positives_is_kept() {
    const FULL: u32 = 50_000;
    let filter = filter(FULL, 1_000_000);
    for number in 0..u64::from(FULL) {
        filter.mark(&tag(number));
    }
    // Of those that came before it was full fewer were refused.
    assert!(filter.current().marked() > u64::from(FULL) * 999 / 1_000);
    let asked = 1_000_000_u64;
    let wrong =
        (0..asked).filter(|number| filter.current().holds(filter.hasher.hash(&tag(number + (1 << 40))))).count();
    // One in a thousand; the deviation of such a count is 32.
    assert!((800..1_200).contains(&wrong), "{wrong} of {asked}");
}

#[test]
fn of_copies_on_many_threads_one_passes() {
    const THREADS: usize = 4;
    const TAGS: u64 = 20_000;
    let filter = filter(PACKETS * 20, 1);
    let passed = AtomicUsize::new(0);
    let barrier = Barrier::new(THREADS + 1);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                for number in 0..TAGS {
                    if filter.mark(&tag(number)) == Seen::Never {
                        passed.fetch_add(1, Relaxed);
                    }
                }
            });
        }
        // And generations change meanwhile, but none is forgotten.
        barrier.wait();
        filter.rotate(1);
    });
    assert_eq!(passed.load(Relaxed), 20_000);
}

#[test]
fn a_copy_is_refused_while_the_packet_is_marked_and_another_packet_passes_after_it() {
    let filter = filter(PACKETS, 1);
    let place = |tag: &ReplayTag| filter.hasher.hash(tag) as usize % PLACES;
    let first = tag(0);
    let other = (1..).map(tag).find(|other| place(other) == place(&first)).unwrap();
    let being_marked = filter.take_place(filter.hasher.hash(&first)).unwrap();
    assert_eq!(filter.mark(&first), Seen::Before);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| filter.mark(&other));
        drop(being_marked);
        assert_eq!(waiting.join().unwrap(), Seen::Never);
    });
    assert_eq!(filter.mark(&other), Seen::Before);
    assert_eq!(filter.mark(&first), Seen::Never);
}

proptest! {
    #[test]
    fn nothing_is_forgotten_within_a_generation_and_across_one_rotation(
        numbers in prop::collection::vec(any::<u64>(), 1..300),
        rotate_at in 0_usize..300,
    ) {
        let filter = filter(PACKETS, 1);
        let mut seen = HashSet::new();
        for (index, number) in numbers.iter().enumerate() {
            if index == rotate_at {
                filter.rotate(9);
            }
            let expected = if seen.insert(*number) { Seen::Never } else { Seen::Before };
            prop_assert_eq!(filter.mark(&tag(*number)), expected);
        }
        for number in &seen {
            prop_assert_eq!(filter.mark(&tag(*number)), Seen::Before);
        }
        if rotate_at >= numbers.len() {
            filter.rotate(9);
        }
        prop_assert_eq!(filter.current().number(), 5);
        filter.rotate(10);
        filter.rotate(11);
        for number in &seen {
            prop_assert_eq!(filter.mark(&tag(*number)), Seen::Never);
        }
    }

    #[test]
    fn what_was_saved_in_pieces_is_restored(
        numbers in prop::collection::hash_set(any::<u64>(), 1..200),
        piece in 1_usize..200,
    ) {
        let before = filter(PACKETS, 1);
        for number in &numbers {
            before.mark(&tag(*number));
        }
        let (description, marks) = describe(before.current(), &before);
        let after = filter(PACKETS, 1);
        let mut restoring = after.of_parity(description.number).restore(&description);
        for piece in marks.chunks(piece * 8) {
            prop_assert!(restoring.take(piece));
        }
        prop_assert!(restoring.is_whole() && !restoring.take(&[0; 8]));
        drop(restoring);
        prop_assert_eq!(describe(after.current(), &after), (description, marks));
        for number in &numbers {
            prop_assert_eq!(after.mark(&tag(*number)), Seen::Before);
        }
    }
}

#[test]
fn half_a_generation_is_none() {
    let before = filter(PACKETS, 1);
    before.mark(&tag(1));
    let (description, marks) = describe(before.current(), &before);
    let after = filter(PACKETS, 1);
    let mut restoring = after.current().restore(&description);
    assert!(restoring.take(&marks[..marks.len() - 8]));
    assert!(!restoring.take(&[]) && !restoring.take(&[0; 7]) && !restoring.take(&[0; 16]));
    drop(restoring);
    assert_eq!(after.current().marked(), 0);
    assert_eq!(after.mark(&tag(1)), Seen::Never);
}

#[test]
fn a_filter_that_is_full_says_so_until_it_is_rotated() {
    let filter = filter(3, 1);
    for number in 0..3 {
        assert!(!filter.is_full());
        filter.mark(&tag(number));
    }
    assert!(filter.is_full());
    filter.rotate(5);
    assert!(!filter.is_full());
    assert_eq!((filter.current().number(), filter.current().begun()), (5, 5));
}

const GOLDEN_HASH: u64 = 11_439_672_841_991_192_336;
const GOLDEN_MARKS: &str = "0000008100000022220000008000a0400000000100410000";
