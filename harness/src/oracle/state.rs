//! What is kept of each message, and beside the messages.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Instant,
};

use super::{
    disruption::Disruption,
    gap::Gap,
    names::{AckMark, Inbox, Link, Stream},
    order::Order,
    session::{Again, Coming, Session},
};
use crate::account::Account;

/// A message that was sent.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) inbox: Inbox,
    pub(super) stream: Stream,
    pub(super) digest: u64,
    pub(super) sent: Instant,
    /// Since when its packet has been sent more than once.
    pub(super) replayed: Option<Instant>,
    pub(super) first_acked: Option<Instant>,
    pub(super) first_delivered: Option<Instant>,
    pub(super) last_came: Option<Coming>,
    /// Whether it carries a SURB-ack.
    pub(super) owes_ack: bool,
    /// Over which connection the first SURB-ack came.
    pub(super) acked_over: Option<Link>,
    pub(super) acked: u32,
    pub(super) delivered: u32,
}

/// Everything that is known, but how SURB-acks are recognised.
#[derive(Debug, Default)]
pub(super) struct State {
    /// By the number with which each message begins.
    pub(super) records: HashMap<u64, Record>,
    /// By its mark, the message of each SURB-ack, and a digest of all its bytes.
    pub(super) acks: HashMap<AckMark, (u64, u64)>,
    /// When connections of mix nodes were closed by the gateway.
    pub(super) cuts: HashMap<Stream, Instant>,
    /// When a SURB-ack came of which the rest did not come, and how many bytes of it.
    pub(super) parts: Vec<(Instant, usize)>,
    /// The sessions of each client, in their order.
    pub(super) sessions: HashMap<Inbox, Vec<Session>>,
    /// Messages that came a second time.
    pub(super) again: Vec<Again>,
    /// What was done to the gateway.
    pub(super) disruptions: Vec<Disruption>,
    pub(super) orders: HashMap<Inbox, Order>,
    pub(super) out_of_order: Vec<String>,
    /// What of the past may be forgotten.
    pub(super) gaps: Vec<Gap>,
    pub(super) clients: Vec<Account>,
    pub(super) samples: Vec<Vec<u8>>,
    /// Clients whose mail is gone because they wanted it.
    pub(super) forgotten: HashSet<Inbox>,
    /// How many times a client was let in.
    pub(super) let_in: usize,
    /// How many times an honest client was refused, by reason.
    pub(super) refusals: BTreeMap<String, usize>,
    pub(super) strange: Vec<String>,
}
