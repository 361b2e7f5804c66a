//! `mix-ingress`: reads the mixnet port, unwraps Sphinx packets, and pays the SURB-ack of every message that is safe.
//!
//! *Trusts*: nothing that comes from the network: connections, frames and packets are strangers'. `store` for one thing only:
//! that an accepted delivery is durable or received. `mix-egress` for nothing.
//!
//! *Holds*: the Sphinx private key, read from a descriptor into locked memory. Packets on their way to `store`, within
//! bounds: frames of one read per connection, batches per thread, and the window of the link. Every delivery that `store` has
//! not answered, with its SURB-ack. Marks of the packets seen, which do not reveal the packets.
//!
//! *May do*: accept TCP connections on the listener it was given, and read from them. It writes to no connection and
//! opens none. Every packet that ends here ends in a named counter ([`counters`]).
//!
//! *On compromise*: the attacker gets the packets that arrive meanwhile, their destinations and ciphertext. The attacker can put
//! false mail into inboxes and learn which addresses are registered, but gets no inbox, no client's key, and no way to connect out.

#[cfg(all(feature = "ack-before-acceptance", not(debug_assertions)))]
compile_error!("the feature `ack-before-acceptance` loses mail; it is for the tests alone, never for a release");

mod accept;
mod connection;
pub mod counters;
mod deliver;
pub mod key;
mod replay;
pub mod run;
pub mod sphinx;
mod turns;
mod unwrap;
