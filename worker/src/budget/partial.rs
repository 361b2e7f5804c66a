//! The memory of messages that have begun and not ended, of all connections of a process together.
//!
//! *Promises*: they never hold more than the budget. At the limit, the connection that holds the most for the longest is
//! evicted, and not the newest one. Otherwise an attacker who begins messages and never ends them would keep everybody else out.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use figures::Number;
use tokio::sync::Notify;

/// Added to the age of each message, so that one that has just begun has a weight.
const MOMENT: Duration = Duration::from_millis(10);
/// At the limit this fraction of the budget is freed at once, so that not every message has to search for room.
const FREED_AT_ONCE: u64 = 16;

/// The budget. Clones share it.
#[derive(Clone, Debug)]
pub struct PartialBudget(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    most: u64,
    used: u64,
    /// Shows the bytes in use.
    gauge: Number,
    next: u64,
    holders: HashMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    bytes: u64,
    since: Instant,
    eviction: Arc<Eviction>,
}

/// How the owner of a permit learns of its eviction.
#[derive(Debug, Default)]
struct Eviction {
    given: AtomicBool,
    notify: Notify,
}

/// The memory is needed for others. The message must be dropped and its connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory for messages that have not ended is needed for others")]
pub struct Evicted;

/// The memory of the message that has begun on one connection. Given back when dropped.
#[derive(Debug)]
pub struct PartialPermit {
    all: PartialBudget,
    number: u64,
    eviction: Arc<Eviction>,
    holds: bool,
}

impl PartialBudget {
    /// A budget of `bytes`. `gauge` shows the bytes in use.
    pub fn new(bytes: u64, gauge: Number) -> Self {
        Self(Arc::new(Mutex::new(Table { most: bytes, used: 0, gauge, next: 0, holders: HashMap::new() })))
    }

    /// The permit of a connection on which no message has begun.
    pub fn permit(&self) -> PartialPermit {
        let mut table = self.table();
        table.next += 1;
        PartialPermit { all: self.clone(), number: table.next, eviction: Arc::default(), holds: false }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // The table is consistent at any moment, even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialPermit {
    /// Sets the bytes of the message that has begun; none if it has ended.
    ///
    /// # Errors
    /// If the permit is evicted, now or since the last call.
    pub fn hold(&mut self, bytes: usize, now: Instant) -> Result<(), Evicted> {
        if bytes == 0 {
            // The common case takes no lock.
            return if self.holds { self.let_go() } else { Ok(()) };
        }
        let mut table = self.all.table();
        if self.is_evicted() {
            return Err(Evicted);
        }
        let eviction = &self.eviction;
        let holder = table.holders.entry(self.number).or_insert_with(|| Holder {
            bytes: 0,
            since: now,
            eviction: Arc::clone(eviction),
        });
        let before = std::mem::replace(&mut holder.bytes, bytes as u64);
        let used = table.used.saturating_sub(before).saturating_add(bytes as u64);
        table.use_in_all(used);
        self.holds = true;
        if table.used > table.most {
            table.make_room(now);
        }
        if self.is_evicted() { Err(Evicted) } else { Ok(()) }
    }

    /// A handle that waits for the eviction while the permit is used elsewhere.
    pub fn watch(&self) -> EvictionWatch {
        EvictionWatch(Arc::clone(&self.eviction))
    }

    fn let_go(&mut self) -> Result<(), Evicted> {
        self.holds = false;
        self.all.table().remove(self.number);
        if self.is_evicted() { Err(Evicted) } else { Ok(()) }
    }

    fn is_evicted(&self) -> bool {
        self.eviction.given.load(Relaxed)
    }
}

/// Waits for the eviction of a [`PartialPermit`].
#[derive(Debug)]
pub struct EvictionWatch(Arc<Eviction>);

impl EvictionWatch {
    /// Waits until the permit is evicted. Cancel-safe.
    pub async fn evicted(&self) {
        while !self.0.given.load(Relaxed) {
            self.0.notify.notified().await;
        }
    }
}

impl Drop for PartialPermit {
    fn drop(&mut self) {
        if self.holds {
            self.all.table().remove(self.number);
        }
    }
}

impl Table {
    fn use_in_all(&mut self, used: u64) {
        self.used = used;
        self.gauge.store(used, Relaxed);
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Eviction>> {
        let holder = self.holders.remove(&number)?;
        self.use_in_all(self.used.saturating_sub(holder.bytes));
        Some(holder.eviction)
    }

    /// Evicts the permits that hold the most for the longest. Their memory counts as free at once; it is freed when their tasks run.
    fn make_room(&mut self, now: Instant) {
        let wanted = self.most.saturating_sub(self.most / FREED_AT_ONCE);
        let weight = |holder: &Holder| {
            let age = now.saturating_duration_since(holder.since).saturating_add(MOMENT);
            u128::from(holder.bytes).saturating_mul(age.as_millis())
        };
        let mut by_weight: Vec<(u128, u64)> =
            self.holders.iter().map(|(number, holder)| (weight(holder), *number)).collect();
        by_weight.sort_unstable();
        while self.used > wanted
            && let Some((_, number)) = by_weight.pop()
        {
            if let Some(eviction) = self.remove(number) {
                eviction.given.store(true, Relaxed);
                eviction.notify.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn who_holds_most_for_longest_gives_way() {
        let used = Number::default();
        let partials = PartialBudget::new(100, used.clone());
        let start = Instant::now();
        let [mut old, mut large, mut small] = [(); 3].map(|()| partials.permit());
        assert_eq!(old.hold(40, start), Ok(()));
        assert_eq!(large.hold(50, start + 9 * SECOND), Ok(()));
        assert_eq!(small.hold(20, start + 10 * SECOND), Ok(()), "the newcomer stays");
        old.watch().evicted().await;
        assert_eq!(old.hold(41, start), Err(Evicted));
        assert!(!large.is_evicted() && !small.is_evicted());
        assert_eq!(used.load(Relaxed), 70);
        assert_eq!(small.hold(200, start + 10 * SECOND), Err(Evicted), "too much for all");
    }

    #[test]
    fn what_ends_or_goes_holds_nothing() {
        let used = Number::default();
        let partials = PartialBudget::new(100, used.clone());
        let mut one = partials.permit();
        let now = Instant::now();
        assert_eq!((one.hold(60, now), one.hold(0, now), used.load(Relaxed)), (Ok(()), Ok(()), 0));
        let mut other = partials.permit();
        assert_eq!((other.hold(100, now), used.load(Relaxed)), (Ok(()), 100));
        drop(other);
        assert_eq!((one.hold(100, now), used.load(Relaxed)), (Ok(()), 100));
    }
}
