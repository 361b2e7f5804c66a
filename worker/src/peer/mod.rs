//! Limits for strangers at a listening port. Strangers are told apart by [`AddressPrefix`] and the wider [`Network`]s around it.
//! [`Listener`] accepts connections, [`ConnectionLimit`] bounds how many are open and decides which is evicted, [`RateLimit`] bounds
//! how often a stranger may ask for something expensive.
//!
//! *Trusts* the address that the kernel names. *Holds* prefixes, in memory only, each no longer than its limit needs the prefix.
//! *Promises*: what is kept of strangers is itself bounded, however many addresses they have.

mod acceptor;
mod known;
mod limit;
mod listener;
mod prefix;
mod rate;
mod table;
mod tree;

pub use acceptor::{Acceptor, PortCounters, Serving};
pub use limit::{Admitted, ConnectionLimit, ConnectionPermit, LimitReached};
pub use listener::{Accepted, Listener, Rejected};
pub use prefix::{AddressPrefix, Network};
pub use rate::RateLimit;
pub use table::FULL_PROOF;
