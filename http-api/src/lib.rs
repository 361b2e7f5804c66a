//! `http-api`: tells the network over HTTP what the gateway is.
//!
//! *Trusts*: nobody who connects. `store` to sign the host information: readers check the signature, and this process does not.
//! `gatewayd` to say what else is announced.
//!
//! *Holds*: no key and no secret; everything it has is public. For each connection a request of at most [`MAX_HEAD`] bytes and an answer,
//! for at most the time that the configuration gives to each.
//!
//! *May do*: accept connections on the listeners it was given, read requests from them, and answer. If it serves metrics, it can read the
//! figures of all processes, and write its own only. It opens no file and no connection. Every connection that is refused or closed has a
//! named counter ([`counters`]).
//!
//! *On compromise*: the attacker can lie about everything but the keys and addresses, which are signed, or stop answering; both make the
//! network avoid the gateway. The attacker sees which addresses ask and, if metrics are served, the figures as they change, before they are
//! made coarse; and gets neither mail nor keys nor a way out.
//!
//! ```text
//! gatewayd ── figures ──┐
//! store ─ host info. ─> api ─> answer <─ connection (one each) <─ serve
//!         pages of figures ──> metrics <─ connection (one each) <─ operator
//! ```

mod answer;
pub mod api;
pub mod connection;
pub mod counters;
mod documents;
mod exchange;
mod figures;
pub mod limits;
pub mod metrics;
pub mod operator;
mod refusal;
pub mod serve;

pub use connection::MAX_HEAD;
