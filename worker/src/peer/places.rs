//! Who is connected, with what standing, and who is the first to go.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use tokio::{sync::Notify, time::Instant};

use super::{
    AddressPrefix,
    known::KnownPrefixes,
    prefix::Network,
    tree::{Id, PrefixTree},
};

/// So many proofs make a connection useful. One packet that unwraps is had for little; this many, again and again, cost whoever has
/// a thousand connections as much as they cost the gateway.
pub const FULL_PROOF: u32 = 64;

/// A connection that has proved nothing for so many milliseconds is no longer useful, and needs its full proof again.
pub(super) const USEFUL_FOR: u64 = 600_000;

/// How often standings are brought up to date while all places are taken, in milliseconds: it takes a look at each connection.
const REVIEW_INTERVAL: u64 = 30_000;

/// Connections that are looked at to find the one to go, and turn out to have been useful since they were looked at last. More are
/// not, so that the time that it takes is bounded.
const LOOKS: usize = 8;

/// What a connection has proved, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Nothing.
    Stranger,
    /// Something once; or it comes from a prefix that has been useful.
    Proven,
    /// [`FULL_PROOF`], and not long ago.
    Useful,
}

/// What a connection and the limit know of each other.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// How often it proved something.
    pub(super) count: AtomicU32,
    /// When it did last.
    pub(super) useful_at: AtomicU64,
    /// Says that it has to go.
    pub(super) evicted: Notify,
}

/// All connections of one port. Times are milliseconds after it began.
#[derive(Debug)]
pub(super) struct Places {
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
    standing: Standing,
    turn: u64,
    /// When it was useful last, as far as its turn tells.
    useful_at: u64,
    proof: Arc<Proof>,
}

impl Standing {
    const ALL: [Self; 3] = [Self::Stranger, Self::Proven, Self::Useful];

    /// That of a connection that has proved something so many times.
    pub(super) const fn after(proofs: u32) -> Self {
        match proofs {
            0 => Self::Stranger,
            1..FULL_PROOF => Self::Proven,
            FULL_PROOF.. => Self::Useful,
        }
    }

    /// How many of `most` places the other standings cannot take from this one.
    const fn part(self, most: usize) -> usize {
        let eighth = most / 8;
        match self {
            Self::Stranger | Self::Proven => eighth,
            Self::Useful => most - 2 * eighth,
        }
    }
}

impl Places {
    /// Nobody is connected.
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

    /// How many connections have a place.
    pub(super) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// How many of them have this standing.
    pub(super) const fn connections_of(&self, standing: Standing) -> usize {
        self.tree(standing).connections()
    }

    /// How many of them come from this network.
    pub(super) fn connections_from(&self, network: Network) -> usize {
        Standing::ALL.into_iter().map(|standing| self.tree(standing).connections_from(network)).sum()
    }

    /// How many had to give way and are not gone yet.
    pub(super) const fn departing(&self) -> usize {
        self.departing
    }

    /// Whether the prefix has been useful lately.
    pub(super) fn knows(&mut self, prefix: AddressPrefix, now: Instant) -> bool {
        self.known.knows(prefix, now)
    }

    /// One more, even if it is one too many: then one of them has to go.
    pub(super) fn join(&mut self, prefix: AddressPrefix, standing: Standing, proof: Arc<Proof>, now: u64) -> Id {
        let (id, turn) = (self.next, self.next_turn());
        self.next += 1;
        self.tree_mut(standing).join(prefix, id, turn);
        self.connections.insert(id, Connection { prefix, standing, turn, useful_at: now, proof });
        id
    }

    /// Takes back that a connection joined: it is itself the first to go.
    pub(super) fn refuse(&mut self, id: Id) {
        self.leave(id);
    }

    fn leave(&mut self, id: Id) -> Option<Connection> {
        let connection = self.connections.remove(&id)?;
        self.tree_mut(connection.standing).leave(connection.prefix, id, connection.turn);
        Some(connection)
    }

    /// A connection is gone; whether it is one that had to give way.
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

    /// Takes the connection's place away and tells it so.
    pub(super) fn evict(&mut self, id: Id, now: Instant) {
        if let Some(connection) = self.leave(id) {
            self.remember(&connection, now);
            self.departing += 1;
            connection.proof.evicted.notify_one();
        }
    }

    /// The connection has this standing now, if it had less.
    pub(super) fn promote(&mut self, id: Id, standing: Standing) {
        if self.connections.get(&id).is_some_and(|connection| connection.standing < standing) {
            self.place(id, standing);
        }
    }

    /// The lowest standing of which there are more than its part; there is one if there are more connections than `most`.
    pub(super) fn over_its_part(&self, most: usize) -> Standing {
        let over = |standing: &Standing| self.connections_of(*standing) > standing.part(most);
        Standing::ALL.into_iter().find(over).unwrap_or(Standing::Stranger)
    }

    /// The first to go of the lowest standing, from `lowest` on, of which there is anybody. Who has been useful since it was
    /// looked at last is moved to the end.
    pub(super) fn first_to_go(&mut self, lowest: Standing, of: impl Fn(&PrefixTree) -> Option<Id>) -> Option<Id> {
        let mut found = None;
        for _ in 0..LOOKS {
            let among = Standing::ALL.into_iter().filter(|standing| *standing >= lowest);
            found = among.map(|standing| of(self.tree(standing))).find(Option::is_some).flatten();
            let connection = self.connections.get_mut(&found?)?;
            let useful_at = connection.proof.useful_at.load(Relaxed);
            if useful_at <= connection.useful_at {
                break;
            }
            connection.useful_at = useful_at;
            let standing = connection.standing;
            self.place(found?, standing);
        }
        found
    }

    /// Brings standings up to date, not too often: who has not been useful for long is so no longer.
    pub(super) fn review(&mut self, now: u64) {
        if now < self.reviewed.saturating_add(REVIEW_INTERVAL) {
            return;
        }
        self.reviewed = now;
        let is_useless = |connection: &Connection| {
            connection.standing == Standing::Useful
                && connection.proof.useful_at.load(Relaxed).saturating_add(USEFUL_FOR) <= now
        };
        let useless = self.connections.iter().filter(|(_, connection)| is_useless(connection));
        let useless: Vec<_> = useless.map(|(id, connection)| (*id, Arc::clone(&connection.proof))).collect();
        for (id, proof) in useless {
            proof.count.store(1, Relaxed);
            self.place(id, Standing::Proven);
        }
    }

    /// Moves a connection to the end of those with this standing.
    fn place(&mut self, id: Id, standing: Standing) {
        let turn = self.next_turn();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (prefix, standing_before, turn_before) = (connection.prefix, connection.standing, connection.turn);
        (connection.standing, connection.turn) = (standing, turn);
        self.tree_mut(standing_before).leave(prefix, id, turn_before);
        self.tree_mut(standing).join(prefix, id, turn);
    }

    fn remember(&mut self, connection: &Connection, now: Instant) {
        if connection.standing == Standing::Useful {
            self.known.remember(connection.prefix, now);
        }
    }

    const fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    const fn tree(&self, standing: Standing) -> &PrefixTree {
        match standing {
            Standing::Stranger => &self.strangers,
            Standing::Proven => &self.proven,
            Standing::Useful => &self.useful,
        }
    }

    const fn tree_mut(&mut self, standing: Standing) -> &mut PrefixTree {
        match standing {
            Standing::Stranger => &mut self.strangers,
            Standing::Proven => &mut self.proven,
            Standing::Useful => &mut self.useful,
        }
    }
}
