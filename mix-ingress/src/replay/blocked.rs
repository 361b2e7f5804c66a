//! A Bloom filter in blocks of one cache line, that any number of threads fill at once.
//!
//! The hash of a packet selects a block, and the bits of that block. So a look-up reads one cache line. A filter without blocks reads up
//! to one line for each hash, and the processor has to wait for each. The price is size: blocks are not equally full, and the fuller
//! ones are wrong more often. `ipc::replay_settings` knows how much.
//!
//! *Promises*: the bits that a hash sets depend on nothing but the hash and the size of the filter.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ipc::replay_settings::BLOCK_LEN;

/// Bits that name one bit of a block.
const INDEX_BITS: u32 = 9;

/// How many bits of a block one random word names.
const INDICES_PER_WORD: u32 = u64::BITS / INDEX_BITS;

const WORDS: usize = BLOCK_LEN / size_of::<u64>();

/// A cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Block([AtomicU64; WORDS]);

/// The blocks, and how many bits each hash sets.
#[derive(Debug)]
pub(super) struct BlockedFilter {
    blocks: Box<[Block]>,
    hashes: u32,
}

impl BlockedFilter {
    /// A filter without marks.
    pub(super) fn new(blocks: usize, hashes: u32) -> Self {
        Self { blocks: std::iter::repeat_with(Block::default).take(blocks.max(1)).collect(), hashes }
    }

    /// Whether a hash was inserted, or others have set all its bits.
    pub(super) fn holds(&self, hash: u64) -> bool {
        self.block(hash).is_some_and(|block| bits(hash, self.hashes).all(|bit| block.has(bit)))
    }

    /// Sets the bits of a hash, and returns whether any of them was clear.
    pub(super) fn insert(&self, hash: u64) -> bool {
        let Some(block) = self.block(hash) else { return false };
        bits(hash, self.hashes).fold(false, |is_new, bit| block.set(bit) | is_new)
    }

    /// The number of bits that each hash sets, or fewer if some coincide.
    pub(super) const fn hashes(&self) -> u32 {
        self.hashes
    }

    /// All words, in the order in which they are saved.
    pub(super) fn words(&self) -> impl Iterator<Item = &AtomicU64> {
        self.blocks.iter().flat_map(|block| &block.0)
    }

    /// The number of words.
    pub(super) const fn len(&self) -> usize {
        self.blocks.len() * WORDS
    }

    /// The block of a hash. It always exists, because the upper half of the product is less than the number of blocks.
    fn block(&self, hash: u64) -> Option<&Block> {
        let index = (u128::from(hash) * self.blocks.len() as u128) >> u64::BITS;
        let block = self.blocks.get(index as usize);
        debug_assert!(block.is_some(), "no block {index}");
        block
    }
}

impl Block {
    fn word(&self, bit: u64) -> Option<(&AtomicU64, u64)> {
        let word = self.0.get((bit / u64::from(u64::BITS)) as usize)?;
        Some((word, 1 << (bit % u64::from(u64::BITS))))
    }

    fn has(&self, bit: u64) -> bool {
        self.word(bit).is_some_and(|(word, mask)| word.load(Relaxed) & mask != 0)
    }

    /// Sets a bit, and returns whether it was clear.
    fn set(&self, bit: u64) -> bool {
        self.word(bit).is_some_and(|(word, mask)| word.fetch_or(mask, Relaxed) & mask == 0)
    }
}

/// The bits of a block that a hash sets. They are independent of each other; otherwise pairs of packets would share all of them too
/// often.
fn bits(hash: u64, count: u32) -> impl Iterator<Item = u64> {
    (0..count).map(move |number| {
        let word = random(hash, number / INDICES_PER_WORD);
        (word >> (number % INDICES_PER_WORD * INDEX_BITS)) & ((1 << INDEX_BITS) - 1)
    })
}

/// The words of SplitMix64 (Steele, Lea and Flood, 2014) whose state begins with `hash`.
fn random(hash: u64, number: u32) -> u64 {
    let mut word = hash.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(number) + 1));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
