//! The connections of a port with their levels, and which connection is evicted first.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use tokio::{sync::Notify, time::Instant};

use super::{
    known::KnownPrefixes,
    prefix::{AddressPrefix, Network},
    tree::{Id, PrefixTree},
};

/// Proofs that make a connection useful. One packet that unwraps is cheap to make. To make this many again and again for a thousand
/// connections costs their owner as much as it costs the gateway.
pub const FULL_PROOF: u32 = 64;

/// Milliseconds without a proof after which a connection is not useful any more and needs its full proof again.
pub(super) const USEFUL_FOR: u64 = 600_000;

/// Milliseconds between reviews of the levels while all places are taken. A review looks at each connection.
const REVIEW_INTERVAL: u64 = 30_000;

/// Most candidates for an eviction that are passed over because they were useful since the last look. Bounds the time of an
/// eviction.
const LOOKS: usize = 8;

/// How much a connection has proved, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ProofLevel {
    /// Nothing.
    Stranger,
    /// Something, or its prefix was useful lately.
    Proven,
    /// [`FULL_PROOF`], the last of it less than [`USEFUL_FOR`] ago.
    Useful,
}

/// Shared by a connection's permit and the table.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// How often the connection proved something.
    pub(super) count: AtomicU32,
    /// The time of the last proof.
    pub(super) useful_at: AtomicU64,
    /// Notified when the connection is evicted.
    pub(super) evicted: Notify,
}

/// All connections of one port. Times are milliseconds since the table was made.
#[derive(Debug)]
pub(super) struct ConnectionTable {
    connections: HashMap<Id, Connection>,
    strangers: PrefixTree,
    proven: PrefixTree,
    useful: PrefixTree,
    known: KnownPrefixes,
    departing: usize,
    next: Id,
    turn: u64,
    reviewed: u64,
}

#[derive(Debug)]
struct Connection {
    prefix: AddressPrefix,
    level: ProofLevel,
    turn: u64,
    /// The time of the last proof that its turn takes account of.
    useful_at: u64,
    proof: Arc<Proof>,
}

impl ProofLevel {
    const ALL: [Self; 3] = [Self::Stranger, Self::Proven, Self::Useful];

    /// The level of a connection with this many proofs.
    pub(super) const fn after(proofs: u32) -> Self {
        match proofs {
            0 => Self::Stranger,
            1..FULL_PROOF => Self::Proven,
            FULL_PROOF.. => Self::Useful,
        }
    }

    /// How many of `most` places lower levels cannot take from this one.
    const fn share(self, most: usize) -> usize {
        let eighth = most / 8;
        match self {
            Self::Stranger | Self::Proven => eighth,
            Self::Useful => most - 2 * eighth,
        }
    }
}

impl ConnectionTable {
    /// An empty table.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            connections: HashMap::new(),
            strangers: PrefixTree::default(),
            proven: PrefixTree::default(),
            useful: PrefixTree::default(),
            known: KnownPrefixes::new(now),
            departing: 0,
            next: 0,
            turn: 0,
            reviewed: 0,
        }
    }

    /// How many connections there are.
    pub(super) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// How many of them have this level.
    pub(super) const fn connections_of(&self, level: ProofLevel) -> usize {
        self.tree(level).connections()
    }

    /// How many of them come from this network.
    pub(super) fn connections_from(&self, network: Network) -> usize {
        ProofLevel::ALL.into_iter().map(|level| self.tree(level).connections_from(network)).sum()
    }

    /// How many evicted connections are not closed yet.
    pub(super) const fn departing(&self) -> usize {
        self.departing
    }

    /// Whether the prefix has been useful lately.
    pub(super) fn knows(&mut self, prefix: AddressPrefix, now: Instant) -> bool {
        self.known.knows(prefix, now)
    }

    /// Adds a connection, even one too many. In that case the caller must evict one.
    pub(super) fn join(&mut self, prefix: AddressPrefix, level: ProofLevel, proof: Arc<Proof>, now: u64) -> Id {
        let (id, turn) = (self.next, self.next_turn());
        self.next += 1;
        self.tree_mut(level).join(prefix, id, turn);
        self.connections.insert(id, Connection { prefix, level, turn, useful_at: now, proof });
        id
    }

    /// Takes back that a connection joined, because it would itself be evicted first.
    pub(super) fn refuse(&mut self, id: Id) {
        self.leave(id);
    }

    fn leave(&mut self, id: Id) -> Option<Connection> {
        let connection = self.connections.remove(&id)?;
        self.tree_mut(connection.level).leave(connection.prefix, id, connection.turn);
        Some(connection)
    }

    /// Removes a connection that was closed. Returns whether it had been evicted.
    pub(super) fn end(&mut self, id: Id, now: Instant) -> bool {
        match self.leave(id) {
            Some(connection) => {
                self.remember(&connection, now);
                false
            }
            None => {
                self.departing = self.departing.saturating_sub(1);
                true
            }
        }
    }

    /// Takes the place of a connection and tells its owner.
    pub(super) fn evict(&mut self, id: Id, now: Instant) {
        if let Some(connection) = self.leave(id) {
            self.remember(&connection, now);
            self.departing += 1;
            connection.proof.evicted.notify_one();
        }
    }

    /// Raises the level of a connection; a higher level is kept.
    pub(super) fn promote(&mut self, id: Id, level: ProofLevel) {
        if self.connections.get(&id).is_some_and(|connection| connection.level < level) {
            self.place(id, level);
        }
    }

    /// The lowest level over its share. There is one if there are more connections than `most`.
    pub(super) fn lowest_over_share(&self, most: usize) -> ProofLevel {
        let over = |level: &ProofLevel| self.connections_of(*level) > level.share(most);
        ProofLevel::ALL.into_iter().find(over).unwrap_or(ProofLevel::Stranger)
    }

    /// The connection to evict: of the lowest level from `lowest` on that has any. A candidate that was useful since the last look is
    /// moved to the end instead.
    pub(super) fn first_to_go(&mut self, lowest: ProofLevel, of: impl Fn(&PrefixTree) -> Option<Id>) -> Option<Id> {
        let mut found = None;
        for _ in 0..LOOKS {
            let among = ProofLevel::ALL.into_iter().filter(|level| *level >= lowest);
            found = among.map(|level| of(self.tree(level))).find(Option::is_some).flatten();
            let connection = self.connections.get_mut(&found?)?;
            let useful_at = connection.proof.useful_at.load(Relaxed);
            if useful_at <= connection.useful_at {
                break;
            }
            connection.useful_at = useful_at;
            let level = connection.level;
            self.place(found?, level);
        }
        found
    }

    /// Lowers the level of connections that have not been useful for [`USEFUL_FOR`], at most once in [`REVIEW_INTERVAL`].
    pub(super) fn review(&mut self, now: u64) {
        if now < self.reviewed.saturating_add(REVIEW_INTERVAL) {
            return;
        }
        self.reviewed = now;
        let is_useless = |connection: &Connection| {
            connection.level == ProofLevel::Useful
                && connection.proof.useful_at.load(Relaxed).saturating_add(USEFUL_FOR) <= now
        };
        let useless = self.connections.iter().filter(|(_, connection)| is_useless(connection));
        let useless: Vec<_> = useless.map(|(id, connection)| (*id, Arc::clone(&connection.proof))).collect();
        for (id, proof) in useless {
            proof.count.store(1, Relaxed);
            self.place(id, ProofLevel::Proven);
        }
    }

    /// Makes a connection the last of this level.
    fn place(&mut self, id: Id, level: ProofLevel) {
        let turn = self.next_turn();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (prefix, standing_before, turn_before) = (connection.prefix, connection.level, connection.turn);
        (connection.level, connection.turn) = (level, turn);
        self.tree_mut(standing_before).leave(prefix, id, turn_before);
        self.tree_mut(level).join(prefix, id, turn);
    }

    fn remember(&mut self, connection: &Connection, now: Instant) {
        if connection.level == ProofLevel::Useful {
            self.known.remember(connection.prefix, now);
        }
    }

    const fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    const fn tree(&self, level: ProofLevel) -> &PrefixTree {
        match level {
            ProofLevel::Stranger => &self.strangers,
            ProofLevel::Proven => &self.proven,
            ProofLevel::Useful => &self.useful,
        }
    }

    const fn tree_mut(&mut self, level: ProofLevel) -> &mut PrefixTree {
        match level {
            ProofLevel::Stranger => &mut self.strangers,
            ProofLevel::Proven => &mut self.proven,
            ProofLevel::Useful => &mut self.useful,
        }
    }
}
