//! `client-edge`: serves the clients' websockets.
//!
//! *Trusts*: no client. Clients are strangers until `store` has checked their proof, and a hostile client may hold a key as well.
//! The proxies that the operator names are believed about one thing only, the address for which they connect. `store` is trusted to
//! hand out one session key at a time, and held to the rules of its link.
//!
//! *Holds*: the session keys of the clients that are logged in, in locked memory, and their mail on its way out, within the credit
//! of each session. Never the identity key: handshake bytes are relayed to `store` unread.
//!
//! *May do*: accept TCP connections on the listener that it was given. It opens no connection; clients' packets leave through
//! `mix-egress`.
//!
//! *On compromise*: the attacker gets the traffic of the clients that are logged in meanwhile, and can drop or falsely confirm
//! *their* pushed mail. The attacker cannot read the mail of other clients, confirm mail that was never pushed, or sign as the
//! gateway.

mod connection;
mod context;
pub mod counters;
pub mod edge;
mod listen;
mod next_hops;
pub mod store;
pub mod upgrade;
mod websocket;

#[cfg(test)]
mod tests;
