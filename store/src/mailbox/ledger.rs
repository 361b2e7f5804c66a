//! The client ledger: who is registered, under which key, and which logins are spent.
//!
//! | tree | key | value |
//! |---|---|---|
//! | default | address 32 | AES key 16, MAC key 16: as nym-gateway 0.10.1 wrote it, so that an operator can go back |
//! | `clients` | address 32 | version 2, kind 1, key 32, time of the last signed login in Unix seconds 8, form of logins 1 |
//! | `logins` | address 32, 0, IV 16 or nonce 12 | order of the login 8 |
//! | `logins` | address 32, 1, order 8 | IV 16 or nonce 12 |
//! | `seen` | address 32 | time last seen in Unix seconds 8 |
//! | `clock` | `last run` | when the gateway last ran |
//!
//! Clients of 2021 are in the default tree, all others in `clients`; nobody is in both. Numbers are big-endian.
//!
//! The form of logins is 1 for a client that signs them: it has registered with a version that does, or has logged in so. It stays
//! until the client registers anew, so nothing that a signed login showed is ever good as a token. Entries of version 1 have no
//! form, and end before it: their clients sign if there was a signed login.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    time::Duration,
};

use proto::{
    address::ClientAddress,
    ipc::store_edge::SessionKey,
    wire::client::{
        key::{CtrHmacKey, GcmSivKey},
        login::{Freshness, LoginForm},
        token::MAX_SKEW,
    },
};
use sled::{Batch, Transactional, Tree, transaction::TransactionError};

use super::{LedgerEntry, MailboxError, SeenClients, databases::Database};
use crate::clock::LastRun;

/// Clients looked at at a time.
const SWEPT_CLIENTS: usize = 512;
/// Spent nonces remembered for each client; real clients draw a fresh random one each time.
const LOGINS_KEPT: u64 = 4_096;
const BY_NONCE: u8 = 0;
const BY_ORDER: u8 = 1;
/// The key in `clock`.
const LAST_RUN: &str = "last run";
/// First byte of every value in `clients` that is written now, and of those written before the form of logins was kept.
const VERSION: u8 = 2;
const WITHOUT_FORM: u8 = 1;
/// The only kind of key in `clients`.
const GCM_SIV: u8 = 1;

/// The ledger's trees.
#[derive(Debug)]
pub(super) struct Ledger {
    clients: Tree,
    logins: Tree,
    seen: Tree,
    clock: Tree,
    /// Let go of last.
    database: Database,
}

/// An entry of `clients`.
#[derive(Clone, Debug)]
struct Client {
    key: GcmSivKey,
    last_login: u64,
    logins: LoginForm,
}

/// The last byte of an entry.
const fn form_byte(logins: LoginForm) -> u8 {
    match logins {
        LoginForm::Token => 0,
        LoginForm::Signed => 1,
    }
}

impl Client {
    const LEN: usize = 2 + GcmSivKey::LEN + 8 + 1;

    fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(Self::LEN);
        value.extend_from_slice(&[VERSION, GCM_SIV]);
        value.extend_from_slice(self.key.to_bytes().as_slice());
        value.extend_from_slice(&self.last_login.to_be_bytes());
        value.push(form_byte(self.logins));
        value
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let ([version, GCM_SIV], rest) = value.split_first_chunk()? else { return None };
        let (key, rest) = rest.split_first_chunk()?;
        let (last_login, form) = rest.split_first_chunk()?;
        let last_login = u64::from_be_bytes(*last_login);
        let logins = match (*version, form) {
            (WITHOUT_FORM, []) if last_login == 0 => LoginForm::Token,
            (WITHOUT_FORM, []) => LoginForm::Signed,
            (VERSION, [form]) if *form == form_byte(LoginForm::Token) => LoginForm::Token,
            (VERSION, [form]) if *form == form_byte(LoginForm::Signed) => LoginForm::Signed,
            _ => return None,
        };
        Some(Self { key: GcmSivKey::from_bytes(*key), last_login, logins })
    }
}

/// What a commit does to each tree.
#[derive(Debug, Default)]
struct Changes {
    of_2021: Batch,
    clients: Batch,
    logins: Batch,
    seen: Batch,
    /// What `clients` will hold, where this commit says so.
    records: HashMap<ClientAddress, Option<Client>>,
    /// The order of each client's latest login, where this commit adds one.
    orders: HashMap<ClientAddress, u64>,
}

impl Ledger {
    pub(super) fn new(database: Database) -> Result<Self, MailboxError> {
        let tree = |name| database.tree(name);
        let [clients, logins, seen, clock] = [tree("clients")?, tree("logins")?, tree("seen")?, tree("clock")?];
        Ok(Self { database, clients, logins, seen, clock })
    }

    /// Clients of 2021, the others, their logins, and when they were seen.
    #[cfg(feature = "found-records")]
    pub(super) fn trees(&self) -> [&Tree; 4] {
        [self.database.default_tree(), &self.clients, &self.logins, &self.seen]
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

    pub(super) fn key_of(&self, client: &ClientAddress) -> Result<Option<SessionKey>, MailboxError> {
        if let Some(record) = self.record(client)? {
            return Ok(Some(SessionKey::GcmSiv(record.key)));
        }
        let value = self.database.default_tree().get(client.as_bytes()).map_err(|e| self.database.error(e))?;
        let Some(value) = value else { return Ok(None) };
        let bytes = <[u8; CtrHmacKey::LEN]>::try_from(value.as_ref()).map_err(|_| unknown(client))?;
        Ok(Some(SessionKey::CtrHmac(CtrHmacKey::from_bytes(bytes))))
    }

    fn record(&self, client: &ClientAddress) -> Result<Option<Client>, MailboxError> {
        let value = self.clients.get(client.as_bytes()).map_err(|e| self.database.error(e))?;
        value.map(|value| Client::decode(&value).ok_or_else(|| unknown(client))).transpose()
    }

    pub(super) fn last_seen(&self, client: &ClientAddress) -> Result<Option<u64>, MailboxError> {
        let value = self.seen.get(client.as_bytes()).map_err(|e| self.database.error(e))?;
        // What cannot be read was never written down.
        Ok(value.and_then(|value| Some(u64::from_be_bytes(value.as_ref().try_into().ok()?))))
    }

    pub(super) fn clients_after(&self, client: Option<ClientAddress>) -> Result<SeenClients, MailboxError> {
        let after = client.map_or(Bound::Unbounded, |client| Bound::Excluded(client.0));
        let mut found = BTreeSet::new();
        for tree in [self.database.default_tree(), &self.clients] {
            let keys = tree.range::<[u8; ClientAddress::LEN], _>((after, Bound::Unbounded)).keys();
            for key in keys.take(SWEPT_CLIENTS) {
                let key = key.map_err(|e| self.database.error(e))?;
                // A key of another length is nobody's.
                found.extend(key.as_ref().try_into().ok().map(ClientAddress));
            }
        }
        let next = (found.len() >= SWEPT_CLIENTS).then(|| found.iter().nth(SWEPT_CLIENTS - 1).copied()).flatten();
        let clients = found.into_iter().take(SWEPT_CLIENTS);
        let clients =
            clients.map(|client| Ok((client, self.last_seen(&client)?))).collect::<Result<_, MailboxError>>()?;
        Ok(SeenClients { clients, next })
    }

    /// A last login that lies ahead of `now` by more than any login may was made while the clock was wrong, and bars nobody.
    pub(super) fn is_fresh(
        &self,
        client: &ClientAddress,
        freshness: &Freshness,
        now: Duration,
    ) -> Result<bool, MailboxError> {
        let nonce: &[u8] = match freshness {
            Freshness::Iv(iv) => iv,
            Freshness::Nonce(nonce) => nonce,
            Freshness::Timestamp(time) => {
                let latest = now.as_secs().saturating_add(MAX_SKEW);
                let is_newer = |record: Client| record.last_login < *time || record.last_login > latest;
                return Ok(self.record(client)?.is_some_and(is_newer));
            }
        };
        if self.record(client)?.is_some_and(|record| record.logins == LoginForm::Signed) {
            return Ok(false);
        }
        let used = self.logins.contains_key(login_key(client, BY_NONCE, nonce));
        Ok(!used.map_err(|e| self.database.error(e))?)
    }

    /// Writes all entries or none, in order, as of `now`.
    pub(super) fn commit(&self, entries: &[LedgerEntry], now: Duration) -> Result<(), MailboxError> {
        let mut changes = Changes::default();
        for entry in entries {
            self.plan(entry, now.as_secs(), &mut changes)?;
        }
        (self.database.default_tree(), &self.clients, &self.logins, &self.seen)
            .transaction(|(of_2021, clients, logins, seen)| {
                of_2021.apply_batch(&changes.of_2021)?;
                clients.apply_batch(&changes.clients)?;
                logins.apply_batch(&changes.logins)?;
                seen.apply_batch(&changes.seen)?;
                Ok(())
            })
            .map_err(|error| match error {
                TransactionError::Abort(source) | TransactionError::Storage(source) => self.database.error(source),
            })?;
        self.database.commit()
    }

    fn plan(&self, entry: &LedgerEntry, now: u64, changes: &mut Changes) -> Result<(), MailboxError> {
        match entry {
            LedgerEntry::Register { client, key, logins } => {
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
                changes.saw(client, now);
            }
            LedgerEntry::Login { client, freshness } => {
                match freshness {
                    Freshness::Iv(iv) => self.spend(client, iv, changes)?,
                    Freshness::Nonce(nonce) => self.spend(client, nonce, changes)?,
                    Freshness::Timestamp(time) => {
                        let planned = changes.records.get(client).cloned();
                        // One who is gone is not brought back.
                        if let Some(record) = planned.map_or_else(|| self.record(client), Ok)? {
                            changes
                                .set(client, Some(Client { last_login: *time, logins: LoginForm::Signed, ..record }));
                        }
                    }
                }
                changes.saw(client, now);
            }
            LedgerEntry::Seen { client, at } => changes.saw(client, *at),
            LedgerEntry::Forget { client } => {
                changes.of_2021.remove(client.as_bytes());
                changes.set(client, None);
                changes.seen.remove(client.as_bytes());
                for key in self.logins.scan_prefix(client.as_bytes()).keys() {
                    changes.logins.remove(key.map_err(|e| self.database.error(e))?);
                }
            }
        }
        Ok(())
    }

    /// Remembers a nonce and forgets the one that is [`LOGINS_KEPT`] older.
    fn spend(&self, client: &ClientAddress, nonce: &[u8], changes: &mut Changes) -> Result<(), MailboxError> {
        let last = match changes.orders.get(client) {
            Some(order) => Some(*order),
            None => self.latest_order(client)?,
        };
        let order = last.map_or(0, |last| last.saturating_add(1));
        changes.orders.insert(*client, order);
        changes.logins.insert(login_key(client, BY_NONCE, nonce), &order.to_be_bytes());
        changes.logins.insert(login_key(client, BY_ORDER, &order.to_be_bytes()), nonce);
        if let Some(old) = order.checked_sub(LOGINS_KEPT) {
            let old = login_key(client, BY_ORDER, &old.to_be_bytes());
            if let Some(nonce) = self.logins.get(&old).map_err(|e| self.database.error(e))? {
                changes.logins.remove(login_key(client, BY_NONCE, &nonce));
            }
            changes.logins.remove(old);
        }
        Ok(())
    }

    fn latest_order(&self, client: &ClientAddress) -> Result<Option<u64>, MailboxError> {
        let prefix = login_key(client, BY_ORDER, &[]);
        match self.logins.scan_prefix(prefix).next_back().transpose().map_err(|e| self.database.error(e))? {
            None => Ok(None),
            Some((key, _)) => Ok(Some(u64::from_be_bytes(*key.last_chunk().ok_or_else(|| unknown(client))?))),
        }
    }
}

impl Changes {
    fn set(&mut self, client: &ClientAddress, record: Option<Client>) {
        match &record {
            Some(record) => self.clients.insert(client.as_bytes(), record.encode()),
            None => self.clients.remove(client.as_bytes()),
        }
        self.records.insert(*client, record);
    }

    fn saw(&mut self, client: &ClientAddress, at: u64) {
        self.seen.insert(client.as_bytes(), &at.to_be_bytes());
    }
}

const fn unknown(client: &ClientAddress) -> MailboxError {
    MailboxError::UnknownRecord { database: "ledger", client: *client }
}

fn login_key(client: &ClientAddress, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(ClientAddress::LEN + 1 + rest.len());
    key.extend_from_slice(client.as_bytes());
    key.push(kind);
    key.extend_from_slice(rest);
    key
}
