//! The commit of a batch of mail.
//!
//! *Promises*: the batch of a [`Committed`] is on the medium.

use super::{batch::MailBatch, engine::Mailbox, error::MailboxError};

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

/// Commits a batch.
///
/// # Errors
/// If it cannot be promised that the batch is on the medium.
pub fn commit(mailbox: &impl Mailbox, batch: MailBatch) -> Result<Committed, Box<Uncommitted>> {
    match mailbox.commit_mail(&batch) {
        Ok(()) => Ok(Committed(batch)),
        Err(error) => Err(Box::new(Uncommitted { batch, error })),
    }
}
