//! Strangers at a listening port, as far as limits are about them: whose they are ([`AddressPrefix`], and each [`Network`] around
//! it), how many may be connected and who gives way ([`ConnectionLimit`]), how they get in ([`Listener`]), and how often they may do
//! what is dear ([`RateLimit`]).
//!
//! *Trusts*: the address that the kernel names. *Holds*: prefixes, in memory only, each no longer than its limit needs it.
//! *Promises*: what is kept of strangers is itself bounded, however many addresses they have.

mod acceptor;
mod known;
mod limit;
mod listener;
mod places;
mod prefix;
mod rate;
mod tree;

pub use acceptor::{Acceptor, PortCounters, Serving};
pub use limit::{Admitted, ConnectionLimit, ConnectionPermit, LimitReached};
pub use listener::{Accepted, Listener, Rejected};
pub use places::FULL_PROOF;
pub use prefix::{AddressPrefix, Network};
pub use rate::RateLimit;
