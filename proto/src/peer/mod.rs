//! Strangers at a listening port, as far as limits are about them: whose they are ([`AddressPrefix`]), how many may be
//! connected ([`Seats`]) and how they get in ([`Door`]), and how often they may do what is dear ([`RateLimit`]).
//!
//! *Trusts*: the address that the kernel names. *Holds*: prefixes, in memory only, each no longer than its limit needs it.
//! *Promises*: what is kept of strangers is itself bounded, however many addresses they have.

mod door;
mod prefix;
mod rate;
mod seats;

pub use door::{Door, Newcomer, TurnedAway};
pub use prefix::AddressPrefix;
pub use rate::RateLimit;
pub use seats::{Crowded, Seat, Seats};
