//! The ledger's share of the limit on the gateway's data.

/// The part of the limit that is the ledger's own.
const LEDGER_SHARE: u64 = 8;
/// One part in so many of its share is for the ledger's file while clients are taken and nothing is rewritten. The rest is for
/// later changes of registered clients, and for the records of a rewrite.
pub(super) const FILLED: u64 = 3;
/// The ledger's part is not smaller than this, unless that is half of the limit: an empty one has some megabytes.
const SMALLEST_SHARE: u64 = 32 * 1024 * 1024;

/// Bytes of this limit that the ledger's file may have.
pub(super) fn ledger_share(limit: u64) -> u64 {
    (limit / LEDGER_SHARE).max(SMALLEST_SHARE).min(limit / 2)
}
