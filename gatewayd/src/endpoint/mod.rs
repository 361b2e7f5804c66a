//! The addresses on which the gateway listens, and the addresses that it announces.
//!
//! The gateway listens on addresses only and asks no resolver; it announces addresses and names. This room parses text of the operator
//! (flags and `config.toml`), and prints the forms that other nodes and clients parse.

mod announce;
mod host;
mod listen;

pub use announce::{ClientsAnnounce, MixAnnounce, Scheme};
pub use host::{Host, InvalidAnnounce, is_private, is_public};
pub use listen::{InvalidListenHost, ListenHost};

#[cfg(test)]
mod tests;
