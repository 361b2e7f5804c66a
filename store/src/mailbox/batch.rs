//! Changes to inboxes, and their commit.
//!
//! *Promises*: whoever holds a [`Committed`] knows that its batch is on the medium.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use proto::{address::ClientAddress, ipc::store_edge::Sequence};

use super::{Mailbox, MailboxError, Summary};

/// What becomes of one place in an inbox.
#[derive(Debug)]
pub(super) enum Change {
    /// A message is put there.
    Put(Bytes),
    /// Nothing is left there.
    Remove,
    /// Nothing is left there, because what was there is too old.
    Expire,
    /// Nothing is left there; what was there, and is no message, is kept apart for the operator.
    SetAside,
}

/// Changes to inboxes that are committed together.
#[derive(Debug, Default)]
pub struct MailBatch {
    pub(super) changes: BTreeMap<(ClientAddress, Sequence), Change>,
    /// What is known of each inbox once the batch is applied.
    pub(super) summaries: HashMap<ClientAddress, Summary>,
    /// Inboxes of which nothing is to be left, whatever else the batch says.
    pub(super) erased: BTreeSet<ClientAddress>,
}

impl MailBatch {
    /// Puts a message.
    pub fn put(&mut self, client: ClientAddress, sequence: Sequence, message: Bytes) {
        self.changes.insert((client, sequence), Change::Put(message));
    }

    /// Removes a message. One that this very batch was to put is not written at all.
    pub fn remove(&mut self, client: ClientAddress, sequence: Sequence) {
        if !matches!(self.changes.remove(&(client, sequence)), Some(Change::Put(_))) {
            self.changes.insert((client, sequence), Change::Remove);
        }
    }

    /// Removes a message that is too old.
    pub fn expire(&mut self, client: ClientAddress, sequence: Sequence) {
        self.changes.insert((client, sequence), Change::Expire);
    }

    /// Takes a record that is no message out of its inbox.
    pub fn set_aside(&mut self, client: ClientAddress, sequence: Sequence) {
        self.changes.insert((client, sequence), Change::SetAside);
    }

    /// Says what is known of an inbox after this batch.
    pub fn summarize(&mut self, client: ClientAddress, summary: Summary) {
        self.summaries.insert(client, summary);
    }

    /// Leaves nothing of an inbox.
    pub fn erase(&mut self, client: ClientAddress) {
        self.changes.retain(|(owner, _), _| *owner != client);
        self.summaries.remove(&client);
        self.erased.insert(client);
    }

    /// The inboxes of which nothing is left.
    pub fn erased(&self) -> impl Iterator<Item = &ClientAddress> {
        self.erased.iter()
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.summaries.is_empty() && self.erased.is_empty()
    }

    /// Messages that the batch puts, removes or sets aside.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether the batch changes anything in the client's inbox.
    pub fn touches(&self, client: &ClientAddress) -> bool {
        self.summaries.contains_key(client) || self.erased.contains(client)
    }

    /// The inboxes that the batch touches.
    pub fn clients(&self) -> impl Iterator<Item = &ClientAddress> {
        self.summaries.keys()
    }

    /// The places where the batch puts messages.
    pub fn puts(&self) -> impl Iterator<Item = (ClientAddress, Sequence)> {
        self.places(|change| matches!(change, Change::Put(_)))
    }

    /// The places of messages that are removed because they were received, or refused.
    pub fn removals(&self) -> impl Iterator<Item = (ClientAddress, Sequence)> {
        self.places(|change| matches!(change, Change::Remove))
    }

    /// The places of messages that are removed because they are too old.
    pub fn expirations(&self) -> impl Iterator<Item = (ClientAddress, Sequence)> {
        self.places(|change| matches!(change, Change::Expire))
    }

    /// The places of records that are no messages.
    pub fn set_asides(&self) -> impl Iterator<Item = (ClientAddress, Sequence)> {
        self.places(|change| matches!(change, Change::SetAside))
    }

    fn places(&self, which: impl Fn(&Change) -> bool) -> impl Iterator<Item = (ClientAddress, Sequence)> {
        self.changes.iter().filter(move |(_, change)| which(change)).map(|(place, _)| *place)
    }
}

/// A batch that is on the medium. Only [`commit`] makes one.
#[derive(Debug)]
pub struct Committed(MailBatch);

impl Committed {
    /// What was committed.
    pub fn batch(&self) -> &MailBatch {
        &self.0
    }
}

/// A batch of which nothing can be promised, and why.
#[derive(Debug)]
pub struct Uncommitted {
    /// What should have been committed.
    pub batch: MailBatch,
    /// What went wrong.
    pub error: MailboxError,
}

/// Commits a batch. One that puts mail is not begun if there is no room.
///
/// # Errors
/// If it cannot be promised that the batch is on the medium.
pub fn commit(mailbox: &impl Mailbox, batch: MailBatch) -> Result<Committed, Box<Uncommitted>> {
    let outcome = match mailbox.has_room() {
        Ok(false) if batch.puts().next().is_some() => Err(MailboxError::NoRoom),
        Ok(_) => mailbox.commit_mail(&batch),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => Ok(Committed(batch)),
        Err(error) => Err(Box::new(Uncommitted { batch, error })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_removed_before_its_commit_is_never_written() {
        let client = ClientAddress([1; 32]);
        let mut batch = MailBatch::default();
        batch.put(client, Sequence(1), Bytes::from_static(b"a"));
        batch.remove(client, Sequence(1));
        assert!(batch.is_empty());
        batch.remove(client, Sequence(2));
        assert!(!batch.is_empty());
        assert_eq!(batch.puts().count(), 0);
    }
}
