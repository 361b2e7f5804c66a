//! The phases of a session, and which request is allowed when ([`Phase::admits`]):
//!
//! | request | fresh | handshaking | deciding | attached | detached |
//! |---|---|---|---|---|---|
//! | `BeginHandshake` | yes | violation | violation | violation | ignored |
//! | `FinishHandshake`, `AbandonHandshake` | violation | yes | violation | violation | ignored |
//! | `AuthenticateClient` | yes | violation | violation | violation | ignored |
//! | `ConfirmReceipt`, `AnswerProbe`, `ForgetClient` | violation | violation | violation | yes | ignored |
//! | `CloseSession` | yes | yes | yes | yes | yes |
//!
//! A request is *ignored* where it may have crossed `EndSession` on its way. A session begins with its first request and ends with
//! `CloseSession`; until then it may be *detached*. The number of a session is never used again.

use crate::request::SessionRequest;

/// The phase of a session, as `store` sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was asked, or what was asked was refused.
    Fresh,
    /// Waiting for the client's second handshake message.
    Handshaking,
    /// Waiting for `store` to answer.
    Deciding,
    /// The client has proved who it is, and mail is pushed.
    Attached,
    /// Ended by `store`, or the client is forgotten. Waiting for `CloseSession`.
    Detached,
}

/// What is to be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Serve the request.
    Proceed,
    /// Drop the request: it crossed the end of the session on its way.
    Ignore,
    /// Drop the link: the request is a bug or an attack.
    Violation,
}

impl Phase {
    /// The table of this module.
    pub const fn admits(self, request: &SessionRequest) -> Admission {
        use SessionRequest as Request;
        match (request, self) {
            (Request::CloseSession, _)
            | (Request::BeginHandshake { .. } | Request::AuthenticateClient { .. }, Self::Fresh)
            | (Request::FinishHandshake { .. } | Request::AbandonHandshake, Self::Handshaking)
            | (Request::ConfirmReceipt { .. } | Request::AnswerProbe { .. } | Request::ForgetClient, Self::Attached) => {
                Admission::Proceed
            }
            (_, Self::Detached) => Admission::Ignore,
            _ => Admission::Violation,
        }
    }
}
