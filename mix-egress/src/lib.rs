//! `mix-egress`: sends Sphinx packets to mix nodes.
//!
//! *Trusts*: nobody. The processes that hand over packets may have been taken over, and so may every next hop. Each next hop is
//! checked against the [`policy`], whichever process asked for it, and bytes from a next hop are read only to be discarded.
//!
//! *Holds*: no key of any kind. Encrypted Sphinx packets until they are sent, within three bounds: packets per next hop, next hops,
//! and bytes in all. Next hops that have taken packets do not give way to next hops that were only named ([`places`]).
//!
//! *May do*: open TCP connections to next hops that the policy allows, and write to them. A caller never waits: a packet that does not
//! fit is dropped, and every drop has a named counter ([`counters`]).
//!
//! *On compromise*: the attacker gets encrypted Sphinx packets in transit, and can drop them.

mod backoff;
mod batch;
mod budget;
mod connection;
pub mod counters;
pub mod frame;
mod hop;
mod hop_state;
pub mod hops;
mod inlet;
pub mod places;
pub mod policy;
pub mod serve;
pub mod timeouts;
mod worked_before;
