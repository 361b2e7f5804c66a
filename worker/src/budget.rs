//! Byte budgets: bounds on the memory that a process holds for strangers.
//!
//! *Promises*: bytes are given back when the permit is dropped, and not before. The bytes of all permits never exceed the
//! budget.

mod partial;

use std::sync::{Arc, atomic::Ordering::Relaxed};

use figures::Number;

pub use partial::{Evicted, EvictionWatch, PartialBudget, PartialPermit};

/// A budget. Clones share it.
#[derive(Clone, Debug)]
pub struct ByteBudget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: u64,
    used: Number,
}

impl ByteBudget {
    /// A budget of `bytes`, all of them free.
    pub fn new(bytes: u64) -> Self {
        Self::with_gauge(bytes, Number::default())
    }

    /// As [`new`](Self::new). `gauge` shows the bytes in use; it must be zero, and nothing else may change it.
    pub fn with_gauge(bytes: u64, gauge: Number) -> Self {
        Self(Arc::new(Inner { most: bytes, used: gauge }))
    }

    /// Takes `bytes`, or `None` if fewer are free.
    pub fn take(&self, bytes: u64) -> Option<BytePermit> {
        let mut permit = self.permit();
        permit.grow(bytes, 0).then_some(permit)
    }

    /// A permit for no bytes, which can [grow](BytePermit::grow).
    pub fn permit(&self) -> BytePermit {
        BytePermit { budget: self.clone(), bytes: 0 }
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.0.used.load(Relaxed)
    }

    /// Bytes in all.
    pub fn most(&self) -> u64 {
        self.0.most
    }

    /// Bytes that are free.
    pub fn free(&self) -> u64 {
        self.most().saturating_sub(self.used())
    }
}

/// Bytes of a budget. Given back when dropped.
#[derive(Debug)]
pub struct BytePermit {
    budget: ByteBudget,
    bytes: u64,
}

impl BytePermit {
    /// The budget of the permit.
    pub const fn budget(&self) -> &ByteBudget {
        &self.budget
    }

    /// The bytes of the permit.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes `bytes` more. Returns `false`, and takes nothing, if fewer than `reserve` would be left for others.
    pub fn grow(&mut self, bytes: u64, reserve: u64) -> bool {
        let most = self.budget.most().saturating_sub(reserve);
        let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= most);
        let grown = self.budget.0.used.try_update(Relaxed, Relaxed, more).is_ok();
        if grown {
            self.bytes += bytes;
        }
        grown
    }

    /// Gives back `bytes`, or all if the permit has fewer.
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.0.used.fetch_sub(bytes, Relaxed);
    }

    /// Moves all bytes to a new permit.
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self { budget: self.budget.clone(), bytes: std::mem::take(&mut self.bytes) }
    }

    /// Takes over the bytes of another permit of the same budget.
    pub fn absorb(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for BytePermit {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_budget_is_bounded_and_comes_back() {
        let budget = ByteBudget::new(10);
        let seven = budget.take(7).unwrap();
        assert!(budget.take(4).is_none());
        let three = budget.take(3).unwrap();
        assert!(budget.take(1).is_none());
        drop(seven);
        assert!(budget.take(8).is_none());
        assert!(budget.take(7).is_some());
        drop(three);
        assert!(budget.take(10).is_some());
    }

    #[test]
    fn a_reserve_is_left_for_others() {
        let budget = ByteBudget::new(10);
        let mut permit = budget.permit();
        assert!(!permit.grow(8, 3) && permit.grow(7, 3));
        assert!(!permit.grow(1, 3) && budget.take(3).is_some());
        assert_eq!((permit.bytes(), budget.free()), (7, 3));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_made(steps in prop::collection::vec((0..4_u8, 0..50_u64), 0..60)) {
            let budget = ByteBudget::new(100);
            let mut permits = Vec::new();
            for (what, bytes) in steps {
                match what {
                    0 => permits.extend(budget.take(bytes)),
                    1 => drop(permits.pop()),
                    2 => if let (Some(one), Some(mut other)) = (permits.pop(), permits.pop()) {
                        other.absorb(one);
                        permits.push(other);
                    },
                    _ => if let Some(permit) = permits.last_mut() {
                        permit.shrink(bytes);
                    },
                }
                prop_assert_eq!(budget.used(), permits.iter().map(BytePermit::bytes).sum::<u64>());
                prop_assert!(budget.used() <= 100);
            }
            drop(permits);
            prop_assert_eq!(budget.used(), 0);
        }
    }
}
