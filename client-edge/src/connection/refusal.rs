//! Translates `store`'s reasons into the refusals of the protocol, which has the words for the client.

use client_wire::protocol::refusal::EntryRefusal;
use session_ipc::{AuthenticationRefusal, RegistrationRefusal};

/// Why a registration was refused.
pub(super) fn of_registration(reason: RegistrationRefusal) -> EntryRefusal {
    match reason {
        RegistrationRefusal::Handshake(error) => EntryRefusal::Handshake(error),
        RegistrationRefusal::AlreadyConnected => EntryRefusal::DuplicateRegistration,
        RegistrationRefusal::StorageFailed => EntryRefusal::UnwrittenRegistration,
    }
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
