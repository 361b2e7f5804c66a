//! What `store` answers and commands.

use bincode::{Decode, Encode};
use client_wire::{handshake::HandshakeError, login::LoginError};
use ipc::Opaque;

use crate::{
    attached_key::AttachedKey,
    id::{Sequence, SessionId},
};

/// What `store` tells `client-edge`: an answer or a command to one session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct StoreToEdge {
    /// The session.
    pub session: SessionId,
    /// The answer or command.
    pub answer: SessionAnswer,
}

/// What `store` answers or tells a session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SessionAnswer {
    /// The gateway's handshake message for the client.
    ReplyHandshake {
        /// The bytes to send.
        payload: Vec<u8>,
    },
    /// The registration was refused. The session is fresh again.
    RefuseHandshake {
        /// The reason.
        reason: RegistrationRefusal,
    },
    /// The login was refused. The session is fresh again.
    RefuseAuthentication {
        /// The reason.
        reason: AuthenticationRefusal,
    },
    /// The client is registered or logged in. After a registration its ledger entry is durable.
    AttachSession {
        /// The client's session key.
        key: AttachedKey,
    },
    /// Mail for the client, oldest first.
    PushMessage {
        /// Position in the inbox, strictly growing within a session.
        sequence: Sequence,
        /// The message, not yet sealed.
        message: Opaque,
    },
    /// Another connection claims to be the client. Find out within half a second whether this one still answers.
    ProbeSession,
    /// The client's registration and mail are removed. The session is detached.
    ConfirmForgotten,
    /// Close the connection. The session is detached.
    EndSession {
        /// The reason.
        reason: EndReason,
    },
}

/// Why a registration was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RegistrationRefusal {
    /// A handshake message is malformed, or the client did not sign.
    Handshake(#[bincode(with_serde)] HandshakeError),
    /// The client is connected elsewhere, and that connection is alive.
    AlreadyConnected,
    /// The ledger could not be written.
    StorageFailed,
}

/// Why an authentication was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AuthenticationRefusal {
    /// The login proves nothing.
    Login(#[bincode(with_serde)] LoginError),
    /// The client is connected elsewhere, and that connection is alive.
    AlreadyConnected,
    /// The ledger could not be written.
    StorageFailed,
    /// The client's ledger entry is damaged.
    UnreadableEntry,
    /// The client's logins of this hour are used up.
    TooMany,
}

/// Why `store` ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EndReason {
    /// A newer connection of the same client took over.
    Superseded,
    /// The ledger could not be written, so the client is not forgotten.
    StorageFailed,
    /// The client has not read what was pushed, and the memory is needed for others. The mail is kept.
    MemoryNeeded,
    /// The operator had the client forgotten.
    Forgotten,
}
