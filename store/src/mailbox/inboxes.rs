//! The inboxes on sled: summaries and messages in the default tree, and beside it, in `set_aside`, what was found among
//! them and is neither.
//!
//! *Promises*: one record in an unknown form costs nobody more than that record.
//!
//! sled gives hardly any space back to the disk: it writes where records were removed before. So beside the length of the file
//! it is known how much of it holds mail.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use proto::{address::ClientAddress, ipc::store_edge::Sequence};
use sled::{Transactional, Tree, transaction::TransactionError};

use super::{
    Change, MailBatch, MailboxError, OldMail, Page, PageLimit, Position, Summary, databases::Database, record,
};

/// Bytes that a message takes beside its own: its key, its arrival, its place in a page.
const BESIDE_MESSAGE: u64 = 64;
/// Inboxes looked at, and old messages found, at a time.
const SWEPT_INBOXES: usize = 256;
const SWEPT_MESSAGES: usize = 512;
/// Records kept in `set_aside`; what comes after them is removed.
const SET_ASIDE_KEPT: usize = 1_024;

/// Uses of a message that is written: with 8 to 16 messages in a page, a page or two make the cache look.
const USES: usize = 3;

/// The trees of the inboxes database.
#[derive(Debug)]
pub(super) struct Inboxes {
    set_aside: Tree,
    /// Bytes that records in the inboxes take, about.
    live: AtomicU64,
    /// Let go of last.
    database: Database,
}

impl Inboxes {
    pub(super) fn new(database: Database) -> Result<Self, MailboxError> {
        let set_aside = database.tree("set_aside")?;
        let inboxes = Self { database, set_aside, live: AtomicU64::new(0) };
        inboxes.weigh()?;
        Ok(inboxes)
    }

    /// Finds out how much of the file holds mail. A summary may say anything.
    pub(super) fn weigh(&self) -> Result<(), MailboxError> {
        let mut live: u64 = 0;
        let mut cursor = Vec::new();
        while let Some(client) = self.next_owner(&cursor)? {
            live = live.saturating_add(self.weight_of(&client)?);
            cursor = record::end_of_inbox(&client);
        }
        self.live.store(live, Ordering::Relaxed);
        Ok(())
    }

    /// Bytes that records in the inboxes take, about.
    pub(super) fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// Bytes that the records of an inbox take, about; of one whose summary cannot be read that is not known.
    fn weight_of(&self, client: &ClientAddress) -> Result<u64, MailboxError> {
        match self.summary_of(client) {
            Ok(summary) => Ok(weight(&summary)),
            Err(MailboxError::UnknownRecord { .. }) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Bytes of the database's file.
    pub(super) fn len(&self) -> Result<u64, MailboxError> {
        self.database.len()
    }

    pub(super) fn summary_of(&self, client: &ClientAddress) -> Result<Summary, MailboxError> {
        let unknown = || MailboxError::UnknownRecord { database: "inboxes", client: *client };
        match self.database.default_tree().get(client.as_bytes()).map_err(|e| self.database.error(e))? {
            Some(value) => record::decode_summary(&value).ok_or_else(unknown),
            None => Ok(Summary::default()),
        }
    }

    pub(super) fn peek(
        &self,
        client: &ClientAddress,
        (from, to): (Sequence, Sequence),
        limit: PageLimit,
    ) -> Result<Page, MailboxError> {
        let mut page = Page { messages: Vec::new(), unreadable: Vec::new(), end: to };
        let mut bytes = 0;
        let range = record::message_key(client, from)..record::message_key(client, to);
        for entry in self.database.default_tree().range(range) {
            let (key, value) = entry.map_err(|e| self.database.error(e))?;
            // A key of another length is no place in an inbox.
            let Some(sequence) = record::sequence_of(&key) else { continue };
            let len = record::message_len(&value);
            if bytes > 0 && bytes + len > limit.bytes {
                page.end = sequence;
                break;
            }
            bytes += len;
            match record::decode_message(&value) {
                Some(message) => page.messages.push((sequence, Bytes::copy_from_slice(message))),
                None => page.unreadable.push((sequence, len)),
            }
            if page.messages.len() + page.unreadable.len() >= limit.messages || bytes >= limit.bytes {
                page.end = Sequence(sequence.0.saturating_add(1));
                break;
            }
        }
        Ok(page)
    }

    /// Applies a batch, dating its messages `now`, and returns when it is on the medium.
    pub(super) fn commit(&self, batch: &MailBatch, now: Duration) -> Result<(), MailboxError> {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let failed = |error| self.database.error(error);
        let (mut mail, mut aside) = (sled::Batch::default(), sled::Batch::default());
        let mut room = None;
        for ((client, sequence), change) in &batch.changes {
            let key = record::message_key(client, *sequence);
            match change {
                Change::Put(message) => mail.insert(key.as_slice(), record::encode_message(now, message)),
                Change::Remove | Change::Expire => mail.remove(key.as_slice()),
                Change::SetAside => {
                    let room = room.get_or_insert_with(|| SET_ASIDE_KEPT.saturating_sub(self.set_aside.len()));
                    if *room > 0
                        && let Some(value) = self.database.default_tree().get(key).map_err(failed)?
                    {
                        aside.insert(key.as_slice(), value);
                        *room -= 1;
                    }
                    mail.remove(key.as_slice());
                }
            }
        }
        let (mut more, mut less) = (0_u64, 0_u64);
        for (client, summary) in &batch.summaries {
            less = less.saturating_add(self.weight_of(client)?);
            more = more.saturating_add(weight(summary));
            mail.insert(client.as_bytes(), record::encode_summary(summary));
        }
        for client in &batch.erased {
            less = less.saturating_add(self.weight_of(client)?);
            for (tree, changes) in [(self.database.default_tree(), &mut mail), (&self.set_aside, &mut aside)] {
                for key in tree.scan_prefix(client.as_bytes()).keys() {
                    changes.remove(key.map_err(failed)?);
                }
            }
        }
        if room.is_none() && batch.erased.is_empty() {
            self.database.default_tree().apply_batch(mail).map_err(failed)?;
        } else {
            (self.database.default_tree(), &self.set_aside)
                .transaction(|(inboxes, set_aside)| {
                    inboxes.apply_batch(&mail)?;
                    set_aside.apply_batch(&aside)?;
                    Ok(())
                })
                .map_err(|error| match error {
                    TransactionError::Abort(source) | TransactionError::Storage(source) => failed(source),
                })?;
        }
        let live = self.live();
        self.live.store(live.saturating_add(more).saturating_sub(less), Ordering::Relaxed);
        self.database.commit()?;
        self.show_to_cache(batch);
        Ok(())
    }

    /// sled's page cache looks at its 256 parts one by one, and at each only when the pages in it have been used 64 times. What
    /// is written once and not read would fill it several times over before it is noticed.
    fn show_to_cache(&self, batch: &MailBatch) {
        for (client, sequence) in batch.puts() {
            let key = record::message_key(&client, sequence);
            for _ in 0..USES {
                // The batch is committed, whatever becomes of this.
                let _ = self.database.default_tree().contains_key(key);
            }
        }
    }

    /// The first inbox whose records lie behind `cursor`, in order of address.
    pub(super) fn next_owner(&self, cursor: &[u8]) -> Result<Option<ClientAddress>, MailboxError> {
        for key in self.database.default_tree().range(cursor..).keys() {
            // A key without an address is nobody's.
            if let Some(client) = record::owner_of(&key.map_err(|e| self.database.error(e))?) {
                return Ok(Some(client));
            }
        }
        Ok(None)
    }

    /// Looks for messages that arrived before `time`, one page at a time. The first message of an inbox that is newer ends the
    /// look at it.
    pub(super) fn mail_before(&self, time: u64, from: &Position) -> Result<OldMail, MailboxError> {
        let mut found = OldMail { messages: Vec::new(), next: None };
        let Position(mut cursor) = from.clone();
        for _ in 0..SWEPT_INBOXES {
            let Some(client) = self.next_owner(&cursor)? else { return Ok(found) };
            let end = record::end_of_inbox(&client);
            let first = record::message_key(&client, Sequence(0)).to_vec();
            for entry in self.database.default_tree().range(cursor.max(first)..end.clone()) {
                let (key, value) = entry.map_err(|e| self.database.error(e))?;
                let (Some(sequence), Some(arrival)) = (record::sequence_of(&key), record::arrival(&value)) else {
                    continue;
                };
                if arrival >= time {
                    break;
                }
                if found.messages.len() >= SWEPT_MESSAGES {
                    found.next = Some(Position(key.to_vec()));
                    return Ok(found);
                }
                found.messages.push((client, sequence, record::message_len(&value)));
            }
            cursor = end;
        }
        found.next = Some(Position(cursor));
        Ok(found)
    }

    /// Reads a whole inbox to find out what its summary should say, and has what is no message set aside.
    pub(super) fn recount(&self, client: &ClientAddress) -> Result<MailBatch, MailboxError> {
        let mut batch = MailBatch::default();
        let mut summary = Summary::default();
        for entry in self.database.default_tree().scan_prefix(client.as_bytes()) {
            let (key, value) = entry.map_err(|e| self.database.error(e))?;
            let Some(sequence) = record::sequence_of(&key) else { continue };
            summary.next = sequence.0.saturating_add(1);
            match record::decode_message(&value) {
                Some(message) => {
                    summary.messages += 1;
                    summary.bytes += message.len() as u64;
                }
                None => batch.set_aside(*client, sequence),
            }
        }
        batch.summarize(*client, summary);
        Ok(batch)
    }

    /// Whether an inbox that has messages has a summary that can be read.
    pub(super) fn has_summary(&self, client: &ClientAddress) -> Result<bool, MailboxError> {
        let value = self.database.default_tree().get(client.as_bytes()).map_err(|e| self.database.error(e))?;
        Ok(value.is_some_and(|value| record::decode_summary(&value).is_some()))
    }

    /// The inboxes, and what is set aside.
    #[cfg(any(test, feature = "found-records"))]
    pub(super) fn trees(&self) -> (&Tree, &Tree) {
        (self.database.default_tree(), &self.set_aside)
    }
}

const fn weight(summary: &Summary) -> u64 {
    summary.bytes.saturating_add(summary.messages.saturating_mul(BESIDE_MESSAGE))
}
