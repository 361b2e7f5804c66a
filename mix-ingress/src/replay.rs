//! Detects packets that were delivered before.
//!
//! A packet is recognised by its replay tag. From its first sight until `store` has answered, the packet is *unanswered*, and its
//! tag is held exactly. When `store` accepts the packet, and before the SURB-ack is paid, its tag becomes a mark in the current
//! generation, which is a Bloom filter. A packet that is not delivered (its payload does not decrypt, nobody is registered under its
//! destination, the inbox is full) leaves no mark. A later copy of such a packet is then its first delivery. An attacker who can send
//! that copy could have held the packet back in the first place, so the copy shows nothing new. In return, packets for nobody take no
//! room, so no rate of them can push out the marks of others.
//!
//! Marks are dropped by age and never by count. A generation that is full, or as old as `period`, gets a successor. A generation is
//! dropped `period` after it ended. When `memory` is used up, the oldest generation may be dropped earlier, but not before
//! `kept_at_least`. If none may be dropped, packets are refused instead: see [`retention`] and [`shares`].
//!
//! A filter never forgets a packet that it holds. Now and then it takes a new packet for an old one: a full generation does so at
//! `false_positive_rate`, and the rates of all generations add up. Ten full generations, as many as the default memory holds, refuse 10
//! new packets in 100,000 at the default rate; their senders send again.
//!
//! *Trusts* nothing about a tag. The bits that a tag marks depend on a secret seed, so that nobody can search for packets that get
//! others refused. *Holds* marks, which do not reveal their tags, and one number for each unanswered packet. *Promises*: of any number
//! of copies of a packet, on any threads at any time, one is delivered at the most, and none after one was accepted, for
//! `kept_at_least`; no packet is refused because of another that is marked meanwhile.
//!
//! [`keeper`] begins generations, saves and restores them. [`generation`] is one filter, and [`blocked`] its bits. [`unanswered`] is the
//! set of packets without an answer. [`archive`] asks `store`.

pub(crate) mod archive;
mod blocked;
mod generation;
pub(crate) mod keeper;
pub(crate) mod retention;
mod shares;
mod unanswered;

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use ipc::ingress_store::ReplayGeneration;
use tokio::sync::mpsc;
use wire::address::ClientAddress;

use crate::sphinx::ReplayTag;
use generation::{Generation, TagHasher};
use retention::{Retention, Room};
use shares::Shares;
use unanswered::Unanswered;

/// The generations of marks, and the packets that have no mark yet. Times are since 1970.
pub(crate) struct ReplayFilter {
    hasher: TagHasher,
    retention: Retention,
    generations: RwLock<Generations>,
    unanswered: Unanswered,
    shares: Shares,
}

/// The generations whose marks are kept.
struct Generations {
    /// The oldest first.
    older: VecDeque<Arc<Generation>>,
    /// New marks go here.
    current: Arc<Generation>,
}

impl Generations {
    fn len(&self) -> usize {
        self.older.len().saturating_add(1)
    }

    fn oldest_first(&self) -> impl DoubleEndedIterator<Item = &Arc<Generation>> {
        self.older.iter().chain([&self.current])
    }

    /// The ends of the older generations, which are the beginnings of their successors. The oldest first.
    fn ended(&self) -> impl Iterator<Item = Duration> {
        self.oldest_first().skip(1).map(|successor| successor.begun())
    }
}

/// Why a packet is refused although it is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// Room for marks is short, and this destination has had its share.
    ShareUsedUp,
    /// There is no room for marks at all.
    Full,
}

impl ReplayFilter {
    /// A filter with these generations, the oldest first, that marks new packets in `current`.
    fn new(seed: [u8; 16], retention: Retention, older: VecDeque<Arc<Generation>>, current: Arc<Generation>) -> Self {
        Self {
            hasher: TagHasher::new(seed),
            retention,
            generations: RwLock::new(Generations { older, current }),
            unanswered: Unanswered::new(),
            shares: Shares::new(retention.packets_per_second()),
        }
    }

    /// Whether there is room to mark a packet of this destination. To be asked of new packets only.
    pub(crate) fn admit(&self, destination: &ClientAddress, now: Duration) -> Result<(), NoRoom> {
        match self.room(now) {
            Room::Ample => Ok(()),
            Room::Short if self.shares.has_some_left(destination) => Ok(()),
            Room::Short => Err(NoRoom::ShareUsedUp),
            Room::None => Err(NoRoom::Full),
        }
    }

    /// How much room there is for marks.
    fn room(&self, now: Duration) -> Room {
        let generations = self.read();
        self.retention.room(generations.ended(), generations.current.marked(), now)
    }

    /// Begins a new interval of the shares.
    pub(crate) fn begin_share_interval(&self) {
        self.shares.begin_interval();
    }

    /// Drops generations that are old enough, and begins a new one if it is due and there is room. Returns whether one was begun.
    /// Takes milliseconds. One caller at a time.
    ///
    /// A mark that is made meanwhile may still go into the former current generation, where it is found as well.
    pub(crate) fn tend(&self, now: Duration) -> bool {
        if !self.make_room(now) {
            return false;
        }
        let number = self.current().number().saturating_add(1);
        // Made before the lock is taken, because clearing its memory takes time.
        let next = Arc::new(Generation::new(self.retention.shape, number, now));
        let mut generations = self.write();
        let before = std::mem::replace(&mut generations.current, next);
        generations.older.push_back(before);
        true
    }

    /// Drops generations, and returns whether a new one is to be begun.
    fn make_room(&self, now: Duration) -> bool {
        let mut generations = self.write();
        while generations.ended().next().is_some_and(|ended| self.retention.has_expired(ended, now)) {
            generations.older.pop_front();
        }
        if !self.retention.has_ended(&generations.current, now) {
            return false;
        }
        if generations.len() >= self.retention.generations {
            if generations.ended().next().is_none_or(|ended| self.retention.is_young(ended, now)) {
                return false;
            }
            generations.older.pop_front();
        }
        true
    }

    /// The time until [`ReplayFilter::tend`] has something to do, if no marks are made.
    pub(crate) fn idle_for(&self, now: Duration) -> Duration {
        let generations = self.read();
        self.retention.idle_for(generations.ended().next(), &generations.current, generations.len(), now)
    }

    /// The generation that takes new marks.
    pub(crate) fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.read().current)
    }

    /// All generations, the oldest first.
    pub(crate) fn oldest_first(&self) -> Vec<Arc<Generation>> {
        self.read().oldest_first().map(Arc::clone).collect()
    }

    /// The description that is saved beside the marks.
    fn describe(&self, generation: &Generation) -> ReplayGeneration {
        generation.describe(&self.hasher)
    }

    /// Whether a packet is marked. The newest generation is asked first, because accidental replays come soon.
    fn holds(&self, hash: u64) -> bool {
        self.read().oldest_first().rev().any(|generation| generation.holds(hash))
    }

    /// Marks a packet, and returns whether the current generation is full.
    fn insert(&self, hash: u64) -> bool {
        let generations = self.read();
        generations.current.insert(hash);
        self.retention.is_full(generations.current.marked())
    }

    fn read(&self) -> RwLockReadGuard<'_, Generations> {
        self.generations.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Generations> {
        self.generations.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A filter in use. Tells the keeper when a generation is full, and, when the last clone is dropped, that no marks will follow.
#[derive(Clone)]
pub(crate) struct Marker {
    filter: Arc<ReplayFilter>,
    clock: retention::Clock,
    full: mpsc::Sender<Full>,
}

/// The current generation is full.
#[derive(Debug)]
pub(crate) struct Full;

impl Marker {
    /// The packet's provisional mark, if neither the packet nor a copy of it was seen before.
    pub(crate) fn first_sight(&self, tag: &ReplayTag) -> Option<ProvisionalMark> {
        let hash = self.filter.hasher.hash(tag);
        if !self.filter.unanswered.enter(hash) {
            return None;
        }
        // From here on no copy can pass: an accepted packet is marked before it leaves the unanswered ones, so a copy is found in one of
        // the two.
        let provisional = ProvisionalMark { marker: self.clone(), hash };
        (!self.filter.holds(hash)).then_some(provisional)
    }

    /// Whether there is room for a mark of this destination.
    pub(crate) fn admit(&self, destination: &ClientAddress) -> Result<(), NoRoom> {
        self.filter.admit(destination, self.clock.now())
    }
}

/// The mark of a packet that `store` has not answered yet. Dropping the mark forgets the packet.
pub(crate) struct ProvisionalMark {
    marker: Marker,
    hash: u64,
}

impl ProvisionalMark {
    /// For a packet that was accepted or may be: marks the packet for as long as marks are kept.
    pub(crate) fn keep(self, destination: &ClientAddress) {
        self.marker.filter.shares.count(destination);
        if self.marker.filter.insert(self.hash) {
            // A full channel means that the keeper has been told already.
            let _ = self.marker.full.try_send(Full);
        }
    }
}

impl Drop for ProvisionalMark {
    fn drop(&mut self) {
        self.marker.filter.unanswered.leave(self.hash);
    }
}

#[cfg(test)]
pub(crate) mod tests;
