//! The store's two peers, which keep the rules of their links.

use std::collections::{BTreeMap, VecDeque};

use client_wire::{key::SessionKey, login::LoginProof};
use ipc::{
    credit::Credit,
    ingress_store::{Ack, StoreToIngress},
};
use session_ipc::{Phase, Sequence, StoreToEdge};

/// Pushed messages that may be on their way to `client-edge`.
pub(super) const BULK: usize = 4;

/// `mix-ingress`.
#[derive(Debug)]
pub(super) struct Ingress {
    pub(super) next: u64,
    /// Deliveries without an answer: the client, the length, and whether an acknowledgement is owed.
    pub(super) unanswered: BTreeMap<u64, (usize, usize, Ack)>,
    pub(super) window: Credit,
    /// Answers on their way.
    pub(super) answers: VecDeque<StoreToIngress>,
}

/// `client-edge`.
#[derive(Debug, Default)]
pub(super) struct Edge {
    pub(super) is_up: bool,
    pub(super) next: u64,
    pub(super) connections: BTreeMap<u64, Connection>,
    /// On their way; the first are never behind the others.
    pub(super) control: VecDeque<StoreToEdge>,
    pub(super) pushes: VecDeque<StoreToEdge>,
}

/// What a connection has shown to be let in.
#[derive(Clone, Debug)]
pub(super) enum Shown {
    Login(LoginProof, Option<SessionKey>, bool),
    Registration(SessionKey),
}

/// A message that was pushed and is not proved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unproved {
    pub(super) place: Sequence,
    pub(super) arrival: usize,
    pub(super) len: usize,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: usize,
    pub(super) shown: Shown,
    /// Where the session stands, by what the store has said.
    pub(super) told: Phase,
    /// The same, by what `client-edge` has read of that.
    pub(super) known: Phase,
    /// The store waits for the answer to a probe.
    pub(super) is_probed: bool,
    /// Places that `client-edge` has read and the client has not proved.
    pub(super) read: VecDeque<Sequence>,
    /// What the store has pushed, and was not told that it is proved.
    pub(super) unproved: VecDeque<Unproved>,
    pub(super) last: Option<Unproved>,
}

impl Connection {
    pub(super) const fn new(client: usize, shown: Shown) -> Self {
        Self {
            client,
            shown,
            told: Phase::Deciding,
            known: Phase::Deciding,
            is_probed: false,
            read: VecDeque::new(),
            unproved: VecDeque::new(),
            last: None,
        }
    }
}

impl Edge {
    /// One of the connections for which something holds, chosen by a number.
    pub(super) fn choose(&self, number: u8, is_one: impl Fn(&Connection) -> bool) -> Option<u64> {
        let all: Vec<u64> =
            self.connections.iter().filter(|(_, one)| is_one(one)).map(|(session, _)| *session).collect();
        all.get(usize::from(number) % all.len().max(1)).copied()
    }
}
