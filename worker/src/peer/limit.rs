//! How many connections a port has, and which of them gives way to another.
//!
//! *Trusts* what the owner of a permit says about its connection: that it proved something. *Holds* for each connection its prefix,
//! its standing and when it was useful last; and for a while the prefixes that were useful. *Promises*: never more
//! connections than allowed, in all and of any network; who comes while all places are taken is let in, and the connection that
//! gives way is one of those who proved least, from the network that holds most of them, and there the one that has been useless
//! for longest; strangers cannot take the places of those who proved useful, however many addresses they have.
//!
//! Each connection has a [`Standing`], and each standing has a part of all places that those below cannot take. When one
//! too many comes, the lowest standing that has more than its part gives one up. So of 20,000 places strangers always have 2,500, to
//! come in and prove themselves, and never take more than that from the others.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{
    AddressPrefix, Network,
    places::{FULL_PROOF, Places, Proof, Standing},
    tree::{Id, PrefixTree},
};

/// How long a newcomer waits until enough of those who gave way are gone.
const DEPARTURE_LIMIT: Duration = Duration::from_millis(100);

/// The limit of one port. Locked when a connection begins or ends and when its standing changes, not for each proof.
#[derive(Clone, Debug)]
pub struct ConnectionLimit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    most: usize,
    most_per_prefix: u32,
    /// Connections that gave way and are not gone yet, at the most: they still have their descriptors.
    most_departing: usize,
    began: Instant,
    state: Mutex<Places>,
    /// One of those who gave way is gone.
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

/// The place of one connection; free again when dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    id: Id,
    prefix: AddressPrefix,
    proof: Arc<Proof>,
    shared: Arc<Shared>,
}

/// A newcomer's place, and whether another connection had to give way for it.
#[derive(Debug)]
pub struct Admitted {
    /// The place.
    pub permit: ConnectionPermit,
    /// Another one gives way.
    pub evicted_another: bool,
}

impl ConnectionLimit {
    /// So many connections in all, and so many of them from one prefix; from wider networks more, as
    /// [`Network::share`](super::Network::share) says.
    pub fn new(most: u32, most_per_prefix: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let began = Instant::now();
        let shared = Shared {
            most,
            most_per_prefix,
            most_departing: (most / 16).max(1),
            began,
            state: Mutex::new(Places::new(began)),
            departed: Notify::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A place for a connection from this prefix; another connection may have to give way for it.
    ///
    /// # Errors
    /// If there is none.
    pub fn admit(&self, prefix: AddressPrefix) -> Result<Admitted, LimitReached> {
        self.admit_at(prefix, Instant::now())
    }

    /// A place for a connection of a trusted proxy until its client is known: only the limit in all counts.
    ///
    /// # Errors
    /// If there is none.
    pub fn admit_proxied(&self, proxy: AddressPrefix) -> Result<Admitted, LimitReached> {
        self.place(proxy, None, Instant::now())
    }

    /// Waits until those who gave way are gone, or most of them are: so many newcomers at once are let in as others leave. Ends
    /// soon in any case.
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
        // Who does not go in time is no reason not to listen: newcomers are refused then.
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
        let standing = if state.knows(prefix, now) { Standing::Proven } else { Standing::Stranger };
        // The narrowest network that is full: whoever gives way there makes room in the wider ones.
        let full = most_per_prefix.and_then(|most| {
            let is_full = |network: &Network| state.connections_from(*network) >= network.share(most) as usize;
            prefix.networks().rev().find(is_full)
        });
        let is_full = full.is_some() || state.connections() >= most;
        if is_full && state.departing() >= most_departing {
            return Err(LimitReached::InAll);
        }
        let proof = Arc::new(Proof::default());
        let id = state.join(prefix, standing, Arc::clone(&proof), self.shared.millis(now));
        let victim = match full {
            Some(network) => state.first_to_go(Standing::Stranger, |tree| tree.first_to_go_from(network)),
            None if is_full => {
                state.review(self.shared.millis(now));
                let lowest = state.over_its_part(most);
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
    /// Where the connection comes from.
    pub const fn prefix(&self) -> AddressPrefix {
        self.prefix
    }

    /// The place of the same connection as one from `client`, now that its proxy has named the client.
    ///
    /// # Errors
    /// If there is none for this client.
    pub fn for_client(self, client: AddressPrefix) -> Result<Admitted, LimitReached> {
        let limit = ConnectionLimit { shared: Arc::clone(&self.shared) };
        // First, so that the connection does not count twice.
        drop(self);
        limit.admit(client)
    }

    /// The connection has proved something, so many times.
    pub fn prove(&self, times: u32) {
        if times > 0 {
            self.prove_at(times, Instant::now());
        }
    }

    /// Waits until the connection has to give way. It has no place any more then, and has to end at once.
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
            self.shared.state().promote(self.id, Standing::after(after));
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
    fn state(&self) -> MutexGuard<'_, Places> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
