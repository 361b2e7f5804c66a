//! The budget of bytes for packets that wait for next hops.
//!
//! *Trusts* nobody: a sender may name any next hop, and a next hop may stop reading. Half of the bytes is divided in equal parts, one for
//! each next hop that there may be. Of the other half, a next hop that needs more may hold a [fixed share](SHARE) of what is left.
//!
//! *Promises*: whatever others hold, a next hop has its part. Bytes are given back exactly when their packet is dropped, on whatever
//! path.

use figures::Number;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A next hop may hold one part in so many of the free bytes of the common half.
const SHARE: usize = 8;

/// Bytes that next hops share.
#[derive(Debug)]
pub(crate) struct HopBudget {
    part: usize,
    left: Arc<AtomicUsize>,
    /// Shows the bytes in use, in this budget and others.
    gauge: Number,
}

/// Bytes that one next hop has.
#[derive(Clone, Debug, Default)]
pub(crate) struct HopBytes(Arc<InUse>);

#[derive(Debug, Default)]
struct InUse {
    of_part: AtomicUsize,
    of_common: AtomicUsize,
}

impl HopBytes {
    /// How many they are.
    pub(crate) fn in_use(&self) -> u64 {
        let InUse { of_part, of_common } = &*self.0;
        (of_part.load(Ordering::Relaxed) as u64).saturating_add(of_common.load(Ordering::Relaxed) as u64)
    }
}

impl HopBudget {
    /// Divides `bytes` among at most `next_hops`. `gauge` shows the bytes in use.
    pub(crate) fn new(bytes: usize, next_hops: usize, gauge: Number) -> Self {
        let half = bytes / 2;
        Self { part: half / next_hops.max(1), left: Arc::new(AtomicUsize::new(half)), gauge }
    }

    /// Takes `bytes` for the next hop of `hop`, or nothing if it may not hold as many. Only one thread may take; bytes may come back at
    /// any time.
    pub(crate) fn take(&self, hop: &HopBytes, bytes: usize) -> Option<TakenBytes> {
        let InUse { of_part, of_common } = &*hop.0;
        if of_part.load(Ordering::Relaxed).saturating_add(bytes) <= self.part {
            of_part.fetch_add(bytes, Ordering::Relaxed);
            return Some(self.taken(hop, None, bytes));
        }
        let left = self.left.load(Ordering::Relaxed);
        if of_common.load(Ordering::Relaxed).saturating_add(bytes) > left / SHARE {
            return None;
        }
        of_common.fetch_add(bytes, Ordering::Relaxed);
        self.left.fetch_sub(bytes, Ordering::Relaxed);
        Some(self.taken(hop, Some(Arc::clone(&self.left)), bytes))
    }

    fn taken(&self, hop: &HopBytes, common: Option<Arc<AtomicUsize>>, bytes: usize) -> TakenBytes {
        self.gauge.fetch_add(bytes as u64, Ordering::Relaxed);
        TakenBytes { hop: hop.clone(), common, gauge: self.gauge.clone(), bytes }
    }
}

/// Bytes in use, given back on drop.
#[derive(Debug)]
pub(crate) struct TakenBytes {
    hop: HopBytes,
    /// The free bytes of the common half, if these bytes are from there.
    common: Option<Arc<AtomicUsize>>,
    gauge: Number,
    bytes: usize,
}

impl Drop for TakenBytes {
    fn drop(&mut self) {
        self.gauge.fetch_sub(self.bytes as u64, Ordering::Relaxed);
        let InUse { of_part, of_common } = &*self.hop.0;
        match &self.common {
            None => of_part.fetch_sub(self.bytes, Ordering::Relaxed),
            Some(left) => {
                left.fetch_add(self.bytes, Ordering::Relaxed);
                of_common.fetch_sub(self.bytes, Ordering::Relaxed)
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_has_its_part_and_a_share_and_bytes_come_back() {
        let gauge = Number::default();
        // Parts of 10 bytes, and 80 in common.
        let budget = HopBudget::new(160, 8, gauge.clone());
        let (one, other) = (HopBytes::default(), HopBytes::default());
        assert!(budget.take(&one, 11).is_none());
        let part = budget.take(&one, 10).unwrap();
        let share = budget.take(&one, 10).unwrap();
        assert!(budget.take(&one, 1).is_none());
        let part_of_other = budget.take(&other, 10).unwrap();
        let share_of_other = budget.take(&other, 8).unwrap();
        assert!(budget.take(&other, 1).is_none(), "of 62 bytes that are left 7 may be held");
        drop(share);
        assert!(budget.take(&one, 10).is_none(), "of 72 bytes that are left 9 may be held");
        drop(part);
        assert!(budget.take(&one, 10).is_some());
        drop((part_of_other, share_of_other));
        let part = budget.take(&one, 10).unwrap();
        let share = budget.take(&one, 10).unwrap();
        assert_eq!((one.in_use(), other.in_use()), (20, 0));
        drop((part, share));
        assert_eq!(gauge.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn however_many_hops_hoard_another_has_its_part() {
        let budget = HopBudget::new(48 << 20, 4_096, Number::default());
        let mut hoarded = Vec::new();
        for _ in 1..4_096 {
            let hop = HopBytes::default();
            while let Some(taken) = budget.take(&hop, 389) {
                hoarded.push(taken);
            }
        }
        let bytes: usize = hoarded.iter().map(|taken| taken.bytes).sum();
        let honest = HopBytes::default();
        let packets: Vec<_> = std::iter::from_fn(|| budget.take(&honest, 2_413)).collect();
        assert_eq!(packets.len(), 2);
        assert!(bytes + 2 * 2_413 <= 48 << 20);
    }
}
