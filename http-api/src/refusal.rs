//! Why a request is refused, and what its sender is told.

use hyper::StatusCode;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is nothing at this path.
    UnknownPath,
    /// The method neither reads nor asks for the head.
    Method,
    /// The output is one that is not served.
    Output,
    /// The gateway announces no account.
    NoAccount,
    /// `store` has not signed yet.
    NotReady,
}

impl Refusal {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::UnknownPath | Self::NoAccount => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Output => StatusCode::BAD_REQUEST,
            Self::NotReady => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::UnknownPath => "there is nothing at this path",
            Self::Method => "this path takes GET and HEAD",
            Self::Output => "the outputs served are json and yaml",
            Self::NoAccount => "the gateway announces no account",
            Self::NotReady => "the gateway is starting; try again later",
        }
    }
}
