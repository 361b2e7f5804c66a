//! What the store counts.

pub use figures::store::StoreCounters;
