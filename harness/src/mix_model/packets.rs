//! The packets of a mix node of either kind, and whom they go to.

use anyhow::Result;
use wire::{address::ClientAddress, framing::Framing, packet::PacketSize};

use crate::{
    mixnode::FRAMING_2021,
    oracle::Inbox,
    packet::{FinalHopPacket, PacketMaker, SIZES_2021},
    packet_today::{PacketMakerToday, SIZES_TODAY},
};

/// Every so many packets one is of another size than most, of each in turn.
const OTHER_EVERY: u64 = 20;
const NEWEST_SPHINX: u16 = 260;

/// A client that may be sent mail.
#[derive(Debug, Clone, Copy)]
pub struct Addressee {
    /// The number in the oracle.
    pub inbox: Inbox,
    /// The address.
    pub address: ClientAddress,
    /// Whether all mail is fetched sooner or later.
    pub keeps_up: bool,
}

/// How a mix node makes and frames its packets.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// As in 2021.
    Of2021,
    /// As today.
    OfToday,
}

impl Kind {
    /// The sizes that its packets have.
    const fn sizes(self) -> &'static [PacketSize] {
        match self {
            Self::Of2021 => &SIZES_2021,
            Self::OfToday => &SIZES_TODAY,
        }
    }

    /// The size of the packet of this number: most are regular.
    pub(super) fn size_of(self, number: u64) -> PacketSize {
        let others = self.sizes().iter().filter(|size| **size != PacketSize::Regular);
        let turn = usize::try_from(number / OTHER_EVERY).unwrap_or_default() % (self.sizes().len() - 1);
        let other = number.is_multiple_of(OTHER_EVERY).then(|| others.copied().nth(turn)).flatten();
        other.unwrap_or(PacketSize::Regular)
    }
}

/// Makes a packet as a mix node of this kind does.
///
/// # Errors
/// If the Sphinx library refuses.
pub fn make(kind: Kind, maker: PacketMaker, to: ClientAddress, size: PacketSize) -> Result<(Framing, FinalHopPacket)> {
    Ok(match kind {
        Kind::Of2021 => (FRAMING_2021, maker.make(to, size)?),
        Kind::OfToday => (Framing::V7, PacketMakerToday::like(maker, NEWEST_SPHINX).make(to, size)?),
    })
}
