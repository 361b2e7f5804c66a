//! The mailbox on two sled databases: the ledger and the inboxes, each in its own directory.

use std::{
    os::fd::OwnedFd,
    sync::{PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use proto::{
    address::ClientAddress,
    ipc::store_edge::{Sequence, SessionKey},
    wire::client::login::Freshness,
};

use super::{
    LedgerEntry, MailBatch, Mailbox, MailboxError, PageLimit, Summary,
    databases::{Database, Layout},
    import,
    ledger::Ledger,
    record, reserve,
};

/// As 0.10.1 made it; the size of an existing database cannot be changed.
const LEDGER: Layout = Layout { name: "ledger", segment_size: 512 * 1024, cache: 16 * 1024 * 1024 };
/// A leaf full of 32 KiB messages must fit a segment, or it turns into a blob file.
const INBOXES: Layout = Layout { name: "inboxes", segment_size: 4 * 1024 * 1024, cache: 64 * 1024 * 1024 };

/// The mailbox on sled.
#[derive(Debug)]
pub struct SledMailbox {
    ledger_directory: OwnedFd,
    inbox_directory: OwnedFd,
    /// Bytes of both databases at the most, before new mail and new clients are refused.
    limit: u64,
    /// Nothing after a failure. Only [`Mailbox::reopen`] writes; nobody ever waits for it.
    open: RwLock<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    ledger: Ledger,
    inboxes: Database,
}

impl SledMailbox {
    /// Opens both databases and takes over the inbox files of 0.10.x. From `limit` bytes on, nothing new is written.
    ///
    /// # Errors
    /// If a database cannot be opened or what was taken over cannot be committed.
    pub fn open(ledger_directory: OwnedFd, inbox_directory: OwnedFd, limit: u64) -> Result<Self, MailboxError> {
        let mailbox = Self { ledger_directory, inbox_directory, limit, open: RwLock::new(None) };
        mailbox.reopen()?;
        import::import_files(&mailbox, &mailbox.inbox_directory)?;
        mailbox.sweep()?;
        reserve::keep(&mailbox.inbox_directory);
        Ok(mailbox)
    }

    fn open_databases(&self) -> Result<Open, MailboxError> {
        let clone = |directory: &OwnedFd, database| {
            let failed = |source| MailboxError::File { database, action: "open the directory", source };
            directory.try_clone().map_err(failed)
        };
        Ok(Open {
            ledger: Ledger::new(Database::open(clone(&self.ledger_directory, "ledger")?, LEDGER)?)?,
            inboxes: Database::open(clone(&self.inbox_directory, "inboxes")?, INBOXES)?,
        })
    }

    /// Removes mail without an owner: its client was forgotten, and the gateway died before the mail was gone.
    fn sweep(&self) -> Result<(), MailboxError> {
        let mut orphans = MailBatch::default();
        let mut cursor = vec![0];
        while let Some(client) = self.with(|Open { inboxes, .. }| {
            let next = inboxes.default_tree().range(cursor.as_slice()..).keys().next();
            next.transpose().map_err(|e| inboxes.error(e))?.map(|key| record::owner_of(&key)).transpose()
        })? {
            if self.key_of(&client)?.is_none() {
                orphans.erase(client);
            }
            // Behind everything that begins with the address.
            cursor = record::message_key(&client, Sequence(u64::MAX)).to_vec();
            cursor.push(0);
        }
        if !orphans.is_empty() {
            tracing::info!(inboxes = orphans.erased().count(), "removing mail of clients that are not registered");
            self.commit_mail(&orphans)?;
        }
        Ok(())
    }

    fn with<T>(&self, act: impl FnOnce(&Open) -> Result<T, MailboxError>) -> Result<T, MailboxError> {
        let open = self.open.try_read().map_err(|_| MailboxError::Closed)?;
        act(open.as_ref().ok_or(MailboxError::Closed)?)
    }
}

impl Mailbox for SledMailbox {
    fn key_of(&self, client: &ClientAddress) -> Result<Option<SessionKey>, MailboxError> {
        self.with(|open| open.ledger.key_of(client))
    }

    fn is_fresh(&self, client: &ClientAddress, freshness: &Freshness) -> Result<bool, MailboxError> {
        self.with(|open| open.ledger.is_fresh(client, freshness))
    }

    fn commit_ledger(&self, entries: &[LedgerEntry]) -> Result<(), MailboxError> {
        if entries.iter().any(|entry| matches!(entry, LedgerEntry::Register { .. })) && !self.has_room()? {
            return Err(MailboxError::NoRoom);
        }
        self.with(|open| open.ledger.commit(entries))
    }

    fn summary_of(&self, client: &ClientAddress) -> Result<Summary, MailboxError> {
        self.with(|Open { inboxes, .. }| match inboxes.default_tree().get(client.as_bytes()) {
            Ok(Some(value)) => record::decode_summary(&value),
            Ok(None) => Ok(Summary::default()),
            Err(source) => Err(inboxes.error(source)),
        })
    }

    fn peek(
        &self,
        client: &ClientAddress,
        (from, to): (Sequence, Sequence),
        limit: PageLimit,
    ) -> Result<Vec<(Sequence, Bytes)>, MailboxError> {
        self.with(|Open { inboxes, .. }| {
            let mut page = Vec::new();
            let mut bytes = 0;
            let range = record::message_key(client, from)..record::message_key(client, to);
            for entry in inboxes.default_tree().range(range) {
                let (key, value) = entry.map_err(|e| inboxes.error(e))?;
                let message = record::decode_message(&value)?;
                bytes += message.len();
                page.push((record::sequence_of(&key)?, message));
                if page.len() >= limit.messages || bytes >= limit.bytes {
                    break;
                }
            }
            Ok(page)
        })
    }

    fn commit_mail(&self, batch: &MailBatch) -> Result<(), MailboxError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let mut changes = sled::Batch::default();
        for ((client, sequence), change) in &batch.changes {
            let key = record::message_key(client, *sequence);
            match change {
                Some(message) => changes.insert(key.as_slice(), record::encode_message(now, message)),
                None => changes.remove(key.as_slice()),
            }
        }
        for (client, summary) in &batch.summaries {
            changes.insert(client.as_bytes(), record::encode_summary(summary));
        }
        self.with(|Open { inboxes, .. }| {
            for client in &batch.erased {
                for entry in inboxes.default_tree().scan_prefix(client.as_bytes()).keys() {
                    changes.remove(entry.map_err(|e| inboxes.error(e))?);
                }
            }
            inboxes.default_tree().apply_batch(changes).map_err(|e| inboxes.error(e))?;
            inboxes.commit()
        })
    }

    fn has_room(&self) -> Result<bool, MailboxError> {
        let used = self.with(|open| Ok(open.ledger.len()? + open.inboxes.len()?))?;
        Ok(used < self.limit && reserve::is_disk_roomy(&self.inbox_directory)?)
    }

    fn reopen(&self) -> Result<(), MailboxError> {
        // Whoever reads or commits is done within the time of a commit.
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.take().is_some() {
            reserve::release(&self.inbox_directory);
        }
        *open = Some(self.open_databases()?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::commit;
    use proto::wire::client::key::{CtrHmacKey, GcmSivKey};
    use std::{fs::File, path::Path};

    fn open(home: &Path) -> SledMailbox {
        for name in ["ledger", "inboxes"] {
            std::fs::create_dir_all(home.join(name)).unwrap();
        }
        SledMailbox::open(
            File::open(home.join("ledger")).unwrap().into(),
            File::open(home.join("inboxes")).unwrap().into(),
            1 << 30,
        )
        .unwrap()
    }

    const CLIENT: ClientAddress = ClientAddress([3; 32]);
    const EVERYTHING: (Sequence, Sequence) = (Sequence(0), Sequence(u64::MAX));
    const PAGE: PageLimit = PageLimit { messages: 1_000, bytes: usize::MAX };

    #[test]
    fn mail_and_ledger_survive_a_restart_and_a_leftover_snapshot() {
        let home = tempfile::tempdir().unwrap();
        let key = SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32]));
        {
            let mailbox = open(home.path());
            let mut batch = MailBatch::default();
            for n in 0..5 {
                batch.put(CLIENT, Sequence(n), Bytes::from(vec![n as u8; 40]));
            }
            batch.summarize(CLIENT, Summary { next: 5, messages: 5, bytes: 200 });
            mailbox.commit_mail(&batch).unwrap();
            mailbox
                .commit_ledger(&[
                    LedgerEntry::Register { client: CLIENT, key: key.clone() },
                    LedgerEntry::Login { client: CLIENT, freshness: Freshness::Iv([7; 16]) },
                ])
                .unwrap();
        }
        std::fs::write(home.path().join("inboxes/snap.00000000000000FF.generating"), b"half").unwrap();
        let mailbox = open(home.path());
        assert_eq!(mailbox.summary_of(&CLIENT).unwrap(), Summary { next: 5, messages: 5, bytes: 200 });
        let page = mailbox.peek(&CLIENT, (Sequence(1), Sequence(4)), PAGE).unwrap();
        assert_eq!(page.iter().map(|(s, m)| (s.0, m[0])).collect::<Vec<_>>(), [(1, 1), (2, 2), (3, 3)]);
        assert_eq!(mailbox.key_of(&CLIENT).unwrap(), Some(key));
        assert!(!mailbox.is_fresh(&CLIENT, &Freshness::Iv([7; 16])).unwrap());
        assert!(mailbox.is_fresh(&CLIENT, &Freshness::Iv([8; 16])).unwrap());
    }

    #[test]
    fn what_is_open_can_be_opened_again_and_a_full_one_takes_nothing_new() {
        let home = tempfile::tempdir().unwrap();
        let mut mailbox = open(home.path());
        let mut batch = MailBatch::default();
        batch.put(CLIENT, Sequence(0), Bytes::from_static(b"a"));
        commit(&mailbox, batch).unwrap();
        mailbox.reopen().unwrap();
        assert_eq!(mailbox.peek(&CLIENT, EVERYTHING, PAGE).unwrap().len(), 1);
        mailbox.limit = 1;
        let mut batch = MailBatch::default();
        batch.put(CLIENT, Sequence(1), Bytes::from_static(b"b"));
        assert!(matches!(commit(&mailbox, batch).unwrap_err().error, MailboxError::NoRoom));
        let key = SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32]));
        let register = mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key }]);
        assert!(matches!(register, Err(MailboxError::NoRoom)));
        // What makes room, and what lets a client fetch its mail, goes on.
        mailbox.commit_ledger(&[LedgerEntry::Login { client: CLIENT, freshness: Freshness::Iv([7; 16]) }]).unwrap();
        let mut batch = MailBatch::default();
        batch.remove(CLIENT, Sequence(0));
        commit(&mailbox, batch).unwrap();
        assert!(mailbox.peek(&CLIENT, EVERYTHING, PAGE).unwrap().is_empty());
    }

    #[test]
    fn a_page_ends_at_its_limit_but_brings_at_least_one() {
        let home = tempfile::tempdir().unwrap();
        let mailbox = open(home.path());
        let mut batch = MailBatch::default();
        for n in 0..4 {
            batch.put(CLIENT, Sequence(n), Bytes::from(vec![0; 100]));
            batch.put(ClientAddress([4; 32]), Sequence(n), Bytes::from(vec![0; 100]));
        }
        mailbox.commit_mail(&batch).unwrap();
        let len = |messages, bytes| mailbox.peek(&CLIENT, EVERYTHING, PageLimit { messages, bytes }).unwrap().len();
        assert_eq!((len(2, 9_999), len(9, 150), len(9, 1), len(9, 9_999)), (2, 2, 1, 4));
    }

    #[test]
    fn the_largest_messages_never_turn_into_blob_files() {
        let home = tempfile::tempdir().unwrap();
        let mailbox = open(home.path());
        for round in 0..8 {
            let mut batch = MailBatch::default();
            for n in 0..32 {
                batch.put(CLIENT, Sequence(round * 32 + n), Bytes::from(vec![n as u8; 32_768]));
            }
            mailbox.commit_mail(&batch).unwrap();
        }
        let blobs = home.path().join("inboxes/blobs");
        assert_eq!(std::fs::read_dir(blobs).map_or(0, Iterator::count), 0);
    }

    #[test]
    fn only_the_newest_logins_are_remembered() {
        let home = tempfile::tempdir().unwrap();
        let mailbox = open(home.path());
        let nonce = |n: u32| {
            let mut nonce = [0; 16];
            nonce[..4].copy_from_slice(&n.to_be_bytes());
            Freshness::Iv(nonce)
        };
        let logins: Vec<_> = (0..4_100).map(|n| LedgerEntry::Login { client: CLIENT, freshness: nonce(n) }).collect();
        for part in logins.chunks(500) {
            mailbox.commit_ledger(part).unwrap();
        }
        assert!(mailbox.is_fresh(&CLIENT, &nonce(3)).unwrap());
        assert!(!mailbox.is_fresh(&CLIENT, &nonce(4)).unwrap());
        assert!(!mailbox.is_fresh(&CLIENT, &nonce(4_099)).unwrap());
    }

    #[test]
    fn a_client_has_one_key_of_one_kind_and_each_login_is_later_than_the_last() {
        let home = tempfile::tempdir().unwrap();
        let old = SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32]));
        let new = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
        let register = |key: &SessionKey| LedgerEntry::Register { client: CLIENT, key: key.clone() };
        let login = |time| LedgerEntry::Login { client: CLIENT, freshness: Freshness::Timestamp(time) };
        let fresh = |mailbox: &SledMailbox, time| mailbox.is_fresh(&CLIENT, &Freshness::Timestamp(time)).unwrap();
        {
            let mailbox = open(home.path());
            for key in [&old, &new, &old, &new] {
                mailbox.commit_ledger(&[register(key)]).unwrap();
                assert_eq!(mailbox.key_of(&CLIENT).unwrap().as_ref(), Some(key));
            }
            assert!(fresh(&mailbox, 100));
            mailbox.commit_ledger(&[login(100)]).unwrap();
        }
        let mailbox = open(home.path());
        assert_eq!(mailbox.key_of(&CLIENT).unwrap(), Some(new));
        assert_eq!([99, 100, 101].map(|time| fresh(&mailbox, time)), [false, false, true]);
        // One who is forgotten in the same commit is not brought back by a login.
        mailbox.commit_ledger(&[LedgerEntry::Forget { client: CLIENT }, login(200)]).unwrap();
        assert_eq!(mailbox.key_of(&CLIENT).unwrap(), None);
    }

    #[test]
    fn what_is_erased_is_gone_and_mail_without_an_owner_is_swept_at_the_start() {
        let home = tempfile::tempdir().unwrap();
        let other = ClientAddress([4; 32]);
        {
            let mailbox = open(home.path());
            let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([6; 32]));
            mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key }]).unwrap();
            let mut batch = MailBatch::default();
            for client in [CLIENT, other, ClientAddress([0xff; 32])] {
                batch.put(client, Sequence(0), Bytes::from_static(b"a"));
                batch.put(client, Sequence(u64::MAX), Bytes::from_static(b"z"));
                batch.summarize(client, Summary { next: 1, messages: 2, bytes: 2 });
            }
            mailbox.commit_mail(&batch).unwrap();
        }
        let mailbox = open(home.path());
        let count = |mailbox: &SledMailbox| mailbox.with(|open| Ok(open.inboxes.default_tree().len())).unwrap();
        assert_eq!(count(&mailbox), 3, "two messages and a summary of the one who is registered");
        let mut batch = MailBatch::default();
        batch.erase(CLIENT);
        mailbox.commit_mail(&batch).unwrap();
        assert_eq!(count(&mailbox), 0);
    }

    #[test]
    fn a_ledger_entry_is_written_as_0_10_1_did() {
        let home = tempfile::tempdir().unwrap();
        {
            let mailbox = open(home.path());
            let key = SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32]));
            mailbox.commit_ledger(&[LedgerEntry::Register { client: CLIENT, key }]).unwrap();
        }
        let plain = sled::open(home.path().join("ledger")).unwrap();
        assert_eq!(plain.get([3; 32]).unwrap().unwrap(), &[5; 32]);
        assert_eq!(plain.len(), 1);
    }
}
