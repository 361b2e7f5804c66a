//! Where the gateway listens and what it announces.
//!
//! Listening is on an address, never on a name: the gateway asks no resolver. Announcing takes both. Everything here
//! parses text of the operator (flags and `config.toml`) and prints the forms that other nodes and clients parse.

mod announce;
mod host;
mod listen;

pub use announce::{ClientsAnnounce, MixAnnounce, Scheme};
pub use host::{Host, InvalidAnnounce, is_private};
pub use listen::{InvalidListenHost, ListenHost};

#[cfg(test)]
mod tests;
