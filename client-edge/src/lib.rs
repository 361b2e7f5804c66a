//! `client-edge`: serves the clients' websockets.
//!
//! *Trusts*: nobody. Clients are strangers until `store` has checked their proof, and hostile ones may hold a key as well.
//! The proxies that the operator names are believed about one thing: for which address they connect. `store` is trusted to name one
//! session key at a time, and held to the rules of its link.
//!
//! *Holds*: the session keys of the clients connected right now, in locked memory, and their mail on its way out, within the
//! credit of each session. Never the identity key: handshake bytes are relayed to `store` unread.
//!
//! *May do*: accept TCP connections on the listener it was given. It opens none; clients' packets leave through `mix-egress`.
//!
//! *On compromise*: the attacker gets the traffic of the clients attached meanwhile, and can drop or falsely confirm *their*
//! pushed mail. It cannot read the mail of a client that did not authenticate, confirm mail that was never pushed, or sign
//! as the gateway.

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
