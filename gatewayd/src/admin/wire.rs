//! What commands ask a running supervisor, and what it answers: on the admin socket, in the frames of the links.
//!
//! *Trusts*: the supervisor trusts root and its own account, whose processes alone may connect, to ask questions and nothing else. A
//! command trusts the supervisor that holds the gateway's lock. One question comes at a time, and each has one answer.

use bincode::{Decode, Encode};

use crate::audit::wire::{AuditAnswer, AuditQuestion};

/// The name of the admin socket in the runtime directory.
pub const SOCKET: &str = "admin.sock";

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AdminQuestion {
    /// Of an audit.
    Audit(AuditQuestion),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AdminAnswer {
    /// To [`AdminQuestion::Audit`].
    Audit(AuditAnswer),
    /// Another command does this already; only one at a time can.
    Busy,
    /// Whoever asked is neither root nor the account of the gateway.
    Stranger,
}
