//! What commands ask a running supervisor, and what it answers: on the admin socket, in the frames of the links.
//!
//! *Trusts*: the supervisor trusts root and its own account, whose processes alone may connect, to ask questions and nothing else. A
//! command trusts the supervisor that holds the gateway's lock. One question comes at a time, and each has one answer.

use bincode::{Decode, Encode};
use ipc::{Role, log::LogLevel};

use crate::audit::wire::{AuditAnswer, AuditQuestion};

/// The name of the admin socket in the runtime directory.
pub const SOCKET: &str = "admin.sock";

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AdminQuestion {
    /// Of an audit.
    Audit(AuditQuestion),
    /// An order.
    Order(Order),
}

/// What the supervisor is to do. It does one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Order {
    /// Whether new clients are let in. Those that are connected stay.
    AdmitNewcomers(bool),
    /// Change what is logged for a time.
    ChangeLog {
        /// The worker, or none for the supervisor.
        of: Option<Role>,
        /// Its level.
        level: LogLevel,
        /// The time, in seconds.
        seconds: u32,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AdminAnswer {
    /// To [`AdminQuestion::Audit`].
    Audit(AuditAnswer),
    /// To [`AdminQuestion::Order`]: it was carried out.
    Done,
    /// Another command does this already; only one at a time can.
    Busy,
    /// The gateway is ending, and does nothing else any more.
    Ending,
    /// The order was not carried out in time. It may be later.
    Late,
    /// Whoever asked is neither root nor the account of the gateway.
    Stranger,
}
