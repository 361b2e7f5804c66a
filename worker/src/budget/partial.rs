//! Messages that have begun and not ended, of all connections of a process together.
//!
//! *Promises*: they never hold more than the budget. When it is short, whoever holds the most for the longest gives way,
//! not whoever comes last: somebody who begins messages and never ends them would otherwise keep everybody else out.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// Added to the age of each, so that what has just begun weighs something.
const MOMENT: Duration = Duration::from_millis(10);
/// When the budget is short, one part in so many is made free at once, so that not each message has to look for room.
const FREED_AT_ONCE: u64 = 16;

/// The budget. Clones share it.
#[derive(Clone, Debug)]
pub struct PartialBudget(Arc<Mutex<Table>>);

#[derive(Debug)]
struct Table {
    most: u64,
    used: u64,
    /// Shows what is in use.
    gauge: Arc<AtomicU64>,
    next: u64,
    holders: HashMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    bytes: u64,
    since: Instant,
    order: Arc<Order>,
}

/// How one of them learns that it has to give way.
#[derive(Debug, Default)]
struct Order {
    given: AtomicBool,
    notify: Notify,
}

/// The beginning of a message has to be thrown away, and the connection with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory for messages that have not ended is needed for others")]
pub struct Evicted;

/// The beginning of a message on one connection. Gives back what it holds when dropped.
#[derive(Debug)]
pub struct PartialPermit {
    all: PartialBudget,
    number: u64,
    order: Arc<Order>,
    holds: bool,
}

impl PartialBudget {
    /// A budget of so many bytes; `gauge` shows how many are in use.
    pub fn new(bytes: u64, gauge: Arc<AtomicU64>) -> Self {
        Self(Arc::new(Mutex::new(Table { most: bytes, used: 0, gauge, next: 0, holders: HashMap::new() })))
    }

    /// For a connection that has begun no message.
    pub fn permit(&self) -> PartialPermit {
        let mut table = self.table();
        table.next += 1;
        PartialPermit { all: self.clone(), number: table.next, order: Arc::default(), holds: false }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Whole at any moment, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialPermit {
    /// What has begun has so many bytes now; none, if it has ended.
    ///
    /// # Errors
    /// If it has to give way, now or since the last time.
    pub fn hold(&mut self, bytes: usize, now: Instant) -> Result<(), Evicted> {
        if bytes == 0 {
            // The common case takes no lock.
            return if self.holds { self.let_go() } else { Ok(()) };
        }
        let mut table = self.all.table();
        if self.has_to_go() {
            return Err(Evicted);
        }
        let order = &self.order;
        let holder = table.holders.entry(self.number).or_insert_with(|| Holder {
            bytes: 0,
            since: now,
            order: Arc::clone(order),
        });
        let before = std::mem::replace(&mut holder.bytes, bytes as u64);
        let used = table.used.saturating_sub(before).saturating_add(bytes as u64);
        table.use_in_all(used);
        self.holds = true;
        if table.used > table.most {
            table.make_room(now);
        }
        if self.has_to_go() { Err(Evicted) } else { Ok(()) }
    }

    /// Where it can be waited for that it has to give way, while it is used elsewhere.
    pub fn watch(&self) -> EvictionWatch {
        EvictionWatch(Arc::clone(&self.order))
    }

    fn let_go(&mut self) -> Result<(), Evicted> {
        self.holds = false;
        self.all.table().remove(self.number);
        if self.has_to_go() { Err(Evicted) } else { Ok(()) }
    }

    fn has_to_go(&self) -> bool {
        self.order.given.load(Relaxed)
    }
}

/// Tells when a [`PartialPermit`] has to give way.
#[derive(Debug)]
pub struct EvictionWatch(Arc<Order>);

impl EvictionWatch {
    /// Waits until it has to. Nothing is lost if the wait is given up.
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

    fn remove(&mut self, number: u64) -> Option<Arc<Order>> {
        let holder = self.holders.remove(&number)?;
        self.use_in_all(self.used.saturating_sub(holder.bytes));
        Some(holder.order)
    }

    /// Sends away those who hold the most for the longest. Their memory is counted as free at once; it is as soon as they run.
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
            if let Some(order) = self.remove(number) {
                order.given.store(true, Relaxed);
                order.notify.notify_one();
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
        let used = Arc::new(AtomicU64::new(0));
        let partials = PartialBudget::new(100, Arc::clone(&used));
        let start = Instant::now();
        let [mut old, mut large, mut small] = [(); 3].map(|()| partials.permit());
        assert_eq!(old.hold(40, start), Ok(()));
        assert_eq!(large.hold(50, start + 9 * SECOND), Ok(()));
        assert_eq!(small.hold(20, start + 10 * SECOND), Ok(()), "the newcomer stays");
        old.watch().evicted().await;
        assert_eq!(old.hold(41, start), Err(Evicted));
        assert!(!large.has_to_go() && !small.has_to_go());
        assert_eq!(used.load(Relaxed), 70);
        assert_eq!(small.hold(200, start + 10 * SECOND), Err(Evicted), "too much for all");
    }

    #[test]
    fn what_ends_or_goes_holds_nothing() {
        let used = Arc::new(AtomicU64::new(0));
        let partials = PartialBudget::new(100, Arc::clone(&used));
        let mut one = partials.permit();
        let now = Instant::now();
        assert_eq!((one.hold(60, now), one.hold(0, now), used.load(Relaxed)), (Ok(()), Ok(()), 0));
        let mut other = partials.permit();
        assert_eq!((other.hold(100, now), used.load(Relaxed)), (Ok(()), 100));
        drop(other);
        assert_eq!((one.hold(100, now), used.load(Relaxed)), (Ok(()), 100));
    }
}
