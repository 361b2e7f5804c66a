//! Carries the messages of [`ipc`] between processes.
//!
//! *Trusts*: nothing that arrives. *Holds*: one end of a socketpair made by the supervisor. *Promises*: reading and writing
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
    /// The peer sent bytes that are no message.
    #[error("{0}")]
    Codec(#[from] CodecError),
    /// The peer broke a rule of the link.
    #[error("{0}")]
    Violation(String),
}

impl LinkError {
    /// The rule that the peer broke, if the link did not simply end.
    pub fn violated_rule(&self) -> Option<String> {
        match self {
            Self::Closed | Self::Io(_) => None,
            Self::Codec(_) | Self::Violation(_) => Some(self.to_string()),
        }
    }
}
