//! What is put in order at every start, before anybody is served: mail without an owner is removed, and an inbox that has
//! lost its summary is counted anew.

use super::{MailBatch, Mailbox, MailboxError, SledMailbox, record};

/// Inboxes erased in one commit.
const ERASED_AT_ONCE: usize = 64;

impl SledMailbox {
    /// Goes through all inboxes, reading as little of each as will do.
    pub(super) fn sweep(&self) -> Result<(), MailboxError> {
        let mut orphans = MailBatch::default();
        let mut cursor = Vec::new();
        while let Some(client) = self.with(|open| open.inboxes.next_owner(&cursor))? {
            match self.key_of(&client) {
                // Its client was forgotten, and the gateway died before the mail was gone.
                Ok(None) => orphans.erase(client),
                // An entry that cannot be read is one all the same.
                Ok(Some(_)) | Err(MailboxError::UnknownRecord { .. }) => {
                    if !self.with(|open| open.inboxes.has_summary(&client))? {
                        tracing::error!(inbox = %client, "it is not known how much an inbox holds; counting anew");
                        let recount = self.with(|open| open.inboxes.recount(&client))?;
                        self.commit_mail(&recount)?;
                    }
                }
                Err(error) => return Err(error),
            }
            if orphans.erased().count() >= ERASED_AT_ONCE {
                self.erase(std::mem::take(&mut orphans))?;
            }
            cursor = record::end_of_inbox(&client);
        }
        self.erase(orphans)
    }

    fn erase(&self, orphans: MailBatch) -> Result<(), MailboxError> {
        if orphans.is_empty() {
            return Ok(());
        }
        tracing::info!(inboxes = orphans.erased().count(), "removing mail of clients that are not registered");
        self.commit_mail(&orphans)
    }
}
