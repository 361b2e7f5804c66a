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

mod accept;
mod alarm;
mod attached;
mod barrier;
mod chatter;
mod connection;
pub mod counters;
mod dispatch;
pub mod edge;
mod entrance;
pub mod forwarded;
pub mod http_request;
pub mod keys;
mod line;
mod mail;
mod meter;
mod next_hops;
mod outbox;
mod pace;
mod patience;
mod preauth_limit;
pub mod proxy_header;
mod refusal;
mod upgrade;
mod visitor;
mod websocket;

#[cfg(test)]
mod tests;
