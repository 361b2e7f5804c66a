//! At every start, before any client is served, mail of clients that are not registered is removed.

use super::DiskMailbox;
use crate::mailbox::{MailBatch, Mailbox, MailboxError};

/// Inboxes erased in one commit, and looked at without a pause.
const ERASED_AT_ONCE: usize = 64;
const LOOKED_AT: usize = 4_096;

impl DiskMailbox {
    /// Goes through all inboxes. Their mail is not read.
    pub(super) fn sweep(&self) -> Result<(), MailboxError> {
        let mut orphans = MailBatch::default();
        let mut last = None;
        loop {
            let owners = self.mail().owners_after(last, LOOKED_AT);
            let Some(end) = owners.last() else { break };
            last = Some(*end);
            for client in owners {
                match self.key_of(&client) {
                    // The client was forgotten, and the gateway died before the mail was removed.
                    Ok(None) => orphans.erase(client),
                    // An entry that cannot be read is an entry, too.
                    Ok(Some(_)) | Err(MailboxError::UnknownRecord { .. }) => {}
                    Err(error) => return Err(error),
                }
                if orphans.erased().count() >= ERASED_AT_ONCE {
                    self.erase(std::mem::take(&mut orphans))?;
                }
            }
        }
        self.erase(orphans)?;
        self.mail().remove_set_aside_unless(|client| !matches!(self.key_of(client), Ok(None)));
        Ok(())
    }

    fn erase(&self, orphans: MailBatch) -> Result<(), MailboxError> {
        if orphans.is_empty() {
            return Ok(());
        }
        tracing::info!(inboxes = orphans.erased().count(), "removing mail of clients that are not registered");
        self.commit_mail(&orphans)
    }
}
