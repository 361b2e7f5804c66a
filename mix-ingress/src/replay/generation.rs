//! One generation of marks: a filter, its number, its beginning and its count.
//!
//! *Promises*: the bits of a tag depend on nothing but seed, tag and shape, so marks that one process saves mean the same to the
//! next.

use std::{
    hash::Hasher,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use ipc::{
    ingress_store::ReplayGeneration,
    replay_settings::{BLOCK_LEN, GenerationSize},
};
use siphasher::sip::SipHasher13;

use super::blocked::BlockedFilter;
use crate::sphinx::ReplayTag;

const WORD_LEN: usize = size_of::<u64>();

/// The size of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    blocks: usize,
    hashes: u32,
}

impl Shape {
    /// The shape of a generation of this size.
    pub(crate) fn of(size: &GenerationSize) -> Self {
        Self { blocks: usize::try_from(size.blocks).unwrap_or(usize::MAX), hashes: size.hashes }
    }

    /// Bytes of marks.
    pub(crate) const fn len(self) -> u64 {
        (self.blocks as u64).saturating_mul(BLOCK_LEN as u64)
    }

    /// Whether the saved marks have this shape.
    pub(crate) const fn fits(self, saved: &ReplayGeneration) -> bool {
        saved.len == self.len() && saved.hashes == self.hashes
    }
}

/// Hashes each tag to the number from which all of its bits follow.
pub(crate) struct TagHasher {
    seed: [u8; 16],
    keyed: SipHasher13,
}

impl TagHasher {
    /// Keyed with `seed`.
    pub(crate) fn new(seed: [u8; 16]) -> Self {
        Self { seed, keyed: SipHasher13::new_with_key(&seed) }
    }

    /// The number of a tag.
    pub(crate) fn hash(&self, tag: &ReplayTag) -> u64 {
        let mut hasher = self.keyed;
        hasher.write(&tag.0);
        hasher.finish()
    }

    /// The seed that keys the hash.
    pub(crate) const fn seed(&self) -> [u8; 16] {
        self.seed
    }
}

/// A filter and its description.
pub(crate) struct Generation {
    marks: BlockedFilter,
    number: u64,
    begun: Duration,
    marked: AtomicU64,
}

impl Generation {
    /// A generation without marks. `begun` is the time since 1970.
    pub(crate) fn new(shape: Shape, number: u64, begun: Duration) -> Self {
        let marks = BlockedFilter::new(shape.blocks, shape.hashes);
        Self { marks, number, begun, marked: AtomicU64::new(0) }
    }

    /// Whether a packet is marked.
    pub(crate) fn holds(&self, hash: u64) -> bool {
        self.marks.holds(hash)
    }

    /// Marks a packet.
    pub(crate) fn insert(&self, hash: u64) {
        if self.marks.insert(hash) {
            self.marked.fetch_add(1, Relaxed);
        }
    }

    /// Counts up from generation to generation.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Packets marked.
    pub(crate) fn marked(&self) -> u64 {
        self.marked.load(Relaxed)
    }

    /// The beginning of the generation, as the time since 1970.
    pub(crate) const fn begun(&self) -> Duration {
        self.begun
    }

    /// The description that is saved beside the marks.
    pub(crate) fn describe(&self, hasher: &TagHasher) -> ReplayGeneration {
        ReplayGeneration {
            number: self.number,
            seed: hasher.seed(),
            hashes: self.marks.hashes(),
            marked: self.marked(),
            begun: self.begun.as_secs(),
            len: (self.marks.len() * WORD_LEN) as u64,
        }
    }

    /// Marks from byte `offset` on, at most `len` bytes. Empty after the last mark.
    pub(crate) fn piece(&self, offset: usize, len: usize) -> Vec<u8> {
        let words = self.marks.words().skip(offset / WORD_LEN).take((len / WORD_LEN).max(1));
        words.flat_map(|word| word.load(Relaxed).to_le_bytes()).collect()
    }
}

/// A generation that is being filled with its saved marks.
pub(crate) struct Restoring {
    generation: Generation,
    saved: u64,
    word: usize,
}

impl Restoring {
    /// Begins without marks. A generation that claims to begin later than `now` begins now: otherwise it might never grow old.
    pub(crate) fn begin(shape: Shape, saved: &ReplayGeneration, now: Duration) -> Self {
        let begun = Duration::from_secs(saved.begun).min(now);
        Self { generation: Generation::new(shape, saved.number, begun), saved: saved.marked, word: 0 }
    }

    /// The number of bytes taken so far.
    pub(crate) const fn offset(&self) -> u64 {
        (self.word as u64).saturating_mul(WORD_LEN as u64)
    }

    /// Takes the next bytes. Returns false, and takes nothing, if they are not whole words or too many.
    pub(crate) fn take(&mut self, marks: &[u8]) -> bool {
        let (words, rest) = marks.as_chunks::<WORD_LEN>();
        let room = self.generation.marks.len() - self.word;
        if !rest.is_empty() || words.is_empty() || words.len() > room {
            return false;
        }
        for (to, from) in self.generation.marks.words().skip(self.word).zip(words) {
            to.store(u64::from_le_bytes(*from), Relaxed);
        }
        self.word = self.word.saturating_add(words.len());
        true
    }

    /// Whether all marks were taken.
    pub(crate) fn is_whole(&self) -> bool {
        self.word == self.generation.marks.len()
    }

    /// The generation. None if it is not whole, because half a generation would be saved as if it were whole.
    pub(crate) fn finish(self) -> Option<Generation> {
        let is_whole = self.is_whole();
        self.generation.marked.store(self.saved, Relaxed);
        is_whole.then_some(self.generation)
    }
}
