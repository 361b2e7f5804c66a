//! What `client-edge` asks and tells.

use bincode::{Decode, Encode};
use client_wire::login::{LoginForm, LoginProof};

use crate::id::{Sequence, SessionId};

/// What `client-edge` tells `store`: a request of one session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EdgeToStore {
    /// The session.
    pub session: SessionId,
    /// The request.
    pub request: SessionRequest,
}

/// What a session asks or tells `store`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SessionRequest {
    /// The client's first handshake message, unread.
    BeginHandshake {
        /// The bytes the client sent.
        init: Vec<u8>,
        /// How the client will log in later, which follows from its protocol version.
        #[bincode(with_serde)]
        logins: LoginForm,
    },
    /// The client's second handshake message, unread.
    FinishHandshake {
        /// The bytes the client sent.
        material: Vec<u8>,
    },
    /// The client gave up the handshake or took too long.
    AbandonHandshake,
    /// The client wants to log in.
    AuthenticateClient {
        /// The client's proof, unchecked.
        #[bincode(with_serde)]
        proof: LoginProof,
    },
    /// The client has proved that it read everything pushed up to and including this message.
    ConfirmReceipt {
        /// The last message whose receipt is proved.
        up_to: Sequence,
    },
    /// Answer to `ProbeSession`.
    AnswerProbe {
        /// Whether the client answered in time.
        alive: bool,
    },
    /// The client wants its registration and its mail removed. The session is detached from then on.
    ForgetClient,
    /// The client's connection is gone.
    CloseSession,
}
