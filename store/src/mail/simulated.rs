//! What only the simulation does with the log: it cleans in place of the cleaning thread, and looks into the index.

use session_ipc::Sequence;
use wire::address::ClientAddress;

use super::{MailLog, Shelf, pace::Pace};
use crate::mailbox::MailboxError;

impl<S: Shelf> MailLog<S> {
    /// Does something that is due, as the thread that cleans does. Says whether there may be more.
    pub(crate) fn clean_up(&self) -> Result<bool, MailboxError> {
        self.log.clean_up(&mut Pace::unlimited())
    }

    /// Whether one more segment may be made.
    pub(crate) fn may_grow(&self) -> bool {
        self.log.may_grow().unwrap_or(true)
    }

    /// Whether a message is there, for all that the index says.
    pub(crate) fn holds(&self, client: &ClientAddress, number: Sequence) -> bool {
        self.log.index().inbox(client).is_some_and(|inbox| inbox.get(number.0).is_some())
    }
}
