//! The formats that clients of every era and the gateway use on the websocket. Text frames carry control messages, binary frames
//! carry sealed traffic. The formats know no runtime.
//!
//! *Trusts* nothing: every parser here takes bytes from a stranger. *Holds* no key of its own; callers lend theirs.
//! *Promises*: no parser panics; a sealed frame opens only under the key that sealed it; the texts and bytes are those
//! that nym-gateway 0.10.1 and its clients exchange.
//!
//! A session is made by [`handshake`] (registration) or [`token`] (authentication), both carried by [`control`]
//! messages. From then on its [`key`] seals each [`frame`], and a client's frame holds a forward [`request`].

pub mod aead_frame;
pub mod client_session;
pub mod control;
pub mod frame;
mod frame_kind;
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
