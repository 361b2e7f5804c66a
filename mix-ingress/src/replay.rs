//! Which packets were seen before.
//!
//! A packet is known by its replay tag. Tags are kept as marks in two generations of a Bloom filter: new ones go into the
//! current generation, both are asked. When the current one is full or old, the previous one is emptied and takes its
//! place, so that every packet is remembered for one generation at least and for two at most. A filter never forgets a
//! packet of these generations; now and then it takes a new packet for an old one, as often as it was made for.
//!
//! *Trusts* nothing about a tag; which bits it marks depends on a secret seed, so that nobody can look for packets that
//! get others refused. *Holds* marks only, from which no tag can be told. *Promises*: of any number of copies of a packet,
//! on any threads at any time, one passes at the most; no packet is refused because of another that is marked meanwhile.
//!
//! [`keeper`] empties, saves and restores; [`generation`] is one filter; [`archive`] asks `store`.

pub(crate) mod archive;
mod generation;
pub(crate) mod keeper;

use std::{
    hint,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread,
};

use proto::ipc::ingress_store::ReplayGeneration;
use tokio::sync::mpsc;

use crate::sphinx::ReplayTag;
use generation::{Generation, TagHasher};

pub(crate) use generation::{Shape, TooLarge};

/// Places where a packet can be while it is marked. With so many, two packets that are marked at the same moment want the same
/// place once in four thousand times.
const PLACES: usize = 1 << 12;

/// A place where nobody is.
const FREE: u64 = 0;

/// Looks that a packet has at a place where another is, before it lets another thread run: the other may be waiting for that.
const LOOKS: u32 = 64;

/// What a filter says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is new, and from now on it is not.
    Never,
    /// It was marked before.
    Before,
}

/// Two generations of marks.
pub(crate) struct ReplayFilter {
    hasher: TagHasher,
    generations: [Generation; 2],
    /// Which of them is the current one: that of even or of odd number.
    current: AtomicU64,
    /// Inserting sets one bit after another, so two threads with one packet could both find a bit that was not set. Whoever
    /// is in the packet's place is alone with it. Holds the number of the packet that is there.
    places: Box<[AtomicU64]>,
    packets_per_generation: u64,
}

/// A packet's place, taken until dropped.
struct Place<'a>(&'a AtomicU64);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.store(FREE, Release);
    }
}

impl ReplayFilter {
    /// An empty filter, whose current generation has this number and began then, in seconds since 1970.
    pub(crate) fn new(seed: [u8; 16], shape: Shape, packets_per_generation: u32, number: u64, begun: u64) -> Self {
        let filter = Self {
            hasher: TagHasher::new(seed),
            generations: [Generation::new(shape), Generation::new(shape)],
            current: AtomicU64::new(number % 2),
            places: (0..PLACES).map(|_| AtomicU64::new(FREE)).collect(),
            packets_per_generation: packets_per_generation.into(),
        };
        filter.current().begin(number, begun);
        filter
    }

    /// Marks a packet and says whether it was marked before.
    pub(crate) fn mark(&self, tag: &ReplayTag) -> Seen {
        let hash = self.hasher.hash(tag);
        let Some(_place) = self.take_place(hash) else { return Seen::Before };
        let (current, previous) = self.by_age();
        if previous.holds(hash) || current.insert(hash) { Seen::Before } else { Seen::Never }
    }

    /// Whether a new generation is due because of the packets in the current one.
    pub(crate) fn is_full(&self) -> bool {
        self.current().marked() >= self.packets_per_generation
    }

    /// Forgets the previous generation and begins a new one in its place. Takes milliseconds. One caller at a time.
    ///
    /// A packet that is being marked meanwhile may still go into what was the current generation, where it is found as well.
    pub(crate) fn rotate(&self, now: u64) {
        let (current, previous) = self.by_age();
        previous.begin(current.number() + 1, now);
        self.current.fetch_xor(1, Release);
    }

    /// The generation that new packets go into.
    pub(crate) fn current(&self) -> &Generation {
        self.by_age().0
    }

    /// The older generation first.
    pub(crate) fn oldest_first(&self) -> [&Generation; 2] {
        let (current, previous) = self.by_age();
        [previous, current]
    }

    /// The generation of that number, or the one whose place it takes.
    fn of_parity(&self, number: u64) -> &Generation {
        let [even, odd] = &self.generations;
        if number.is_multiple_of(2) { even } else { odd }
    }

    /// What is to be saved beside the marks.
    fn describe(&self, generation: &Generation) -> ReplayGeneration {
        generation.describe(&self.hasher)
    }

    /// The current and the previous generation.
    fn by_age(&self) -> (&Generation, &Generation) {
        let current = self.current.load(Acquire);
        (self.of_parity(current), self.of_parity(current ^ 1))
    }

    /// Takes the place of the packet of this number. `None` if a copy of it is there: that will have been marked.
    ///
    /// Another packet that is there leaves within a microsecond, or as soon as its thread gets a processor again.
    fn take_place(&self, hash: u64) -> Option<Place<'_>> {
        // The low bits: the filter decides by the high ones.
        let place = self.places.get(hash as usize % PLACES)?;
        let hash = hash.max(FREE + 1);
        let mut looks = 0;
        loop {
            match place.compare_exchange_weak(FREE, hash, Acquire, Relaxed) {
                Ok(_) => return Some(Place(place)),
                Err(there) if there == hash => return None,
                Err(_) if looks < LOOKS => {
                    looks += 1;
                    hint::spin_loop();
                }
                Err(_) => thread::yield_now(),
            }
        }
    }
}

/// A filter in use, which tells its keeper when it is full, and, by its end, that nothing will be marked any more.
#[derive(Clone)]
pub(crate) struct Marker {
    filter: Arc<ReplayFilter>,
    full: mpsc::Sender<Full>,
}

/// The current generation is full.
#[derive(Debug)]
pub(crate) struct Full;

impl Marker {
    /// Marks a packet and says whether it was marked before.
    pub(crate) fn mark(&self, tag: &ReplayTag) -> Seen {
        let seen = self.filter.mark(tag);
        if seen == Seen::Never && self.filter.is_full() {
            // If there is no room, the keeper has been told already.
            let _ = self.full.try_send(Full);
        }
        seen
    }
}

#[cfg(test)]
mod tests;
