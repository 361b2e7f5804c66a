//! The client ledger: which clients are registered, under which keys, and which logins are spent.
//!
//! | tree | key | value |
//! |---|---|---|
//! | default | address 32 | AES key 16, MAC key 16: as nym-gateway 0.10.1 wrote it, so that an operator can go back |
//! | `clients` | address 32 | version 2, kind 1, key 32, time of the last signed login in Unix seconds 8, form of logins 1 |
//! | `spent` | see [`spent`] | nonces that logins have shown |
//! | `seen` | address 32 | time last seen in Unix seconds 8 |
//! | `clock` | `last run` | when the gateway last ran |
//! | `clock` | `last login` | the latest time at which a login was taken, by a clock that was believed, in Unix seconds 8 |
//! | `clock` | `restored` | when a ledger that comes from a backup was first opened, in Unix seconds 8; 0 before that |
//! | `barred` | address 32 | empty: the client's tokens are not taken, since nobody knows which were used after the backup |
//!
//! Clients of 2021 are in the default tree, all others in `clients`; no client is in both. Numbers are big-endian.
//!
//! The form of logins is 1 for a client that signs them: it has registered with a version that does, or has logged in so. It stays
//! until the client registers again, so nothing that a signed login showed is ever good as a token. Entries of version 1 have no
//! form, and end before it: their clients sign if there was a signed login.
//!
//! A signed login is good if it is later than the client's last. The time that is written never goes back: a login that was refused
//! because another was under way may be older than the other. A last login that lies further ahead than any login may was made while
//! the clock was wrong, and does not bar the client. "Ahead" is measured from the latest login of all clients, which is written with
//! each login. So a clock that is set back does not make logins good that were taken before.
//!
//! A ledger that comes from a backup does not know which logins were taken after the backup. So it takes no signed login that was made
//! before it was first opened, and no token of a client that was registered by then, until the client has registered again.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    sync::{Mutex, PoisonError},
};

use client_wire::{
    key::{CtrHmacKey, KeyKind, SessionKey},
    login::{Freshness, LoginForm},
    token::MAX_SKEW,
};
use ipc::operator::ClientKind;
use sled::{Batch, IVec, Transactional, Tree, transaction::TransactionError};
use wire::address::ClientAddress;

use super::{
    client_record::Client,
    databases::Database,
    spent::{self, Dates, Nonce, Spent, SpentChanges},
};
use crate::{
    clock::LastRun,
    core::kind_of,
    mailbox::{LedgerEntry, MailboxError, SeenClients},
};

/// Clients looked at at a time.
const SWEPT_CLIENTS: usize = 512;
/// The keys in `clock`.
const LAST_RUN: &str = "last run";
const LAST_LOGIN: &str = "last login";
const RESTORED: &str = "restored";
/// What `restored` holds until the ledger is first opened.
const NOT_OPENED: u64 = 0;

/// The ledger's trees.
#[derive(Debug)]
pub(super) struct Ledger {
    clients: Tree,
    spent: Spent,
    seen: Tree,
    clock: Tree,
    barred: Tree,
    /// No signed login of this time or before it is good; nothing if the ledger was never restored.
    restored: Option<u64>,
    /// Held while the trees change, and while a page of them is read for a backup.
    changing: Mutex<()>,
    /// Let go of last.
    database: Database,
}

/// A record of a tree, for a backup.
#[derive(Debug)]
pub(super) struct Exported {
    /// The name of the tree.
    pub(super) tree: IVec,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

impl Exported {
    fn of(tree: &Tree, key: &[u8], value: &[u8]) -> Self {
        Self { tree: tree.name(), key: key.to_vec(), value: value.to_vec() }
    }
}

/// What a commit does to each tree.
#[derive(Debug, Default)]
struct Changes {
    of_2021: Batch,
    clients: Batch,
    spent: SpentChanges,
    seen: Batch,
    clock: Batch,
    barred: Batch,
    /// What `clients` will hold for the clients that this commit changes.
    records: HashMap<ClientAddress, Option<Client>>,
}

impl Ledger {
    pub(super) fn new(database: Database) -> Result<Self, MailboxError> {
        let tree = |name| database.tree(name);
        let [clients, seen, clock, barred] = [tree("clients")?, tree("seen")?, tree("clock")?, tree("barred")?];
        let spent = Spent::new(tree("spent")?).map_err(|e| database.error(e))?;
        let now = crate::clock::now().as_secs();
        spent::take_over::take_over(&database, &spent, Dates { now, believed: now })?;
        let restored = take_up_restored(&database, &clock, now)?;
        Ok(Self { database, clients, spent, seen, clock, barred, restored, changing: Mutex::default() })
    }

    /// Clients of 2021, the others, their logins, and when they were seen.
    #[cfg(feature = "found-records")]
    pub(super) fn trees(&self) -> [&Tree; 4] {
        [self.database.default_tree(), &self.clients, self.spent.tree(), &self.seen]
    }

    #[cfg(test)]
    pub(super) const fn database(&self) -> &Database {
        &self.database
    }

    /// What is kept of the nonces that a client has shown.
    #[cfg(test)]
    pub(super) fn spent_of(&self, client: &ClientAddress) -> impl Iterator<Item = sled::Result<(IVec, IVec)>> + use<> {
        self.spent.tree().scan_prefix(client.as_bytes())
    }

    /// Bytes of the ledger's file.
    pub(super) fn len(&self) -> Result<u64, MailboxError> {
        self.database.len()
    }

    /// When the gateway last ran, if that was ever written down in a form that can be read.
    pub(super) fn last_run(&self) -> Result<Option<LastRun>, MailboxError> {
        let value = self.clock.get(LAST_RUN).map_err(|e| self.database.error(e))?;
        Ok(value.and_then(|value| LastRun::decode(&value)))
    }

    /// Writes down when the gateway last ran, and returns when that is on the medium.
    pub(super) fn keep_last_run(&self, run: &LastRun) -> Result<(), MailboxError> {
        self.clock.insert(LAST_RUN, run.encode()).map_err(|e| self.database.error(e))?;
        self.database.commit()
    }

    /// The latest time at which a login was taken; 0 if that was never written down.
    pub(super) fn last_login(&self) -> Result<u64, MailboxError> {
        let value = self.clock.get(LAST_LOGIN).map_err(|e| self.database.error(e))?;
        let time = value.and_then(|value| Some(u64::from_be_bytes(value.as_ref().try_into().ok()?)));
        Ok(time.unwrap_or_default())
    }

    pub(super) fn key_of(&self, client: &ClientAddress) -> Result<Option<SessionKey>, MailboxError> {
        if let Some(record) = self.record(client)? {
            return Ok(Some(SessionKey::GcmSiv(record.key)));
        }
        let value = self.database.default_tree().get(client.as_bytes()).map_err(|e| self.database.error(e))?;
        let Some(value) = value else { return Ok(None) };
        let bytes = <[u8; CtrHmacKey::LEN]>::try_from(value.as_ref()).map_err(|_| unknown(client))?;
        Ok(Some(SessionKey::CtrHmac(CtrHmacKey::from_bytes(bytes))))
    }

    /// How a client proves who it is.
    pub(super) fn kind_of(&self, client: &ClientAddress) -> Result<Option<ClientKind>, MailboxError> {
        if let Some(record) = self.record(client)? {
            return Ok(Some(kind_of(KeyKind::GcmSiv, record.logins)));
        }
        let of_2021 = self.database.default_tree().contains_key(client.as_bytes());
        let of_2021 = of_2021.map_err(|e| self.database.error(e))?;
        Ok(of_2021.then_some(kind_of(KeyKind::CtrHmac, LoginForm::Token)))
    }

    fn record(&self, client: &ClientAddress) -> Result<Option<Client>, MailboxError> {
        let value = self.clients.get(client.as_bytes()).map_err(|e| self.database.error(e))?;
        value.map(|value| Client::decode(&value).ok_or_else(|| unknown(client))).transpose()
    }

    pub(super) fn last_seen(&self, client: &ClientAddress) -> Result<Option<u64>, MailboxError> {
        let value = self.seen.get(client.as_bytes()).map_err(|e| self.database.error(e))?;
        // A value that cannot be read counts as never written.
        Ok(value.and_then(|value| Some(u64::from_be_bytes(value.as_ref().try_into().ok()?))))
    }

    pub(super) fn clients_after(&self, client: Option<ClientAddress>) -> Result<SeenClients, MailboxError> {
        let after = client.map_or(Bound::Unbounded, |client| Bound::Excluded(client.0));
        let mut found = BTreeSet::new();
        for tree in [self.database.default_tree(), &self.clients] {
            let keys = tree.range::<[u8; ClientAddress::LEN], _>((after, Bound::Unbounded)).keys();
            for key in keys.take(SWEPT_CLIENTS) {
                let key = key.map_err(|e| self.database.error(e))?;
                // A key of another length belongs to no client.
                found.extend(key.as_ref().try_into().ok().map(ClientAddress));
            }
        }
        let next = (found.len() >= SWEPT_CLIENTS).then(|| found.iter().nth(SWEPT_CLIENTS - 1).copied()).flatten();
        let clients = found.into_iter().take(SWEPT_CLIENTS);
        let clients =
            clients.map(|client| Ok((client, self.last_seen(&client)?))).collect::<Result<_, MailboxError>>()?;
        Ok(SeenClients { clients, next })
    }

    /// What a backup keeps of the ledger beside its clients.
    pub(super) fn export_times(&self) -> Result<Vec<Exported>, MailboxError> {
        let times = [(RESTORED, NOT_OPENED), (LAST_LOGIN, self.last_login()?)];
        let records = times.map(|(key, time)| Exported::of(&self.clock, key.as_bytes(), &time.to_be_bytes()));
        Ok(records.into())
    }

    /// What a backup keeps of some clients behind this one, and the last that was looked at if there may be others. The records of one
    /// client are those of one moment, and a client that stays registered is found, whatever is committed between two pages.
    pub(super) fn export_clients(
        &self,
        after: Option<ClientAddress>,
    ) -> Result<(Vec<Exported>, Option<ClientAddress>), MailboxError> {
        let _unchanged = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let page = self.clients_after(after)?;
        let mut records = Vec::new();
        for tree in [self.database.default_tree(), &self.clients, &self.seen] {
            for (client, _) in &page.clients {
                let value = tree.get(client.as_bytes()).map_err(|e| self.database.error(e))?;
                records.extend(value.map(|value| Exported::of(tree, client.as_bytes(), &value)));
            }
        }
        for (client, _) in &page.clients {
            // What is unknown is kept as it is, and lets nobody in.
            if matches!(self.kind_of(client), Ok(Some(ClientKind::Of2021 | ClientKind::Token))) {
                records.push(Exported::of(&self.barred, client.as_bytes(), &[]));
            }
        }
        Ok((records, page.next))
    }

    /// How many clients there are. Looks at each.
    pub(super) fn clients(&self) -> Result<u64, MailboxError> {
        let mut clients = 0;
        for tree in [self.database.default_tree(), &self.clients] {
            for key in tree.iter().keys() {
                // A key of another length belongs to no client.
                clients += u64::from(key.map_err(|e| self.database.error(e))?.len() == ClientAddress::LEN);
            }
        }
        Ok(clients)
    }

    /// Whether this makes a login fresh. A last login that lies ahead of `dates.now` by more than any login may was made while the clock
    /// was wrong, and does not bar the client. `dates.now` is no earlier than the latest login of all clients.
    pub(super) fn is_fresh(
        &self,
        client: &ClientAddress,
        freshness: &Freshness,
        dates: Dates,
    ) -> Result<bool, MailboxError> {
        let nonce: &[u8] = match freshness {
            Freshness::Iv(iv) => iv,
            Freshness::Nonce(nonce) => nonce,
            Freshness::Timestamp(time) => {
                let latest = dates.now.saturating_add(MAX_SKEW);
                // As with a last login, one that lies ahead was written by a clock that was wrong.
                if self.restored.is_some_and(|restored| restored <= latest && *time <= restored) {
                    return Ok(false);
                }
                let is_newer = |record: Client| record.last_login < *time || record.last_login > latest;
                return Ok(self.record(client)?.is_some_and(is_newer));
            }
        };
        if self.record(client)?.is_some_and(|record| record.logins == LoginForm::Signed) {
            return Ok(false);
        }
        if self.barred.contains_key(client.as_bytes()).map_err(|e| self.database.error(e))? {
            tracing::debug!(
                "a token is refused, because the ledger comes from a backup; its client has to register again"
            );
            return Ok(false);
        }
        let found = self.spent.look_up(client, nonce, dates).map_err(|e| self.database.error(e))?;
        if found == Nonce::TooMany {
            tracing::warn!(
                id = "GWD-S024",
                "a client has logged in so often without signing that it has to register again"
            );
        }
        Ok(found == Nonce::New)
    }

    /// Writes all entries or none, in order, and `last_login`, if that is not older than any before it.
    pub(super) fn commit(
        &self,
        entries: &[LedgerEntry],
        dates: Dates,
        last_login: Option<u64>,
    ) -> Result<(), MailboxError> {
        let mut changes = Changes::default();
        if let Some(time) = last_login {
            changes.clock.insert(LAST_LOGIN, &time.to_be_bytes());
        }
        for entry in entries {
            self.plan(entry, dates, &mut changes)?;
        }
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        (self.database.default_tree(), &self.clients, self.spent.tree(), &self.seen, &self.clock, &self.barred)
            .transaction(|(of_2021, clients, spent, seen, clock, barred)| {
                of_2021.apply_batch(&changes.of_2021)?;
                clients.apply_batch(&changes.clients)?;
                spent.apply_batch(changes.spent.batch())?;
                seen.apply_batch(&changes.seen)?;
                clock.apply_batch(&changes.clock)?;
                barred.apply_batch(&changes.barred)?;
                Ok(())
            })
            .map_err(|error| match error {
                TransactionError::Abort(source) | TransactionError::Storage(source) => self.database.error(source),
            })?;
        drop(changing);
        self.database.commit()
    }

    fn plan(&self, entry: &LedgerEntry, dates: Dates, changes: &mut Changes) -> Result<(), MailboxError> {
        match entry {
            LedgerEntry::Register { client, key, logins } => {
                self.spent.forget(client, &mut changes.spent).map_err(|e| self.database.error(e))?;
                match key {
                    SessionKey::CtrHmac(key) => {
                        changes.of_2021.insert(client.as_bytes(), key.to_bytes().as_slice());
                        changes.set(client, None);
                    }
                    SessionKey::GcmSiv(key) => {
                        changes.of_2021.remove(client.as_bytes());
                        changes.set(client, Some(Client { key: key.clone(), last_login: 0, logins: *logins }));
                    }
                }
                changes.barred.remove(client.as_bytes());
                changes.mark_seen(client, dates.now);
            }
            LedgerEntry::Login { client, freshness } => {
                let mut spend = |nonce: &[u8]| {
                    let spent = self.spent.spend(client, nonce, dates, &mut changes.spent);
                    spent.map_err(|e| self.database.error(e))
                };
                match freshness {
                    Freshness::Iv(iv) => spend(iv)?,
                    Freshness::Nonce(nonce) => spend(nonce)?,
                    Freshness::Timestamp(time) => {
                        let planned = changes.records.get(client).cloned();
                        // A client that is gone is not brought back.
                        if let Some(record) = planned.map_or_else(|| self.record(client), Ok)? {
                            let bars = record.last_login <= dates.now.saturating_add(MAX_SKEW);
                            let last_login = if bars { record.last_login.max(*time) } else { *time };
                            changes.set(client, Some(Client { last_login, logins: LoginForm::Signed, ..record }));
                        }
                    }
                }
                changes.mark_seen(client, dates.now);
            }
            LedgerEntry::Seen { client, at } => changes.mark_seen(client, *at),
            LedgerEntry::Forget { client } => {
                changes.of_2021.remove(client.as_bytes());
                changes.set(client, None);
                changes.seen.remove(client.as_bytes());
                changes.barred.remove(client.as_bytes());
                self.spent.forget(client, &mut changes.spent).map_err(|e| self.database.error(e))?;
            }
        }
        Ok(())
    }
}

/// When the ledger was restored, if ever. One that is opened for the first time after that takes no login from before this moment.
fn take_up_restored(database: &Database, clock: &Tree, now: u64) -> Result<Option<u64>, MailboxError> {
    let time_in = |key| -> Result<Option<u64>, MailboxError> {
        let value = clock.get(key).map_err(|e| database.error(e))?;
        Ok(value.and_then(|value| Some(u64::from_be_bytes(value.as_ref().try_into().ok()?))))
    };
    let restored = time_in(RESTORED)?;
    if restored != Some(NOT_OPENED) {
        return Ok(restored);
    }
    let opened = now.max(time_in(LAST_LOGIN)?.unwrap_or_default());
    clock.insert(RESTORED, &opened.to_be_bytes()).map_err(|e| database.error(e))?;
    database.commit()?;
    tracing::warn!(
        id = "GWD-S025",
        "the ledger comes from a backup: logins from before now are refused, and clients that log in without a signature have to register \
         again, which they do by themselves"
    );
    Ok(Some(opened))
}

impl Changes {
    fn set(&mut self, client: &ClientAddress, record: Option<Client>) {
        match &record {
            Some(record) => self.clients.insert(client.as_bytes(), record.encode()),
            None => self.clients.remove(client.as_bytes()),
        }
        self.records.insert(*client, record);
    }

    fn mark_seen(&mut self, client: &ClientAddress, at: u64) {
        self.seen.insert(client.as_bytes(), &at.to_be_bytes());
    }
}

const fn unknown(client: &ClientAddress) -> MailboxError {
    MailboxError::UnknownRecord { database: "ledger", client: *client }
}
