//! Carries the messages of [`ipc`] between processes.
//!
//! *Trusts* nothing that arrives. *Holds* one end of a socketpair that the supervisor made. *Promises*: reading and writing
//! never wait for each other; answers never wait behind mail; nothing is queued without a bound; a message that is
//! malformed or too large ends the link and nothing else.

pub mod descriptor;
mod receive_buffer;
pub mod stream;

use ipc::codec::CodecError;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The peer is gone.
    #[error("the peer closed the link")]
    Closed,
    /// The socket failed.
    #[error("the link's socket failed: {0}")]
    Io(#[from] std::io::Error),
    /// The peer sent bytes that are not a message.
    #[error("{0}")]
    Codec(#[from] CodecError),
    /// The peer broke a rule of the link.
    #[error("{0}")]
    Violation(String),
}

impl LinkError {
    /// The text of the rule that the peer broke, unless the link ended without a violation.
    pub fn violated_rule(&self) -> Option<String> {
        match self {
            Self::Closed | Self::Io(_) => None,
            Self::Codec(_) | Self::Violation(_) => Some(self.to_string()),
        }
    }
}
