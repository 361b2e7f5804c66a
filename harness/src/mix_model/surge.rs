//! Surges: now and then all mix nodes send as fast as the gateway takes packets. What they send then was made before,
//! so that making it delays no sending.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::task::{JoinHandle, spawn_blocking};
use wire::{framing::Framing, packet::PacketSize};

use crate::{
    mix_model::packets::{Addressee, Kind, make},
    oracle::Inbox,
    packet::{FinalHopPacket, PacketMaker},
};

/// From the beginning of one surge to the next.
const PERIOD: Duration = Duration::from_secs(5);
/// How long one surge lasts.
pub const LASTS: Duration = Duration::from_secs(1);
/// A surge that the end of the run cut short counts as one of this length.
const SHORTEST: Duration = Duration::from_millis(200);
/// What a mix node has in stock for a surge: together more than a gateway on two cores works off in that second (5,000
/// to 7,000), so that it is at its limit all the time; what it has not taken by then waits in the kernel. More could
/// not be made in the pause without taking the cores away from the gateway. A packet of today takes three times as long
/// to make as one of 2021.
const STOCK_OF_2021: usize = 5_000;
const STOCK_OF_TODAY: usize = 3_000;
/// So many surges go to everybody, and later ones to those who keep up with their mail: what others leave lying for the
/// whole of a long run would fill the disk.
const TO_EVERYBODY: u32 = 6;

/// A packet that has been made, and whose it is.
pub type Made = (Inbox, Framing, FinalHopPacket);

/// The packets that one mix node has made for surges.
pub struct Stock {
    kind: Kind,
    maker: PacketMaker,
    most: usize,
    made: VecDeque<Made>,
    making: Option<JoinHandle<Result<Vec<Made>>>>,
    begin: Instant,
    surges: u32,
}

impl Stock {
    /// Nothing yet. The first surge comes when one period is over.
    pub fn new(kind: Kind, maker: PacketMaker) -> Self {
        let most = match kind {
            Kind::Of2021 => STOCK_OF_2021,
            Kind::OfToday => STOCK_OF_TODAY,
        };
        Self { kind, maker, most, made: VecDeque::new(), making: None, begin: Instant::now(), surges: 0 }
    }

    /// Begins to make what is missing, for some of these, and says whether it is time for a surge and all is made.
    ///
    /// # Errors
    /// If a packet cannot be made.
    pub async fn is_due(&mut self, everybody: &[Addressee]) -> Result<bool> {
        if self.made.len() < self.most && self.making.is_none() {
            let missing = self.most - self.made.len();
            let to_all = self.surges < TO_EVERYBODY;
            let to: Vec<_> = everybody.iter().copied().filter(|addressee| to_all || addressee.keeps_up).collect();
            let (kind, maker) = (self.kind, self.maker);
            self.making = Some(spawn_blocking(move || {
                let made = to.iter().cycle().take(missing).map(|to| {
                    let (framing, packet) = make(kind, maker, to.address, PacketSize::Regular)?;
                    Ok((to.inbox, framing, packet))
                });
                made.collect()
            }));
        }
        if self.begin.elapsed() < PERIOD * (self.surges + 1)
            || self.making.as_ref().is_some_and(|made| !made.is_finished())
        {
            return Ok(false);
        }
        if let Some(making) = self.making.take() {
            self.made.extend(making.await.context("packets for a surge were not made")??);
        }
        Ok(true)
    }

    /// The next surge begins now. Returns its number.
    pub fn begin(&mut self) -> u32 {
        self.surges += 1;
        self.surges
    }

    /// The next packet to send.
    pub fn next_packet(&mut self) -> Option<Made> {
        self.made.pop_front()
    }
}

/// One surge of all mix nodes, from its beginning to its end.
#[derive(Debug, Clone, Copy)]
struct Surge {
    begin: Instant,
    end: Instant,
    packets: usize,
}

/// All surges, by number.
#[derive(Debug, Default)]
pub struct Surges(Mutex<BTreeMap<u32, Surge>>);

impl Surges {
    /// A mix node has sent so many packets since `begin`, as its part of this surge.
    pub fn note(&self, number: u32, begin: Instant, packets: usize) {
        let now = Instant::now();
        let mut surges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let surge = surges.entry(number).or_insert(Surge { begin, end: now, packets: 0 });
        surge.begin = surge.begin.min(begin);
        surge.end = now;
        surge.packets += packets;
    }

    /// Packets sent in all surges.
    pub fn packets(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().map(|surge| surge.packets).sum()
    }

    /// The highest number of packets per second that any surge reached.
    pub fn highest_rate(&self) -> f64 {
        let surges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lasted = |surge: &Surge| (surge.end - surge.begin).max(SHORTEST).as_secs_f64();
        let rates = surges.values().map(|surge| surge.packets as f64 / lasted(surge));
        rates.fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mix_nodes_share_one_surge_and_the_fastest_counts() {
        let surges = Surges::default();
        assert_eq!((surges.packets(), surges.highest_rate()), (0, 0.0));
        let ago = |millis| Instant::now().checked_sub(Duration::from_millis(millis)).unwrap();
        surges.note(1, ago(1_000), 3_000);
        surges.note(1, ago(500), 1_000);
        surges.note(2, ago(2_000), 5_000);
        assert_eq!(surges.packets(), 9_000);
        assert!((3_900.0..=4_000.0).contains(&surges.highest_rate()), "{}", surges.highest_rate());
    }
}
