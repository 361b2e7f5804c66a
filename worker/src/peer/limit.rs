//! The limit on the connections of a port, and which connection is evicted for a new one.
//!
//! *Trusts* the owner of a permit when it reports that the connection proved something. *Holds* for each connection its prefix,
//! its level and when it was useful last; and for a while the prefixes that were useful. *Promises*: never more
//! connections than allowed, in all and of any network. A new connection at the limit is let in. The connection that is evicted for it
//! is one of those that proved least, from the network that holds most of them, and there the one that has been useless
//! for longest. Strangers cannot take the places of useful connections, however many addresses they have.
//!
//! Each connection has a [`ProofLevel`], and each level has a share of all places that lower levels cannot take. For one connection
//! too many, the lowest level over its share loses one. So of 20,000 places strangers always have 2,500, in which they can
//! prove themselves, and never take more than that from the others.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{
    prefix::{AddressPrefix, Network},
    table::{ConnectionTable, FULL_PROOF, Proof, ProofLevel},
    tree::{Id, PrefixTree},
};

/// How long the listener waits for evicted connections to close.
const DEPARTURE_LIMIT: Duration = Duration::from_millis(100);

/// The limit of one port. The lock is taken when a connection begins, ends or changes its level, not for each proof.
#[derive(Clone, Debug)]
pub struct ConnectionLimit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    most: usize,
    most_per_prefix: u32,
    /// Most evicted connections that are not closed yet, since these still have their descriptors.
    most_departing: usize,
    began: Instant,
    state: Mutex<ConnectionTable>,
    /// An evicted connection is closed.
    departed: Notify,
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReached {
    /// As many connections as allowed are open, and each has proved more.
    InAll,
    /// As many connections from this prefix, or from a network around it, as allowed are open, and each has proved more.
    ForPrefix,
}

/// The place of one connection. Free again when dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    id: Id,
    prefix: AddressPrefix,
    proof: Arc<Proof>,
    shared: Arc<Shared>,
}

/// The permit of a new connection, and whether another connection was evicted for it.
#[derive(Debug)]
pub struct Admitted {
    /// The permit.
    pub permit: ConnectionPermit,
    /// Whether another connection was evicted.
    pub evicted_another: bool,
}

impl ConnectionLimit {
    /// A limit of `most` connections in all and `most_per_prefix` from one prefix. For wider networks it is higher: see
    /// [`Network::share`](super::Network::share).
    pub fn new(most: u32, most_per_prefix: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let began = Instant::now();
        let shared = Shared {
            most,
            most_per_prefix,
            most_departing: (most / 16).max(1),
            began,
            state: Mutex::new(ConnectionTable::new(began)),
            departed: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Admits a connection from `prefix`; another connection may be evicted for it.
    ///
    /// # Errors
    /// If every other connection has proved more.
    pub fn admit(&self, prefix: AddressPrefix) -> Result<Admitted, LimitReached> {
        self.admit_at(prefix, Instant::now())
    }

    /// Admits a connection of a trusted proxy whose client is not known yet. Only the limit in all counts.
    ///
    /// # Errors
    /// If every other connection has proved more.
    pub fn admit_proxied(&self, proxy: AddressPrefix) -> Result<Admitted, LimitReached> {
        self.place(proxy, None, Instant::now())
    }

    /// Waits until most evicted connections are closed, so that new ones are accepted no faster than evicted ones leave. Gives up
    /// after a tenth of a second.
    pub async fn departures(&self) {
        let gone = async {
            loop {
                let departed = self.shared.departed.notified();
                if self.shared.state().departing() < self.shared.most_departing {
                    return;
                }
                departed.await;
            }
        };
        // A connection that does not close in time must not stop the listener; new connections are refused then.
        let _ = timeout(DEPARTURE_LIMIT, gone).await;
    }

    fn admit_at(&self, prefix: AddressPrefix, now: Instant) -> Result<Admitted, LimitReached> {
        self.place(prefix, Some(self.shared.most_per_prefix), now)
    }

    fn place(
        &self,
        prefix: AddressPrefix,
        most_per_prefix: Option<u32>,
        now: Instant,
    ) -> Result<Admitted, LimitReached> {
        let Shared { most, most_departing, .. } = *self.shared;
        let mut state = self.shared.state();
        let level = if state.knows(prefix, now) { ProofLevel::Proven } else { ProofLevel::Stranger };
        // The narrowest network that is full: an eviction there makes room in the wider networks too.
        let full = most_per_prefix.and_then(|most| {
            let is_full = |network: &Network| state.connections_from(*network) >= network.share(most) as usize;
            prefix.networks().rev().find(is_full)
        });
        let is_full = full.is_some() || state.connections() >= most;
        if is_full && state.departing() >= most_departing {
            return Err(LimitReached::InAll);
        }
        let proof = Arc::new(Proof::default());
        let id = state.join(prefix, level, Arc::clone(&proof), self.shared.millis(now));
        let victim = match full {
            Some(network) => state.first_to_go(ProofLevel::Stranger, |tree| tree.first_to_go_from(network)),
            None if is_full => {
                state.review(self.shared.millis(now));
                let lowest = state.lowest_over_share(most);
                state.first_to_go(lowest, PrefixTree::first_to_go)
            }
            None => None,
        };
        if victim == Some(id) {
            state.refuse(id);
            return Err(if full.is_some() { LimitReached::ForPrefix } else { LimitReached::InAll });
        }
        if let Some(victim) = victim {
            state.evict(victim, now);
        }
        drop(state);
        let permit = ConnectionPermit { id, prefix, proof, shared: Arc::clone(&self.shared) };
        Ok(Admitted { permit, evicted_another: victim.is_some() })
    }
}

impl ConnectionPermit {
    /// The prefix from which the connection comes.
    pub const fn prefix(&self) -> AddressPrefix {
        self.prefix
    }

    /// Counts the connection for `client`, now that its proxy has named the client.
    ///
    /// # Errors
    /// If there is no place for this client.
    pub fn for_client(self, client: AddressPrefix) -> Result<Admitted, LimitReached> {
        let limit = ConnectionLimit { shared: Arc::clone(&self.shared) };
        // Dropped first, so that the connection does not count twice.
        drop(self);
        limit.admit(client)
    }

    /// Notes that the connection has proved something `times` times.
    pub fn prove(&self, times: u32) {
        if times > 0 {
            self.prove_at(times, Instant::now());
        }
    }

    /// Waits until the connection is evicted. Its owner must then close it at once.
    pub async fn evicted(&self) {
        self.proof.evicted.notified().await;
    }

    fn prove_at(&self, times: u32, now: Instant) {
        self.proof.useful_at.store(self.shared.millis(now), Relaxed);
        let before = self.proof.count.load(Relaxed);
        if before >= FULL_PROOF {
            return;
        }
        let after = before.saturating_add(times);
        self.proof.count.store(after, Relaxed);
        if before == 0 || after >= FULL_PROOF {
            self.shared.state().promote(self.id, ProofLevel::after(after));
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        if self.shared.state().end(self.id, Instant::now()) {
            self.shared.departed.notify_one();
        }
    }
}

impl Shared {
    /// Nothing can panic while this is locked, and if it could, the numbers would still be right.
    fn state(&self) -> MutexGuard<'_, ConnectionTable> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
