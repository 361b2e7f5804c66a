//! Pages of the sweep for what is kept for too long, and what they bring.

use std::time::Duration;

use wire::address::ClientAddress;

use crate::mailbox::{Mailbox, MailboxError, OldMail, Position, SeenClients};

/// A page to be read.
#[derive(Clone, Debug)]
pub enum SweepPage {
    /// The clock.
    Clock,
    /// Of the ledger: clients behind this one.
    Clients {
        /// Behind which client, if not from the beginning.
        after: Option<ClientAddress>,
        /// When the sweep began, since 1970.
        now: Duration,
    },
    /// Of the inboxes: messages that arrived before this time.
    Mail {
        /// From here on.
        from: Position,
        /// Before then, since 1970.
        before: Duration,
    },
}

impl SweepPage {
    /// Reads the page; the clock says `now`, since 1970.
    ///
    /// # Errors
    /// If ledger or inboxes cannot be read.
    pub fn read(&self, mailbox: &impl Mailbox, now: Duration) -> Result<Swept, MailboxError> {
        match self {
            Self::Clock => Ok(Swept::Clock(mailbox.check_clock(now.as_secs())?.then_some(now))),
            Self::Clients { after, now } => Ok(Swept::Clients(mailbox.clients_after(*after)?, *now)),
            Self::Mail { from, before } => {
                let time = u64::try_from(before.as_millis()).unwrap_or(u64::MAX);
                Ok(Swept::Mail(mailbox.mail_before(time, from)?, *before))
            }
        }
    }
}

/// A page that was read.
#[derive(Debug)]
pub enum Swept {
    /// What time it is, since 1970, if that is not in doubt.
    Clock(Option<Duration>),
    /// Clients, and when the sweep began, since 1970.
    Clients(SeenClients, Duration),
    /// Messages that are too old, because they arrived before this time.
    Mail(OldMail, Duration),
}
