//! `mix-egress`: sends Sphinx packets to mix nodes.
//!
//! *Trusts*: nobody. The processes that hand it packets may have been taken over, and so may every next hop: each next
//! hop is checked against the [`policy`], whoever asked for it, and what a next hop says is read only to be discarded.
//!
//! *Holds*: no key of any kind. Encrypted Sphinx packets, for as long as it takes to send them, within three bounds:
//! packets per next hop, next hops, and bytes in all.
//!
//! *May do*: open TCP connections to next hops that the policy allows, and write to them. A caller never waits: what
//! does not fit is dropped, and every drop has a named counter ([`counters`]).
//!
//! *On compromise*: the attacker gets encrypted Sphinx packets in transit, and can drop them.

mod backoff;
mod batch;
pub mod config;
mod connection;
pub mod counters;
pub mod frame;
mod hop;
pub mod hops;
pub mod policy;
mod room;
pub mod serve;
