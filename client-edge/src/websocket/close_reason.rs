//! Why a connection is closed, which decides how.

use std::time::Duration;

use tokio_tungstenite::tungstenite::{
    Error,
    error::ProtocolError::{ReceivedAfterClosing, ResetWithoutClosingHandshake, SendAfterClosing},
    protocol::frame::coding::CloseCode,
};

/// How long closing a connection may take.
pub(crate) const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// The reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The transport failed, so nothing can be sent any more.
    PeerGone,
    /// The client closed the websocket; its Close is to be answered.
    ByClient,
    /// The client broke the websocket protocol, so what it sends further cannot be understood.
    ProtocolError(CloseCode),
    /// The client sends more frames without content than any client needs. It is not read any more.
    Flood,
    /// The message that the client has begun takes memory that others need.
    MemoryNeeded,
    /// The client is not let in. The answer that says why waits in the outbox.
    LoginRefused,
    /// The gateway closes the connection with this code and text.
    ByGateway(CloseCode, &'static str),
}

impl CloseReason {
    /// `store` is gone or cannot be asked; the client is to connect again.
    pub(crate) const STORE_UNAVAILABLE: Self =
        Self::ByGateway(CloseCode::Restart, "the gateway restarts, connect again");
    /// Another connection needs the place of this one.
    pub(crate) const EVICTED: Self = Self::ByGateway(CloseCode::Again, "too many clients wait to be let in, try again");
    /// The process is to stop.
    pub(crate) const STOPPING: Self = Self::ByGateway(CloseCode::Away, "the gateway stops");
}

impl From<Error> for CloseReason {
    fn from(error: Error) -> Self {
        match error {
            Error::Capacity(_) => Self::ProtocolError(CloseCode::Size),
            Error::Utf8(_) => Self::ProtocolError(CloseCode::Invalid),
            Error::Protocol(ResetWithoutClosingHandshake | SendAfterClosing | ReceivedAfterClosing) => Self::PeerGone,
            Error::Protocol(_) => Self::ProtocolError(CloseCode::Protocol),
            _ => Self::PeerGone,
        }
    }
}
