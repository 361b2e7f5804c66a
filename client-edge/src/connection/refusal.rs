//! Translates `store`'s reasons into the refusals of the protocol, which has the words for the client.

use client_wire::{protocol::refusal::EntryRefusal, refusal::HandshakeFailure};
use session_ipc::{AuthenticationRefusal, HandshakeRefusal};

/// Why a registration was refused.
pub(super) fn of_handshake(reason: HandshakeRefusal) -> EntryRefusal {
    EntryRefusal::Handshake(match reason {
        HandshakeRefusal::NoIdentity => HandshakeFailure::NoIdentity,
        HandshakeRefusal::MalformedInit => HandshakeFailure::MalformedInit,
        HandshakeRefusal::MaterialLength { got, expected } => {
            HandshakeFailure::MaterialLength { got: bytes(got), expected: bytes(expected) }
        }
        HandshakeRefusal::InvalidSignature => HandshakeFailure::InvalidSignature,
        HandshakeRefusal::AlreadyConnected => return EntryRefusal::DuplicateRegistration,
        HandshakeRefusal::StorageFailed => return EntryRefusal::UnwrittenRegistration,
    })
}

/// Why a login was refused.
pub(super) fn of_authentication(reason: AuthenticationRefusal) -> EntryRefusal {
    match reason {
        AuthenticationRefusal::Login(refusal) => EntryRefusal::Login(refusal),
        AuthenticationRefusal::AlreadyConnected => EntryRefusal::DuplicateLogin,
        AuthenticationRefusal::StorageFailed => EntryRefusal::UnwrittenLogin,
        AuthenticationRefusal::TooMany => EntryRefusal::TooManyLogins,
        AuthenticationRefusal::UnreadableEntry => EntryRefusal::UnreadableEntry,
    }
}

fn bytes(len: u32) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}
