//! The client ledger: who is registered, under which key, and which logins are spent.
//!
//! | tree | key | value |
//! |---|---|---|
//! | default | address 32 | AES key 16, MAC key 16: as nym-gateway 0.10.1 wrote it, so that an operator can go back |
//! | `logins` | address 32, 0, nonce 16 | order of the login 8 |
//! | `logins` | address 32, 1, order 8 | nonce 16 |
//! | `seen` | address 32 | day last seen, counted from 1970 8 |

use std::time::{SystemTime, UNIX_EPOCH};

use proto::{
    address::ClientAddress,
    ipc::store_edge::SessionKey,
    wire::client::key::{CtrHmacKey, Iv},
};
use sled::{
    Transactional, Tree,
    transaction::{ConflictableTransactionError, TransactionalTree},
};

use super::{LedgerEntry, MailboxError, databases::Database};

/// Spent nonces remembered for each client; real clients draw a fresh random one each time.
const LOGINS_KEPT: u64 = 4_096;
const BY_NONCE: u8 = 0;
const BY_ORDER: u8 = 1;

/// The ledger's trees.
#[derive(Debug)]
pub(super) struct Ledger {
    database: Database,
    logins: Tree,
    seen: Tree,
}

impl Ledger {
    pub(super) fn new(database: Database) -> Result<Self, MailboxError> {
        let (logins, seen) = (database.tree("logins")?, database.tree("seen")?);
        Ok(Self { database, logins, seen })
    }

    pub(super) fn key_of(&self, client: &ClientAddress) -> Result<Option<SessionKey>, MailboxError> {
        let Some(value) = self.database.default_tree().get(client.as_bytes()).map_err(|e| self.database.error(e))?
        else {
            return Ok(None);
        };
        let bytes = <[u8; CtrHmacKey::LEN]>::try_from(value.as_ref())
            .map_err(|_| MailboxError::UnknownRecord { database: "ledger" })?;
        Ok(Some(SessionKey::CtrHmac(CtrHmacKey::from_bytes(bytes))))
    }

    /// Bytes of the ledger's file.
    pub(super) fn len(&self) -> Result<u64, MailboxError> {
        self.database.len()
    }

    pub(super) fn login_used(&self, client: &ClientAddress, nonce: &Iv) -> Result<bool, MailboxError> {
        self.logins.contains_key(login_key(client, BY_NONCE, nonce)).map_err(|e| self.database.error(e))
    }

    pub(super) fn commit(&self, entries: &[LedgerEntry]) -> Result<(), MailboxError> {
        let mut newest = Vec::with_capacity(entries.len());
        for entry in entries {
            newest.push(match entry {
                LedgerEntry::Login { client, .. } => self.newest_login(client)?,
                LedgerEntry::Register { .. } => None,
            });
        }
        let today = days_since_1970().to_be_bytes();
        (self.database.default_tree(), &self.logins, &self.seen)
            .transaction(|(clients, logins, seen)| {
                let mut orders = std::collections::HashMap::new();
                for (entry, newest) in entries.iter().zip(&newest) {
                    match entry {
                        LedgerEntry::Register { client, key: SessionKey::CtrHmac(key) } => {
                            clients.insert(client.as_bytes(), key.to_bytes().as_slice())?;
                            seen.insert(client.as_bytes(), &today)?;
                        }
                        LedgerEntry::Login { client, nonce } => {
                            let order = orders.entry(*client).or_insert(*newest);
                            let this = order.map_or(0, |order| order + 1);
                            *order = Some(this);
                            spend(logins, client, nonce, this)?;
                            seen.insert(client.as_bytes(), &today)?;
                        }
                    }
                }
                Ok::<(), ConflictableTransactionError<sled::Error>>(())
            })
            .map_err(|error| match error {
                sled::transaction::TransactionError::Abort(source)
                | sled::transaction::TransactionError::Storage(source) => self.database.error(source),
            })?;
        self.database.commit()
    }

    /// The order of the client's latest login.
    fn newest_login(&self, client: &ClientAddress) -> Result<Option<u64>, MailboxError> {
        let prefix = login_key(client, BY_ORDER, &[]);
        match self.logins.scan_prefix(prefix).next_back().transpose().map_err(|e| self.database.error(e))? {
            None => Ok(None),
            Some((key, _)) => match key.last_chunk::<8>() {
                Some(order) => Ok(Some(u64::from_be_bytes(*order))),
                None => Err(MailboxError::UnknownRecord { database: "ledger" }),
            },
        }
    }
}

/// Remembers a nonce and forgets the one that is [`LOGINS_KEPT`] older.
fn spend(
    logins: &TransactionalTree,
    client: &ClientAddress,
    nonce: &Iv,
    order: u64,
) -> Result<(), ConflictableTransactionError<sled::Error>> {
    logins.insert(login_key(client, BY_NONCE, nonce), &order.to_be_bytes())?;
    logins.insert(login_key(client, BY_ORDER, &order.to_be_bytes()), nonce.as_slice())?;
    if let Some(old) = order.checked_sub(LOGINS_KEPT)
        && let Some(nonce) = logins.remove(login_key(client, BY_ORDER, &old.to_be_bytes()))?
    {
        logins.remove(login_key(client, BY_NONCE, &nonce))?;
    }
    Ok(())
}

fn login_key(client: &ClientAddress, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(ClientAddress::LEN + 1 + rest.len());
    key.extend_from_slice(client.as_bytes());
    key.push(kind);
    key.extend_from_slice(rest);
    key
}

fn days_since_1970() -> u64 {
    const SECONDS_A_DAY: u64 = 86_400;
    // A clock before 1970 is a clock that was never set.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / SECONDS_A_DAY)
}
