//! A mailbox in memory, for tests of the core: what is committed survives, nothing else does.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use client_wire::{
    key::SessionKey,
    login::{Freshness, LoginForm},
};
use ipc::{
    ingress_store::Ack,
    operator::{ClientCount, ClientKind},
};
use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::*;

#[derive(Debug, Default)]
pub(crate) struct Remembered {
    contents: Mutex<Contents>,
    /// How storage is doing.
    pub(crate) health: Mutex<Health>,
    pub(crate) ledger_room: Mutex<LedgerRoom>,
    /// Bytes that messages may take; without a limit if 0.
    pub(crate) capacity: AtomicU64,
    pub(crate) classes: Mutex<HashMap<ClientAddress, Class>>,
    /// Seconds since 1970.
    pub(crate) clock: AtomicU64,
    /// What the clock says is not believed.
    pub(crate) is_in_doubt: AtomicBool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Health {
    #[default]
    Sound,
    /// Mail has all of its share.
    MailFull,
    /// The disk is full.
    Full,
    /// Every access fails, and so does opening again.
    Broken,
}

#[derive(Debug, Default)]
struct Contents {
    keys: HashMap<ClientAddress, (SessionKey, LoginForm)>,
    logins: HashSet<(ClientAddress, Freshness)>,
    /// Where the next message of each inbox goes.
    next: HashMap<ClientAddress, u64>,
    mail: BTreeMap<(ClientAddress, Sequence), Bytes>,
    /// What of it came without a SURB-ack.
    ackless: BTreeSet<(ClientAddress, Sequence)>,
    /// Bytes of it.
    alive: u64,
    /// Places where something is that is no message.
    unreadable: HashSet<(ClientAddress, Sequence)>,
    /// Clients whose entry in the ledger is none.
    unreadable_entries: HashSet<ClientAddress>,
    seen: BTreeMap<ClientAddress, u64>,
    /// When each message was written, in milliseconds since 1970.
    arrivals: HashMap<(ClientAddress, Sequence), u64>,
}

impl Remembered {
    /// Everything stored for a client.
    pub(crate) fn stored(&self, client: &ClientAddress) -> Vec<(Sequence, Bytes)> {
        let limit = PageLimit { messages: usize::MAX, bytes: usize::MAX };
        self.peek_unchecked(client, (Sequence(0), Sequence(u64::MAX)), limit).messages
    }

    /// Whether the client is in the ledger, whatever the health of that.
    pub(crate) fn is_registered(&self, client: &ClientAddress) -> bool {
        self.contents.lock().unwrap().keys.contains_key(client)
    }

    /// Has the client's entry be one of before it was written down when anybody was seen.
    pub(crate) fn forget_when_seen(&self, client: &ClientAddress) {
        self.contents.lock().unwrap().seen.remove(client);
    }

    /// Has what is stored there be no message.
    pub(crate) fn spoil(&self, client: ClientAddress, sequence: Sequence) {
        self.contents.lock().unwrap().unreadable.insert((client, sequence));
    }

    /// Has what is written about the client be no entry.
    pub(crate) fn spoil_entry(&self, client: ClientAddress) {
        self.contents.lock().unwrap().unreadable_entries.insert(client);
    }

    pub(crate) fn set(&self, health: Health) {
        *self.health.lock().unwrap() = health;
    }

    fn check(&self) -> Result<(), MailboxError> {
        if *self.health.lock().unwrap() == Health::Broken { Err(MailboxError::Closed) } else { Ok(()) }
    }

    fn peek_unchecked(&self, client: &ClientAddress, (from, to): (Sequence, Sequence), limit: PageLimit) -> Page {
        let contents = self.contents.lock().unwrap();
        let mut page = Page { messages: Vec::new(), unreadable: Vec::new(), ackless: Vec::new(), end: to };
        let mut bytes = 0;
        for ((_, sequence), message) in contents.mail.range((*client, from)..(*client, to)).take(limit.messages) {
            if bytes > 0 && bytes + message.len() > limit.bytes {
                break;
            }
            bytes += message.len();
            page.ackless.extend(contents.ackless.contains(&(*client, *sequence)).then_some(*sequence));
            if contents.unreadable.contains(&(*client, *sequence)) {
                page.unreadable.push((*sequence, message.len()));
            } else {
                page.messages.push((*sequence, message.clone()));
            }
            page.end = Sequence(sequence.0 + 1);
        }
        page
    }
}

impl Mailbox for Remembered {
    fn key_of(&self, client: &ClientAddress) -> Result<Option<SessionKey>, MailboxError> {
        self.check()?;
        let contents = self.contents.lock().unwrap();
        if contents.unreadable_entries.contains(client) {
            return Err(MailboxError::UnknownRecord { database: "ledger", client: *client });
        }
        Ok(contents.keys.get(client).map(|(key, _)| key.clone()))
    }

    fn kind_of(&self, client: &ClientAddress) -> Result<Option<ClientKind>, MailboxError> {
        self.check()?;
        let contents = self.contents.lock().unwrap();
        Ok(contents.keys.get(client).map(|(key, logins)| crate::core::kind_of(key.kind(), *logins)))
    }

    fn count_clients(&self) -> Result<ClientCount, MailboxError> {
        self.check()?;
        let mut count = ClientCount::default();
        for (key, logins) in self.contents.lock().unwrap().keys.values() {
            crate::core::count_kind(&mut count, crate::core::kind_of(key.kind(), *logins));
        }
        Ok(count)
    }

    fn is_fresh(&self, client: &ClientAddress, freshness: &Freshness) -> Result<bool, MailboxError> {
        self.check()?;
        let contents = self.contents.lock().unwrap();
        let signs = contents.keys.get(client).is_some_and(|(_, logins)| *logins == LoginForm::Signed);
        let may_be = matches!(freshness, Freshness::Timestamp(_)) || !signs;
        Ok(may_be && !contents.logins.contains(&(*client, *freshness)))
    }

    fn commit_ledger(&self, entries: &[LedgerEntry]) -> Result<(), MailboxError> {
        self.check()?;
        let mut contents = self.contents.lock().unwrap();
        let now = self.clock.load(Ordering::Relaxed);
        for entry in entries {
            match entry {
                LedgerEntry::Seen { client, at } => {
                    contents.seen.insert(*client, *at);
                }
                LedgerEntry::Register { client, key, logins } => {
                    contents.seen.insert(*client, now);
                    contents.keys.insert(*client, (key.clone(), *logins));
                }
                LedgerEntry::Login { client, freshness } => {
                    contents.seen.insert(*client, now);
                    contents.logins.insert((*client, *freshness));
                    if let (Freshness::Timestamp(_), Some((_, logins))) = (freshness, contents.keys.get_mut(client)) {
                        *logins = LoginForm::Signed;
                    }
                }
                LedgerEntry::Forget { client } => {
                    contents.seen.remove(client);
                    contents.keys.remove(client);
                }
            }
        }
        Ok(())
    }

    fn measure(&self, _: InboxSize) -> Result<Measure, MailboxError> {
        self.check()?;
        let contents = self.contents.lock().unwrap();
        let bytes = contents.mail.values().map(|message| message.len() as u64).sum();
        let (clients, messages) = (contents.keys.len() as u64, contents.mail.len() as u64);
        Ok(Measure { clients, messages, bytes, ..Measure::default() })
    }

    fn summary_of(&self, client: &ClientAddress) -> Result<Summary, MailboxError> {
        self.check()?;
        let contents = self.contents.lock().unwrap();
        let mail = contents.mail.range((*client, Sequence(0))..=(*client, Sequence(u64::MAX)));
        let next = contents.next.get(client).copied().unwrap_or_default();
        Ok(mail.fold(Summary { next, ..Summary::default() }, |mut summary, (place, message)| {
            if contents.ackless.contains(place) {
                summary.ackless += 1;
            } else {
                summary.messages += 1;
                summary.bytes += message.len() as u64;
            }
            summary
        }))
    }

    fn peek(
        &self,
        client: &ClientAddress,
        range: (Sequence, Sequence),
        limit: PageLimit,
    ) -> Result<Page, MailboxError> {
        self.check()?;
        Ok(self.peek_unchecked(client, range, limit))
    }

    fn oldest_ackless(&self, client: &ClientAddress, (from, to): (Sequence, Sequence)) -> Option<Sequence> {
        let contents = self.contents.lock().unwrap();
        contents.ackless.range((*client, from)..(*client, to)).next().map(|(_, sequence)| *sequence)
    }

    fn last_seen(&self, client: &ClientAddress) -> Result<Option<u64>, MailboxError> {
        self.check()?;
        Ok(self.contents.lock().unwrap().seen.get(client).copied())
    }

    fn clients_after(&self, after: Option<ClientAddress>) -> Result<SeenClients, MailboxError> {
        self.check()?;
        let contents = self.contents.lock().unwrap();
        let client = contents.keys.keys().filter(|client| after.is_none_or(|after| **client > after)).min().copied();
        let clients = client.map(|client| (client, contents.seen.get(&client).copied()));
        Ok(SeenClients { clients: clients.into_iter().collect(), next: client })
    }

    fn check_clock(&self, _: u64) -> Result<bool, MailboxError> {
        self.check()?;
        Ok(!self.is_in_doubt.load(Ordering::Relaxed))
    }

    fn mail_before(&self, time: u64, _: &Position) -> Result<OldMail, MailboxError> {
        self.check()?;
        let contents = self.contents.lock().unwrap();
        let old = contents.mail.iter().filter(|(place, _)| contents.arrivals[place] < time);
        let ack = |place| if contents.ackless.contains(place) { Ack::NotOwed } else { Ack::Owed };
        let messages = old.map(|(place, message)| (place.0, place.1, message.len(), ack(place))).collect();
        Ok(OldMail { messages, next: None })
    }

    fn commit_mail(&self, batch: &MailBatch) -> Result<(), MailboxError> {
        self.check()?;
        if batch.puts().next().is_some() {
            let lack = self.lack()?;
            let Filling { alive, capacity } = self.filling();
            let is_full = alive + batch.bytes() > capacity;
            if let Some(lack) = lack.or(is_full.then_some(Lack::Mail { used: alive, most: capacity })) {
                return Err(MailboxError::NoRoom(lack));
            }
        }
        let mut contents = self.contents.lock().unwrap();
        let now = self.clock.load(Ordering::Relaxed) * 1_000;
        for (place, change) in &batch.changes {
            contents.arrivals.insert(*place, now);
            let next = contents.next.entry(place.0).or_default();
            assert!(matches!(change, Change::Put(..)) <= (place.1.0 >= *next), "numbers of an inbox rise");
            *next = (*next).max(place.1.0 + 1);
            match change {
                Change::Put(_, Ack::NotOwed) => contents.ackless.insert(*place),
                _ => contents.ackless.remove(place),
            };
            let (put, gone) = match change {
                Change::Put(message, _) => (message.len(), contents.mail.insert(*place, message.clone())),
                Change::Remove | Change::Expire | Change::SetAside => (0, contents.mail.remove(place)),
            };
            contents.alive += put as u64;
            contents.alive -= gone.map_or(0, |message| message.len() as u64);
        }
        for client in &batch.erased {
            contents.mail.retain(|(owner, _), _| owner != client);
            contents.ackless.retain(|(owner, _)| owner != client);
            contents.alive = contents.mail.values().map(|message| message.len() as u64).sum();
        }
        Ok(())
    }

    fn lack(&self) -> Result<Option<Lack>, MailboxError> {
        self.check()?;
        Ok(match *self.health.lock().unwrap() {
            Health::Full => Some(Lack::Disk { free: 0, floor: 0 }),
            Health::MailFull => Some(Lack::Mail { used: 0, most: 0 }),
            Health::Sound | Health::Broken => None,
        })
    }

    fn filling(&self) -> Filling {
        let (alive, capacity) = (self.contents.lock().unwrap().alive, self.capacity.load(Ordering::Relaxed));
        Filling { alive, capacity: if capacity == 0 { u64::MAX } else { capacity } }
    }

    fn class_of(&self, client: &ClientAddress) -> Class {
        self.classes.lock().unwrap().get(client).copied().unwrap_or_default()
    }

    fn keep_classes(&self, changed: &[(ClientAddress, Class)]) -> Result<(), MailboxError> {
        self.check()?;
        let mut classes = self.classes.lock().unwrap();
        for (client, class) in changed {
            classes.insert(*client, *class);
        }
        classes.retain(|_, class| *class != Class::NEWCOMER);
        Ok(())
    }

    fn ledger_room(&self) -> Result<LedgerRoom, MailboxError> {
        self.check()?;
        Ok(*self.ledger_room.lock().unwrap())
    }

    fn reopen(&self) -> Result<(), MailboxError> {
        *self.ledger_room.lock().unwrap() = LedgerRoom::Ample;
        self.check()
    }

    fn keep_reserve(&self) {}
}
