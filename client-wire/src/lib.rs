//! What clients and the gateway say to each other on the websocket: text frames carry control messages, binary frames
//! carry sealed traffic.
//!
//! *Trusts* nothing: every parser here takes what a stranger sent. *Holds* no key of its own; callers lend theirs.
//! *Promises*: no parser panics; a sealed frame opens only under the key that sealed it; the texts and bytes are those
//! that nym-gateway 0.10.1 and its clients exchange.
//!
//! A session is made by [`handshake`] (registration) or [`token`] (authentication), both carried by [`control`]
//! messages. From then on its [`key`] seals each [`frame`], and a client's frame holds a forward [`request`].

pub mod aead_frame;
pub mod client_session;
pub mod control;
pub mod frame;
pub mod handshake;
mod hmac_blake3;
pub mod kdf;
pub mod key;
pub mod login;
mod long_array;
pub mod protocol;
pub mod refusal;
pub mod request;
pub mod session;
pub mod side;
pub mod token;

#[cfg(test)]
mod vectors;
