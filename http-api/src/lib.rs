//! `http-api`: tells the network over HTTP what the gateway is.
//!
//! *Trusts*: nobody who connects. `store` to sign the host information: readers check the signature, and this process does not.
//! `gatewayd` to say what else is announced.
//!
//! *Holds*: no key and no secret; everything it has is public. For each connection a request of at most [`MAX_HEAD`] bytes and an answer,
//! for at most the time that the configuration gives to each.
//!
//! *May do*: accept TCP connections on the listener it was given, read requests from them, and answer. It opens no file and no
//! connection. Every connection that is refused or closed has a named counter ([`counters`]).
//!
//! *On compromise*: the attacker can lie about everything but the keys and addresses, which are signed, or stop answering; both make the
//! network avoid the gateway. The attacker sees which addresses ask, and gets neither mail nor keys nor a way out.
//!
//! ```text
//! gatewayd ── figures ──┐
//! store ─ host info. ─> api ─> answer <─ connection (one each) <─ serve
//! ```

mod answer;
pub mod api;
pub mod connection;
pub mod counters;
mod documents;
mod exchange;
mod figures;
mod refusal;
pub mod serve;

pub use connection::MAX_HEAD;
