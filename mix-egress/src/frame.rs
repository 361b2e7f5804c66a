//! A frame on its way out: header ‖ Sphinx packet, as it goes onto the wire.
//!
//! Promises that a header is two, three or four bytes long; what they say is the caller's business.

use bytes::Bytes;

/// The bytes in front of a Sphinx packet: two without a version, three of version 7, four of version 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderBytes {
    bytes: [u8; 4],
    unused: u8,
}

impl From<[u8; 2]> for HeaderBytes {
    fn from([a, b]: [u8; 2]) -> Self {
        Self { bytes: [0, 0, a, b], unused: 2 }
    }
}

impl From<[u8; 3]> for HeaderBytes {
    fn from([a, b, c]: [u8; 3]) -> Self {
        Self { bytes: [0, a, b, c], unused: 1 }
    }
}

impl From<[u8; 4]> for HeaderBytes {
    fn from(bytes: [u8; 4]) -> Self {
        Self { bytes, unused: 0 }
    }
}

impl AsRef<[u8]> for HeaderBytes {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(usize::from(self.unused)..).unwrap_or_default()
    }
}

/// A frame on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingFrame {
    /// Goes first.
    pub header: HeaderBytes,
    /// Follows at once.
    pub packet: Bytes,
}

impl OutgoingFrame {
    /// Bytes on the wire.
    pub fn wire_len(&self) -> usize {
        self.header.as_ref().len() + self.packet.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_the_bytes_it_was_made_of() {
        assert_eq!(HeaderBytes::from([1, 0]).as_ref(), [1, 0]);
        assert_eq!(HeaderBytes::from([7, 1, 0]).as_ref(), [7, 1, 0]);
        assert_eq!(HeaderBytes::from([8, 1, 0, 2]).as_ref(), [8, 1, 0, 2]);
    }

    #[test]
    fn the_length_counts_header_and_packet() {
        let frame = OutgoingFrame { header: [7, 2, 0].into(), packet: Bytes::from(vec![0; 386]) };
        assert_eq!(frame.wire_len(), 389);
    }
}
