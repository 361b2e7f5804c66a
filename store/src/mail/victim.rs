//! Which segment is cleaned next, and what of it is needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};

use wire::address::ClientAddress;

use super::{
    Log,
    entry::{Fact, Gone, Put},
    index::{GONE_WEIGHT, Index, Segment, State},
    millis, scan,
    segment::{Seal, Slot},
    shelf::{SegmentFile, Shelf},
};
use crate::clock;

/// Files are cleaned when they are larger than what is alive by this, and by a segment.
const DEAD_WEIGHT: (u64, u64) = (31, 20);
/// A removed message leaves the disk within this time.
const STAYS: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// A segment of which this part or more is needed, in thousandths, is not worth cleaning.
const WORTHWHILE: u64 = 900;

/// Why a segment is cleaned, in order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// There is no room for another segment.
    Room,
    /// The segment is in doubt, or nothing in it is alive, or too much of all files is dead, or it is old.
    Order,
}

/// What a segment holds, sorted.
#[derive(Debug)]
pub(super) struct SegmentFacts {
    /// Alive and dead ones.
    pub(super) puts: Vec<Put>,
    pub(super) gone: Vec<Gone>,
    /// How many messages of each inbox there are.
    pub(super) owners: BTreeMap<ClientAddress, u32>,
}

impl SegmentFacts {
    /// Reads all facts of a segment that ends at `end`.
    pub(super) fn read(file: &impl SegmentFile, seal: &Seal, end: u64) -> io::Result<Self> {
        let mut sorted = Self { puts: Vec::new(), gone: Vec::new(), owners: BTreeMap::new() };
        for fact in scan::scan(file, seal, end)?.facts {
            match fact {
                Fact::Put(put) => {
                    *sorted.owners.entry(put.inbox).or_default() += 1;
                    sorted.puts.push(put);
                }
                Fact::Gone(gone) => sorted.gone.push(gone),
            }
        }
        Ok(sorted)
    }
}

impl<S: Shelf> Log<S> {
    /// The segment to be cleaned next.
    pub(super) fn victim(&self, need: Need) -> Option<Slot> {
        let index = self.index();
        let closed = || index.segments().filter(|(_, segment)| segment.state == State::Closed);
        let is_suspect = |segment: &Segment<S::File>| matches!(segment.state, State::Failed | State::Doubtful);
        if let Some((slot, _)) = index.segments().find(|(_, segment)| is_suspect(segment)) {
            return Some(slot);
        }
        let is_done = |segment: &Segment<S::File>| needed_bytes(segment) == 0 && segment.state != State::Open;
        if let Some((slot, _)) = index.segments().find(|(_, segment)| is_done(segment)) {
            return Some(slot);
        }
        let files: u64 = closed().map(|(_, segment)| segment.len).sum();
        let alive: u64 = closed().map(|(_, segment)| needed_bytes(segment)).sum();
        let is_loose = files > alive / DEAD_WEIGHT.1 * DEAD_WEIGHT.0 + self.settings.segment;
        let emptiest = closed().min_by_key(|(_, segment)| (share(segment), segment.number));
        if (need == Need::Room || is_loose)
            && let Some((slot, _)) = emptiest.filter(|(_, segment)| share(segment) < WORTHWHILE)
        {
            return Some(slot);
        }
        if need == Need::Room {
            drop(index);
            return self.outdated();
        }
        let has_dead = |segment: &Segment<S::File>| share_of_written(segment) < WORTHWHILE;
        closed().find(|(_, segment)| is_old(segment) && has_dead(segment)).map(|(slot, _)| slot)
    }

    /// A segment of which most is facts that were needed when it was written, and are not any more.
    fn outdated(&self) -> Option<Slot> {
        let kept: Vec<_> = {
            let index = self.index();
            let kept = index.segments().filter(|(_, segment)| segment.state == State::Closed && segment.kept > 0);
            kept.map(|(slot, segment)| (slot, Arc::clone(&segment.file), segment.seal.clone(), segment.end)).collect()
        };
        kept.into_iter().find_map(|(slot, file, seal, end)| {
            let SegmentFacts { gone, owners, .. } = SegmentFacts::read(file.as_ref(), &seal, end).ok()?;
            let mut index = self.index_mut();
            let kept = needed(&index, &gone, &owners).len() as u64 * GONE_WEIGHT;
            let segment = index.segment_mut(slot)?;
            segment.kept = segment.kept.min(kept);
            (share(segment) < WORTHWHILE).then_some(slot)
        })
    }
}

/// The facts about gone messages of a segment that must be written elsewhere before the segment goes. `owners` are those of its
/// messages.
pub(super) fn needed<F>(index: &Index<F>, gone: &[Gone], owners: &BTreeMap<ClientAddress, u32>) -> BTreeSet<Gone> {
    let elsewhere = |gone: &&Gone| index.dead(&gone.inbox) > owners.get(&gone.inbox).copied().unwrap_or(0);
    gone.iter().filter(elsewhere).filter_map(|gone| index.widened(gone)).collect()
}

/// Whether what is dead in a segment has stayed long enough.
pub(super) fn is_old<F>(segment: &Segment<F>) -> bool {
    segment.made.saturating_add(millis(STAYS)) < millis(clock::now())
}

/// How much of a segment is needed, in thousandths.
fn share<F>(segment: &Segment<F>) -> u64 {
    needed_bytes(segment).saturating_mul(1_000) / segment.len.max(1)
}

/// Bytes of a segment that would be rewritten if it was cleaned.
const fn needed_bytes<F>(segment: &Segment<F>) -> u64 {
    segment.alive + segment.kept
}

/// How much of what was written to a segment is alive, in thousandths.
fn share_of_written<F>(segment: &Segment<F>) -> u64 {
    segment.alive.saturating_mul(1_000) / segment.written().max(1)
}
