//! The packets that `store` has not answered yet.
//!
//! *Holds* one number for each such packet, from first sight to the answer. The batches that are being unwrapped and the window of
//! the link to `store` bound how many there are.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Parts of the set, each with a lock of its own, so that threads seldom wait for each other.
const SHARDS: usize = 64;

/// The set of the hashes of their tags.
pub(crate) struct Unanswered {
    shards: [Mutex<HashSet<u64>>; SHARDS],
}

impl Unanswered {
    /// Empty.
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Adds a packet, and returns whether it was absent.
    pub(crate) fn enter(&self, hash: u64) -> bool {
        self.shard(hash).is_some_and(|mut shard| shard.insert(hash))
    }

    /// Removes a packet.
    pub(crate) fn leave(&self, hash: u64) {
        if let Some(mut shard) = self.shard(hash) {
            shard.remove(&hash);
        }
    }

    /// The shard of a packet, which always exists.
    fn shard(&self, hash: u64) -> Option<MutexGuard<'_, HashSet<u64>>> {
        let shard = self.shards.get(hash as usize % SHARDS);
        debug_assert!(shard.is_some(), "no shard for {hash}");
        Some(shard?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
