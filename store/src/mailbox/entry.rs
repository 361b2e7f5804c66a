//! Changes of the ledger.

use client_wire::{
    key::SessionKey,
    login::{Freshness, LoginForm},
};
use wire::address::ClientAddress;

/// One change of the ledger.
#[derive(Debug)]
pub enum LedgerEntry {
    /// The client is registered under this key, and under no other.
    Register {
        /// Which client.
        client: ClientAddress,
        /// The key.
        key: SessionKey,
        /// How it logs in with that key. No client signs with a key of 2021.
        logins: LoginForm,
    },
    /// The client has logged in with this, which is good for nothing from now on. A time was signed: after it the client has to sign
    /// its logins until it registers again.
    Login {
        /// Which client.
        client: ClientAddress,
        /// What made the login fresh.
        freshness: Freshness,
    },
    /// The client was there at this time.
    Seen {
        /// Which client.
        client: ClientAddress,
        /// When, in seconds since 1970.
        at: u64,
    },
    /// The client is not registered any more.
    Forget {
        /// Which client.
        client: ClientAddress,
    },
}
