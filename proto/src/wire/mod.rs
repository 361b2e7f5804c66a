//! What the network says: bytes on the mixnet port and on the clients' websockets.
//!
//! The formats know no runtime: they turn bytes into types and back. Everything binary is big-endian.

pub mod client;
pub mod framing;
pub mod packet;
pub mod routing;
pub mod surb_ack;
