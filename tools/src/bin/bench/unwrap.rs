//! The yardstick: what the Sphinx library alone needs for a packet.

use std::{thread, time::Duration};

use anyhow::{Result, anyhow, ensure};
use harness::packet::PacketMaker;
use nix::time::{ClockId, clock_gettime};
use sphinx_packet::{ProcessedPacketData, SphinxPacket};
use wire::address::ClientAddress;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::{Era, Scale, load::Load, report::median};

const TO: ClientAddress = ClientAddress([7; 32]);
const ROUNDS: usize = 3;

/// Packets of one era, and the key to unwrap them.
pub(crate) struct Yardstick {
    secret: StaticSecret,
    packets: Vec<Vec<u8>>,
}

/// Processor time of one unwrap on one core.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BareUnwrap {
    /// Microseconds.
    pub(crate) micros: f64,
}

impl Yardstick {
    /// Builds the packets.
    ///
    /// # Errors
    /// If a packet cannot be built.
    pub(crate) fn build(era: Era, scale: Scale) -> Result<Self> {
        let secret = StaticSecret::from(rand::random::<[u8; 32]>());
        let gateway = PublicKey::from(&secret).to_bytes();
        let maker = PacketMaker { gateway, ack_hop: ([127, 0, 0, 1], 1).into(), ack_key: gateway };
        let load = Load::build(era, maker, &[TO], scale.unwraps)?;
        Ok(Self { secret, packets: load.packets.into_iter().map(|packet| packet.packet).collect() })
    }

    /// Unwraps all packets on one thread, several times; the median counts.
    ///
    /// To be done close to what it is compared with: on a machine that is shared, a processor is not always equally fast.
    ///
    /// Version 0.8 of the library takes version 256, which is 2021, for one whose payload key comes from a seed, so the
    /// payloads of that era come out as noise. The work is the same: one X25519, one LIONESS.
    ///
    /// # Errors
    /// If a packet cannot be unwrapped.
    pub(crate) fn measure(&self) -> Result<BareUnwrap> {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let begin = processor_time()?;
            for packet in &self.packets {
                ensure!(unwrap(packet, &self.secret)? == TO.0, "a packet was unwrapped to a wrong destination");
            }
            rounds.push((processor_time()? - begin).as_secs_f64() * 1e6 / self.packets.len() as f64);
        }
        Ok(BareUnwrap { micros: median(&rounds) })
    }

    /// The same on every processor at once: what the processors take from each other.
    ///
    /// # Errors
    /// If a packet cannot be unwrapped.
    pub(crate) fn measure_everywhere(&self) -> Result<BareUnwrap> {
        let processors = thread::available_parallelism()?.get();
        let mut each = Vec::new();
        thread::scope(|scope| -> Result<()> {
            let threads: Vec<_> = (0..processors).map(|_| scope.spawn(|| self.measure())).collect();
            for thread in threads {
                each.push(thread.join().map_err(|_| anyhow!("a thread that unwrapped packets panicked"))??.micros);
            }
            Ok(())
        })?;
        Ok(BareUnwrap { micros: median(&each) })
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
