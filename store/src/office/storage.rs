//! What the office does while storage fails: it promises nothing, says so, serves what it can, and tries again.
//!
//! | state | deliveries that need the disk | live mail | registrations | logins, stored mail |
//! |---|---|---|---|---|
//! | sound | yes | yes | yes | yes |
//! | full | refused | yes | refused | yes |
//! | broken | refused | yes, for clients that are attached | refused | refused |

use std::time::{Duration, Instant};

use super::{Job, Office, desk::Session};
use crate::mailbox::{Mailbox, MailboxError};

/// How long to wait before trying again.
const RETRY: Duration = Duration::from_secs(1);

/// How storage is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    /// All is well.
    Sound,
    /// No room for anything new.
    Full,
    /// Nothing can be read or written until it is opened again.
    Broken,
}

/// Storage as the office knows it.
#[derive(Debug)]
pub(super) struct Outlook {
    pub(super) storage: Storage,
    /// When to try again; nothing while a try is under way, or while all is well.
    pub(super) retry_at: Option<Instant>,
}

impl Default for Outlook {
    fn default() -> Self {
        Self { storage: Storage::Sound, retry_at: None }
    }
}

impl<M: Mailbox> Office<M> {
    /// Takes note of a failure.
    pub(super) fn trouble(&mut self, error: &MailboxError, now: Instant) {
        let storage = match error {
            // One record is bad; the rest is as good as before.
            MailboxError::UnknownRecord { .. } => {
                tracing::error!(%error, "a record is left alone");
                return;
            }
            MailboxError::NoRoom => Storage::Full,
            MailboxError::Closed | MailboxError::Database { .. } | MailboxError::File { .. } => Storage::Broken,
        };
        if self.outlook.storage == storage || self.outlook.storage == Storage::Broken {
            return;
        }
        if storage == Storage::Broken {
            tracing::error!(%error, "storage failed; new mail is refused until it works again");
        } else {
            tracing::error!(%error, "new mail and new clients are refused");
        }
        self.outlook = Outlook { storage, retry_at: Some(now) };
    }

    /// Tries again if it is time.
    pub(super) fn retry_storage(&mut self, now: Instant) {
        if self.outlook.retry_at.is_some_and(|at| at <= now) {
            self.outlook.retry_at = None;
            self.orders.jobs.push(Job::Restore { reopen: self.outlook.storage == Storage::Broken });
        }
    }

    /// Storage was tried: whether there is room, or what is wrong.
    pub fn restored(&mut self, outcome: Result<bool, MailboxError>, now: Instant) {
        let was = self.outlook.storage;
        match outcome {
            Ok(true) => {
                tracing::info!("storage works again");
                self.outlook = Outlook::default();
            }
            Ok(false) => {
                if was == Storage::Broken {
                    tracing::warn!("storage is open again, but there is no room for new mail and new clients");
                }
                self.outlook = Outlook { storage: Storage::Full, retry_at: Some(now + RETRY) };
            }
            Err(error) => {
                tracing::debug!(%error, "storage cannot be opened again yet");
                self.outlook = Outlook { storage: Storage::Broken, retry_at: Some(now + RETRY) };
            }
        }
        if was == Storage::Broken && self.outlook.storage != Storage::Broken {
            let sessions = self.sessions.iter().filter(|(_, session)| matches!(session, Session::Attached(_)));
            for session in sessions.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.wake(session);
            }
        }
    }
}
