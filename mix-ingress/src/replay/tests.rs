//! The filter without its keeper.

use std::{
    collections::HashSet,
    sync::{Barrier, atomic::AtomicUsize, atomic::Ordering::Relaxed},
    thread,
};

use ipc::{
    control::ReplayConfig,
    ingress_store::{GENERATION_LIMIT, GENERATIONS_LIMIT},
    replay_settings::ReplaySettingsError,
};
use proptest::prelude::*;

use super::{generation::Restoring, retention::Clock, *};

const PACKETS: u32 = 2_000;
const HOUR: Duration = Duration::from_hours(1);
const START: Duration = Duration::from_secs(1_700_000_000);
const CLIENT: ClientAddress = ClientAddress([5; 32]);

const fn config(packets: u32, per_billion: u32) -> ReplayConfig {
    ReplayConfig {
        packets_per_generation: packets,
        period: Duration::from_hours(24),
        kept_at_least: HOUR,
        memory: 1 << 40,
        false_positives_per_billion: per_billion,
        snapshot_interval: Duration::from_mins(1),
    }
}

fn retention(packets: u32, per_billion: u32) -> Retention {
    Retention::of(&config(packets, per_billion)).unwrap()
}

/// The rules with a memory for so many generations.
fn retention_of(packets: u32, generations: u64) -> Retention {
    let shape = retention(packets, 1).shape;
    Retention::of(&ReplayConfig { memory: shape.len() * (generations + 1) - 1, ..config(packets, 1) }).unwrap()
}

fn filter(retention: Retention) -> (Marker, mpsc::Receiver<Full>) {
    let current = Arc::new(Generation::new(retention.shape, 4, START));
    let filter = Arc::new(ReplayFilter::new([7; 16], retention, VecDeque::new(), current));
    let (full, signals) = mpsc::channel(1);
    (Marker { filter, clock: Clock::start(), full }, signals)
}

/// An empty filter.
pub(crate) fn marker() -> (Marker, mpsc::Receiver<Full>) {
    filter(retention(PACKETS, 1_000_000))
}

/// Tags that differ as real ones do.
pub(crate) fn tag(number: u64) -> ReplayTag {
    ReplayTag(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// Whether the packet is new; if it is, it is accepted at once.
fn passes(marker: &Marker, number: u64) -> bool {
    marker.first_sight(&tag(number)).map(|mark| mark.keep(&CLIENT)).is_some()
}

fn describe(generation: &Generation, filter: &ReplayFilter) -> (ReplayGeneration, Vec<u8>) {
    let mut marks = Vec::new();
    loop {
        match generation.piece(marks.len(), 999) {
            piece if piece.is_empty() => return (filter.describe(generation), marks),
            piece => marks.extend(piece),
        }
    }
}

#[test]
fn the_default_takes_37_megabytes_for_a_generation() {
    assert_eq!(retention(10_000_000, 10_000).shape.len(), 36_843_904);
    let too_large = Retention::of(&config(u32::MAX, 1)).unwrap_err();
    assert!(matches!(too_large, ReplaySettingsError::TooLarge { .. }));
    assert!(retention(1, 100_000_000).shape.len() > 0);
    assert!(retention(350_000_000, 10_000).shape.len() <= GENERATION_LIMIT);
}

#[test]
fn memory_says_how_many_generations_and_packets_fit() {
    let of = |memory| Retention::of(&ReplayConfig { memory, ..config(10_000_000, 10_000) });
    let default = of(352 << 20).unwrap();
    assert_eq!((default.generations, default.packets_per_second()), (10, 25_000));
    // Two generations of a few packets less than configured.
    let small = of(64 << 20).unwrap();
    assert_eq!((small.generations, small.packets_per_second()), (2, 2_529));
    assert!(small.is_full(9_107_195) && !small.is_full(9_107_194));
    assert_eq!(of(u64::MAX).unwrap().generations, GENERATIONS_LIMIT);
    assert_eq!(
        of(59_906_623).unwrap_err(),
        ReplaySettingsError::TooLittleMemory { memory: 59_906_623, len: 29_953_312 }
    );
    let least = Retention::of(&ReplayConfig { kept_at_least: HOUR * 25, ..config(10, 1) });
    assert_eq!(least.unwrap_err(), ReplaySettingsError::LeastExceedsPeriod);
}

#[test]
fn the_bits_of_a_tag_are_pinned() {
    // A change of these values makes every saved generation worthless. The files then need another version.
    let (marker, _signals) = filter(retention(10, 1_000_000));
    assert_eq!(marker.filter.hasher.hash(&ReplayTag([1; 32])), GOLDEN_HASH);
    marker.first_sight(&ReplayTag([1; 32])).unwrap().keep(&CLIENT);
    let (description, marks) = describe(&marker.filter.current(), &marker.filter);
    assert_eq!((description.number, description.hashes, description.marked, description.len), (4, 19, 1, 64));
    assert_eq!((description.begun, description.seed), (START.as_secs(), [7; 16]));
    assert_eq!(hex::encode(marks), GOLDEN_MARKS);
}

#[test]
fn saved_marks_fit_if_they_have_the_length_and_the_bits() {
    let (marker, _signals) = marker();
    let (saved, _) = describe(&marker.filter.current(), &marker.filter);
    let fits = |saved| marker.filter.retention.fits(&saved);
    assert!(fits(saved));
    assert!(!fits(ReplayGeneration { len: saved.len + 64, ..saved }));
    assert!(!fits(ReplayGeneration { hashes: saved.hashes + 1, ..saved }));
}

#[test]
fn a_piece_of_marks_has_whole_words_and_the_length_asked_for() {
    let (marker, _signals) = filter(retention(10_000, 1_000_000));
    fill(&marker, 0, 100);
    let generation = marker.filter.current();
    let (_, marks) = describe(&generation, &marker.filter);
    for (offset, len, expected) in
        [(0, 999, 992), (16, 8, 8), (16, 1, 8), (marks.len() - 8, 999, 8), (marks.len(), 8, 0)]
    {
        assert_eq!(generation.piece(offset, len), marks[offset..offset + expected], "{len} from {offset}");
    }
}

#[test]
fn the_rate_of_false_positives_is_kept() {
    const FULL: u32 = 50_000;
    let (marker, _signals) = filter(retention(FULL, 1_000_000));
    for number in 0..u64::from(FULL) {
        passes(&marker, number);
    }
    // Of those that came before it was full fewer were refused.
    assert!(marker.filter.current().marked() > u64::from(FULL) * 999 / 1_000);
    let asked = 1_000_000_u64;
    let is_marked = |number: &u64| marker.filter.holds(marker.filter.hasher.hash(&tag(number + (1 << 40))));
    let wrong = (0..asked).filter(is_marked).count();
    // One in a thousand; the deviation of such a count is 32.
    assert!((800..1_200).contains(&wrong), "{wrong} of {asked}");
}

/// At the rate of the default, too, where a few blocks that are fuller than others make the difference.
#[test]
fn the_rate_of_the_default_is_kept() {
    const FULL: u64 = 200_000;
    let (marker, _signals) = filter(retention(FULL as u32, 10_000));
    let hash = |number| marker.filter.hasher.hash(&tag(number));
    let current = marker.filter.current();
    (0..FULL).for_each(|number| current.insert(hash(number)));
    let asked = 4_000_000_u64;
    let wrong = (0..asked).filter(|number| current.holds(hash(number + (1 << 40)))).count();
    // One in a hundred thousand; the deviation of such a count is 6.
    assert!((15..70).contains(&wrong), "{wrong} of {asked}");
}

#[test]
fn of_copies_on_many_threads_one_passes() {
    const THREADS: usize = 4;
    const TAGS: u64 = 20_000;
    let (marker, _signals) = filter(retention(PACKETS * 20, 1));
    let passed = AtomicUsize::new(0);
    let barrier = Barrier::new(THREADS + 1);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                for number in 0..TAGS {
                    if passes(&marker, number) {
                        passed.fetch_add(1, Relaxed);
                    }
                }
            });
        }
        // A new generation begins meanwhile, and none is dropped.
        barrier.wait();
        assert!(marker.filter.tend(START + HOUR * 24));
    });
    assert_eq!(passed.load(Relaxed), 20_000);
}

#[test]
fn a_copy_is_refused_until_the_packet_comes_to_nothing() {
    let (marker, _signals) = filter(retention(PACKETS, 1));
    let refused = marker.first_sight(&tag(0)).unwrap();
    assert!(!passes(&marker, 0) && passes(&marker, 1));
    drop(refused);
    assert_eq!(marker.filter.current().marked(), 1, "what was refused left no mark");
    let accepted = marker.first_sight(&tag(0)).unwrap();
    assert!(!passes(&marker, 0));
    accepted.keep(&CLIENT);
    assert!(!passes(&marker, 0) && !passes(&marker, 1));
    assert_eq!(marker.filter.current().marked(), 2);
}

/// Marks so many packets, from the number `from` on.
fn fill(marker: &Marker, from: u64, packets: u64) {
    for number in from..from + packets {
        assert!(passes(marker, number));
    }
}

#[test]
fn marks_go_by_age_and_never_by_count() {
    const FULL: u64 = 50;
    let (marker, mut signals) = filter(retention_of(50, 3));
    let filter = &marker.filter;
    for generation in 0..3 {
        assert_eq!(filter.tend(START), generation > 0);
        fill(&marker, generation * FULL, FULL);
        assert!(signals.try_recv().is_ok());
        let idle = if generation < 2 { Duration::ZERO } else { HOUR };
        assert_eq!(filter.idle_for(START), idle, "another generation begins at once where one fits");
    }
    // All generations that fit are full. None is dropped until the oldest has ended for an hour, whatever else is accepted.
    let almost = START + HOUR - Duration::from_secs(1);
    assert!(!filter.tend(START) && !filter.tend(almost));
    assert_eq!(filter.idle_for(almost), Duration::from_secs(1));
    fill(&marker, 3 * FULL, 10);
    assert!((0..3 * FULL + 10).all(|number| !passes(&marker, number)));
    assert_eq!(filter.admit(&CLIENT, almost), Err(NoRoom::Full));
    // Then the oldest is dropped, and no other.
    assert!(filter.tend(START + HOUR));
    assert_eq!(filter.oldest_first().iter().map(|kept| kept.number()).collect::<Vec<_>>(), [5, 6, 7]);
    assert!((FULL..3 * FULL).all(|number| !passes(&marker, number)));
    assert!(passes(&marker, 0));
    assert_eq!(filter.admit(&CLIENT, START + HOUR), Ok(()));
}

#[test]
fn with_room_marks_stay_for_a_period_after_their_generation() {
    let (marker, _signals) = filter(retention_of(50, 3));
    let filter = &marker.filter;
    let day = HOUR * 24;
    fill(&marker, 0, 1);
    assert!(!filter.tend(START + day - Duration::from_secs(1)));
    assert_eq!(filter.idle_for(START), day);
    assert!(filter.tend(START + day));
    assert!(!passes(&marker, 0));
    fill(&marker, 1, 50);
    assert!(filter.tend(START + day + HOUR));
    assert_eq!(filter.idle_for(START + day + HOUR), day - HOUR, "until the oldest has been there for a day more");
    assert!(!filter.tend(START + day * 2 - Duration::from_secs(1)) && !passes(&marker, 0));
    assert!(!filter.tend(START + day * 2), "it lets the oldest go, and begins none");
    assert!(passes(&marker, 0) && !passes(&marker, 1));
}

#[test]
fn short_of_room_each_destination_has_its_share() {
    // Two generations of 7,200 packets: two a second, twenty in an interval.
    let (marker, _signals) = filter(retention_of(7_200, 2));
    let filter = &marker.filter;
    fill(&marker, 0, 7_200);
    assert_eq!(filter.admit(&CLIENT, START), Ok(()));
    assert!(filter.tend(START));
    assert_eq!(filter.admit(&CLIENT, START), Err(NoRoom::ShareUsedUp));
    assert_eq!(filter.admit(&CLIENT, START + HOUR), Ok(()), "there is room again");
    filter.begin_share_interval();
    fill(&marker, 10_000, 20);
    assert_eq!(filter.admit(&CLIENT, START), Err(NoRoom::ShareUsedUp));
    // One in 16,384 pairs has one counter.
    let others = (6..9).map(|number| ClientAddress([number; 32]));
    assert!(others.into_iter().any(|other| filter.admit(&other, START).is_ok()));
}

proptest! {
    #[test]
    fn nothing_that_was_accepted_is_forgotten_while_it_is_young(
        numbers in prop::collection::vec(any::<u64>(), 1..300),
        tend_every in 1_usize..20,
    ) {
        let (marker, _signals) = filter(retention_of(100, 3));
        let mut seen = HashSet::new();
        for (index, number) in numbers.iter().enumerate() {
            if index % tend_every == 0 {
                marker.filter.tend(START + Duration::from_secs(index as u64));
            }
            prop_assert_eq!(passes(&marker, *number), seen.insert(*number));
        }
        prop_assert!(marker.filter.oldest_first().len() <= 3);
        for number in &seen {
            prop_assert!(!passes(&marker, *number));
        }
    }

    #[test]
    fn what_was_saved_in_pieces_is_restored(
        numbers in prop::collection::hash_set(any::<u64>(), 1..200),
        piece in 1_usize..200,
    ) {
        let (before, _signals) = filter(retention(PACKETS, 1));
        for number in &numbers {
            passes(&before, *number);
        }
        let (description, marks) = describe(&before.filter.current(), &before.filter);
        let mut restoring = Restoring::begin(retention(PACKETS, 1).shape, &description, START);
        for piece in marks.chunks(piece * 8) {
            prop_assert!(restoring.take(piece));
        }
        prop_assert!(restoring.is_whole() && !restoring.take(&[0; 8]));
        let restored = restoring.finish().unwrap();
        prop_assert_eq!(describe(&restored, &before.filter), (description, marks));
        for number in &numbers {
            prop_assert!(restored.holds(before.filter.hasher.hash(&tag(*number))));
        }
    }
}

#[test]
fn half_a_generation_is_none_and_one_of_tomorrow_begins_now() {
    let (before, _signals) = filter(retention(PACKETS, 1));
    passes(&before, 1);
    let (description, marks) = describe(&before.filter.current(), &before.filter);
    let earlier = START - HOUR;
    let mut restoring = Restoring::begin(retention(PACKETS, 1).shape, &description, earlier);
    assert!(restoring.take(&marks[..marks.len() - 8]));
    assert!(!restoring.take(&[]) && !restoring.take(&[0; 7]) && !restoring.take(&[0; 16]));
    assert!(!restoring.is_whole());
    assert!(restoring.finish().is_none());
    let mut restoring = Restoring::begin(retention(PACKETS, 1).shape, &description, earlier);
    assert!(restoring.take(&marks));
    assert_eq!(restoring.finish().unwrap().begun(), earlier);
}

const GOLDEN_HASH: u64 = 11_439_672_841_991_192_336;
const GOLDEN_MARKS: &str = "1000020900000400220000000000200800800000800000000000002000010004\
                            0800100000000000000000000000000400000080000000000000000001000000";
