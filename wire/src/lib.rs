//! What the mixnet says: packets, the frames that carry them, where they go next, and whom they are for.
//!
//! *Trusts* nothing: every decoder takes bytes from a stranger. *Promises*: decoders never panic, and never allocate more than their
//! format allows. The formats know no runtime: they turn bytes into types and back. Everything binary is big-endian.

pub mod address;
pub mod framing;
pub mod packet;
pub mod routing;
pub mod surb_ack;

/// The newest version of the clients' protocol that the gateway speaks. Here, so that the supervisor can name it without what
/// clients say.
pub const CLIENT_PROTOCOL: u8 = 6;
