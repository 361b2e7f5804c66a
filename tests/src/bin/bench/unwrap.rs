//! The yardstick: what the Sphinx library alone needs for a packet.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use nix::time::{ClockId, clock_gettime};
use proto::address::ClientAddress;
use sphinx_packet::{ProcessedPacketData, SphinxPacket};
use tests::packet::PacketMaker;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::{Era, Scale, load::Load, report::median};

const ROUNDS: usize = 7;

/// Processor time of one unwrap on one core.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BareUnwrap {
    /// Microseconds.
    pub(crate) micros: f64,
}

impl BareUnwrap {
    /// Unwraps packets of this era on one thread, several rounds of all of them; the median round counts.
    ///
    /// Version 0.8 of the library takes version 256, which is 2021, for one whose payload key comes from a seed, so the
    /// payloads of that era come out as noise. The work is the same: one X25519, one LIONESS.
    ///
    /// # Errors
    /// If a packet cannot be built or unwrapped.
    pub(crate) fn measure(era: Era, scale: Scale) -> Result<Self> {
        let secret = StaticSecret::from(rand::random::<[u8; 32]>());
        let gateway = PublicKey::from(&secret).to_bytes();
        let maker = PacketMaker { gateway, ack_hop: ([127, 0, 0, 1], 1).into(), ack_key: gateway };
        let to = ClientAddress([7; 32]);
        let load = Load::build(era, maker, &[to], scale.unwraps)?;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let begin = processor_time()?;
            for packet in &load.packets {
                ensure!(unwrap(&packet.packet, &secret)? == to.0, "a packet was unwrapped to a wrong destination");
            }
            let count = load.packets.len() as f64;
            rounds.push((processor_time()? - begin).as_secs_f64() * 1e6 / count);
        }
        Ok(Self { micros: median(&rounds) })
    }
}

fn processor_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

fn unwrap(packet: &[u8], secret: &StaticSecret) -> Result<[u8; 32]> {
    let refused = |error| anyhow!("the Sphinx library refused a packet: {error:?}");
    let packet = SphinxPacket::from_bytes(packet).map_err(refused)?;
    let shared = packet.header.compute_expanded_shared_secret(secret);
    match packet.process_with_expanded_secret(&shared).map_err(refused)?.data {
        ProcessedPacketData::FinalHop { destination, .. } => Ok(destination.as_bytes()),
        ProcessedPacketData::ForwardHop { .. } => Err(anyhow!("a packet wants to go further than its final hop")),
    }
}
