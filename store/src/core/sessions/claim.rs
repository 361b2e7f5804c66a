//! A claim to be a client, and why it may be denied.

use client_wire::{key::SessionKey, login::LoginForm};
use wire::address::ClientAddress;

/// A session that has proved to be a client.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) client: ClientAddress,
    pub(super) key: SessionKey,
    pub(super) by: ClaimedBy,
    /// Of a registration, how the client logs in later; of a login, its own form.
    pub(super) logins: LoginForm,
}

impl Claim {
    /// Whether only the session key is proved.
    pub(super) const fn is_by_token(&self) -> bool {
        matches!((self.by, self.logins), (ClaimedBy::Login, LoginForm::Token))
    }
}

/// How a session has proved to be a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaimedBy {
    Registration,
    Login,
}

/// Why a client that has proved who it is was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) enum Denial {
    /// It is connected elsewhere, and that connection is alive.
    AlreadyConnected,
    /// The ledger cannot be read or written.
    StorageFailed,
}
