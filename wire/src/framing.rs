//! Frames on the mixnet port: a header of two to four bytes, then one Sphinx packet. There are no answers.
//!
//! There are three headers. The first byte tells them apart, because sizes are numbered below 6 and versions from 7:
//!
//! | header | bytes |
//! |---|---|
//! | unversioned (2021) | `size, packet type` |
//! | version 7 | `07, size, packet type` |
//! | version 8 | `08, size, packet type, key rotation` |
//!
//! Packet type "vpn" was gone before headers had versions, so only the unversioned header can carry it.
//!
//! *Trusts* nothing. *Promises*: headers of all eras are accepted in any mixture, and nothing else is.

mod buffer;
mod choice;
mod header;

pub use buffer::FrameBuffer;
pub use choice::FramingChoice;
pub use header::{EncodedHeader, FrameHeader, Framing, FramingError, MAX_FRAME_LEN, MAX_HEADER_LEN};
