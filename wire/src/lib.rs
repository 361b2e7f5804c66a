//! The formats of the mixnet: packets, the frames that carry them, addresses of next hops and of clients.
//!
//! *Trusts* nothing: every decoder takes bytes from a stranger. *Promises*: decoders never panic, and never allocate more than their
//! format allows. The formats know no runtime: they turn bytes into types and back. Everything binary is big-endian.

pub mod address;
pub mod framing;
pub mod packet;
pub mod routing;
pub mod surb_ack;

/// The newest version of the clients' protocol that the gateway speaks. Stands in this crate, so that the supervisor need not depend
/// on `client-wire` to log it.
pub const CLIENT_PROTOCOL: u8 = 6;
