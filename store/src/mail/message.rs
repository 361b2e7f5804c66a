//! One message in memory.

use ipc::ingress_store::Ack;

use super::{
    entry::{ENTRY, PLACE_UNIT, Put},
    segment::Slot,
};

/// A message that is stored: where, and how to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Its number, less the inbox's base.
    pub(super) delta: u32,
    pub(super) place: u32,
    /// Bytes of the body, little-endian.
    pub(super) len: [u8; 3],
    pub(super) ack: Ack,
    pub(super) checksum: u32,
    /// Unix milliseconds, little-endian.
    pub(super) arrival: [u8; 6],
    pub(super) slot: Slot,
}

const _: () = assert!(size_of::<Message>() == 24, "a million messages are 24 MB");

impl Message {
    /// Where it is.
    pub(super) const fn spot(&self) -> Spot {
        Spot { slot: self.slot, place: self.place }
    }

    /// Whether it is this message, wherever it is stored.
    pub(super) fn is(&self, put: &Put) -> bool {
        (self.len(), self.checksum, self.arrival()) == (put.len, put.checksum, put.arrival)
    }

    /// Bytes of the body.
    pub(super) const fn len(&self) -> u32 {
        let [a, b, c] = self.len;
        u32::from_le_bytes([a, b, c, 0])
    }

    /// Whether it came with a SURB-ack.
    pub(super) const fn ack(&self) -> Ack {
        self.ack
    }

    /// Unix milliseconds.
    pub(super) const fn arrival(&self) -> u64 {
        let [a, b, c, d, e, f] = self.arrival;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    /// Bytes that it takes in a segment: its body, its entry, and its entry in the index.
    pub(super) const fn weight(&self) -> u64 {
        weight(self.len())
    }
}

/// Bytes that a message with a body of this length takes in a segment.
pub(super) const fn weight(len: u32) -> u64 {
    (len as u64).next_multiple_of(PLACE_UNIT) + 2 * ENTRY as u64
}

/// Where a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) slot: Slot,
    /// Offset in the segment, in units of [`PLACE_UNIT`].
    pub(super) place: u32,
}
