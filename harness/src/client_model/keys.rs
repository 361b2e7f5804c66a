//! The keys of a client that registers again and again.

use std::time::Instant;

use crate::account::Account;

/// The keys that a client has beside the one that it takes for its own.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The other of two, if its last registration was not answered.
    pub(super) doubt: Option<Doubt>,
    /// The key that was replaced last, until the gateway has refused it.
    pub(super) replaced: Option<Account>,
}

/// Two keys of which one opens.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) other: Account,
    /// Whether the other is the one that was to be replaced.
    pub(super) is_older: bool,
    pub(super) since: Instant,
}
