//! What the gateway had promised at each line of a trace: to mix nodes with acceptances, to clients with answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use client_wire::{key::SessionKey, login::Freshness};
use ipc::ingress_store::{IngressToStore, StoreToIngress};
use session_ipc::{EdgeToStore, SessionAnswer, SessionRequest, StoreToEdge};
use wire::address::ClientAddress;

use crate::{account::Account, trace::Trace};

/// Sockets of the processes that speak with `store`, all that they ever had.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Of `store`.
    pub store: BTreeSet<u64>,
    /// Of `mix-ingress`.
    pub ingress: BTreeSet<u64>,
    /// Of `client-edge`.
    pub edge: BTreeSet<u64>,
}

/// When something was asked, and when it was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// A line of the trace.
    pub asked: usize,
    /// A later one; none if it was never answered.
    pub answered: Option<usize>,
}

impl Asked {
    fn is_answered_before(&self, line: usize) -> bool {
        self.answered.is_some_and(|answered| answered < line)
    }
}

/// A message, and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// For whom.
    pub client: ClientAddress,
    /// When it was first given to `store`.
    pub delivered: usize,
    /// When it was accepted.
    pub accepted: Option<usize>,
    /// When its client had proved to have read it.
    pub read: Option<usize>,
}

/// All promises of a trace.
#[derive(Debug, Default)]
pub struct Promises {
    /// By their bytes, which are unique.
    messages: HashMap<Bytes, Message>,
    keys: BTreeMap<ClientAddress, Vec<(Asked, SessionKey)>>,
    logins: Vec<(ClientAddress, usize, Freshness)>,
    forgotten: BTreeMap<ClientAddress, Vec<Asked>>,
}

/// What one client may rely on at some line.
#[derive(Debug, Default)]
pub struct Claim {
    /// Its key is one of these. Empty if it need not be registered.
    pub keys: Vec<SessionKey>,
    /// It may be unknown.
    pub may_be_unknown: bool,
    /// These messages are there.
    pub mail: BTreeSet<Bytes>,
    /// These may be, and no others.
    pub possible: BTreeSet<Bytes>,
    /// These logins are spent.
    pub spent: Vec<Freshness>,
}

impl Promises {
    /// Reads them from a trace of all processes. `accounts` are those of all clients.
    ///
    /// # Errors
    /// If a link cannot be read.
    pub fn of(trace: &Trace, sockets: &Sockets, accounts: &[Account]) -> Result<Self> {
        let mut promises = Self::default();
        promises.take_deliveries(trace, sockets)?;
        promises.take_sessions(trace, sockets, accounts)?;
        Ok(promises)
    }

    fn take_deliveries(&mut self, trace: &Trace, sockets: &Sockets) -> Result<()> {
        let mut deliveries = HashMap::new();
        for (line, (link, message)) in trace.said::<IngressToStore>(&sockets.ingress, &sockets.store)? {
            let IngressToStore::DeliverMessage { delivery, destination, message, .. } = message else { continue };
            // Each `mix-ingress` counts its deliveries from zero.
            deliveries.insert((link.turned(), delivery), message.0.clone());
            let first = Message { client: destination, delivered: line, accepted: None, read: None };
            self.messages.entry(message.0).or_insert(first);
        }
        for (line, (link, message)) in trace.said::<StoreToIngress>(&sockets.store, &sockets.ingress)? {
            let StoreToIngress::AcceptDelivery { delivery } = message else { continue };
            let bytes = deliveries.get(&(link, delivery)).context("an answer to no question")?;
            let message = self.messages.get_mut(bytes).context("an answer to no question")?;
            message.accepted.get_or_insert(line);
        }
        Ok(())
    }

    fn take_sessions(&mut self, trace: &Trace, sockets: &Sockets, accounts: &[Account]) -> Result<()> {
        let asked = trace.said::<EdgeToStore>(&sockets.edge, &sockets.store)?;
        let said = trace.said::<StoreToEdge>(&sockets.store, &sockets.edge)?;
        let mut pushed = HashMap::new();
        let mut sessions = HashMap::new();
        for (line, (link, StoreToEdge { session, answer })) in said {
            let key = |session| (link, session);
            match answer {
                SessionAnswer::PushMessage { sequence, message } => {
                    pushed.entry(key(session)).or_insert_with(Vec::new).push((sequence, message.0));
                }
                SessionAnswer::AttachSession { key: agreed } => {
                    let mut questions = asked.iter().filter(|(asked, (_, it))| *asked < line && it.session == session);
                    let (asked, (_, question)) = questions.next_back().context("an answer to no question")?;
                    if let EdgeToStore { request: SessionRequest::AuthenticateClient { proof }, .. } = question {
                        self.logins.push((proof.address(), line, proof.freshness()));
                        sessions.insert(key(session), proof.address());
                        continue;
                    }
                    let account = accounts.iter().find(|account| account.key == *agreed);
                    let client = account.context("a key of nobody")?.address();
                    sessions.insert(key(session), client);
                    let when = Asked { asked: *asked, answered: Some(line) };
                    self.keys.entry(client).or_default().push((when, (*agreed).clone()));
                }
                SessionAnswer::ConfirmForgotten => {
                    let client = *sessions.get(&key(session)).context("no such session")?;
                    let is_it = |it: &EdgeToStore| it.request == SessionRequest::ForgetClient;
                    let mut questions = asked.iter().filter(|(_, (_, it))| it.session == session && is_it(it));
                    let (asked, _) = questions.next_back().context("an answer to no question")?;
                    let when = Asked { asked: *asked, answered: Some(line) };
                    self.forgotten.entry(client).or_default().push(when);
                }
                _ => {}
            }
        }
        for (line, (link, message)) in &asked {
            let EdgeToStore { session, request: SessionRequest::ConfirmReceipt { up_to } } = message else { continue };
            // Of the same pair of sockets, seen from the other end.
            let of_session = pushed.get(&(link.turned(), *session)).into_iter().flatten();
            for (_, message) in of_session.filter(|(sequence, _)| sequence <= up_to) {
                if let Some(message) = self.messages.get_mut(message) {
                    message.read.get_or_insert(*line);
                }
            }
        }
        Ok(())
    }

    /// How many messages were accepted in all.
    pub fn accepted(&self) -> usize {
        self.messages.values().filter(|message| message.accepted.is_some()).count()
    }

    /// The lines at which something was promised.
    pub fn lines(&self) -> Vec<usize> {
        let accepted = self.messages.values().filter_map(|message| message.accepted);
        let registered = self.keys.values().flatten().filter_map(|(when, _)| when.answered);
        let logins = self.logins.iter().map(|(_, line, _)| *line);
        let forgotten = self.forgotten.values().flatten().filter_map(|when| when.answered);
        let lines: BTreeSet<usize> = accepted.chain(registered).chain(logins).chain(forgotten).collect();
        lines.into_iter().collect()
    }

    /// What each client may rely on when the power is lost just before this line.
    pub fn at(&self, line: usize) -> BTreeMap<ClientAddress, Claim> {
        let mut claims: BTreeMap<ClientAddress, Claim> = BTreeMap::new();
        for (client, keys) in &self.keys {
            let claim = claims.entry(*client).or_default();
            let (done, under_way): (Vec<_>, Vec<_>) =
                keys.iter().filter(|(when, _)| when.asked < line).partition(|(when, _)| when.is_answered_before(line));
            let forgotten = self.forgotten.get(client).into_iter().flatten().filter(|when| when.asked < line);
            let last_forgotten = forgotten.max_by_key(|when| when.asked);
            let valid = done.last().filter(|(when, _)| last_forgotten.is_none_or(|gone| gone.asked < when.asked));
            claim.may_be_unknown = valid.is_none();
            let doubtful = done.last().filter(|_| last_forgotten.is_some_and(|gone| !gone.is_answered_before(line)));
            claim.keys = valid.or(doubtful).into_iter().chain(&under_way).map(|(_, key)| key.clone()).collect();
        }
        for (bytes, message) in self.messages.iter().filter(|(_, message)| message.delivered < line) {
            let claim = claims.entry(message.client).or_default();
            let forgotten = self.forgotten.get(&message.client).into_iter().flatten();
            let mut forgotten = forgotten.filter(|when| when.asked > message.delivered && when.asked < line);
            let is_gone = forgotten.clone().any(|when| when.is_answered_before(line));
            if !is_gone {
                claim.possible.insert(bytes.clone());
            }
            let is_read = message.read.is_some_and(|read| read < line);
            if message.accepted.is_some_and(|accepted| accepted < line) && !is_read && forgotten.next().is_none() {
                claim.mail.insert(bytes.clone());
            }
        }
        for (client, answered, freshness) in self.logins.iter().filter(|(_, answered, _)| *answered < line) {
            let anew = self
                .keys
                .get(client)
                .into_iter()
                .flatten()
                .any(|(when, _)| when.asked > *answered && when.asked < line);
            let gone = self.forgotten.get(client).into_iter().flatten();
            let gone = gone.filter(|when| when.asked > *answered).any(|when| when.asked < line);
            if !anew && !gone {
                claims.entry(*client).or_default().spent.push(*freshness);
            }
        }
        claims
    }

    /// Checks that there was something of everything to be lost.
    ///
    /// # Errors
    /// If there was not.
    pub fn check_variety(&self) -> Result<()> {
        ensure!(!self.keys.is_empty() && !self.logins.is_empty() && !self.forgotten.is_empty(), "nothing was asked");
        ensure!(self.messages.values().any(|message| message.read.is_some()), "nothing was read");
        Ok(())
    }
}
