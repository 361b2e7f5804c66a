//! Packets, built before the clock starts, and the check that all of them arrived.

use std::{
    collections::HashMap,
    net::SocketAddr,
    num::NonZeroUsize,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use harness::{
    account::Account,
    connection::{Connection, Incoming},
    mixnode::MixSender,
    packet::{FinalHopPacket, PacketMaker},
};
use tokio::task::JoinSet;
use wire::{address::ClientAddress, framing::FrameHeader, packet::PacketSize};

use crate::{Era, era::open_all};

/// Mail that has not come this long after the message before it never will.
const STALL: Duration = Duration::from_secs(5);

/// Bytes handed to TCP at once.
const WRITE_LEN: usize = 64 * 1024;

/// Packets of one era, framed.
pub(crate) struct Load {
    /// What was built, in order.
    pub(crate) packets: Vec<FinalHopPacket>,
    header: Vec<u8>,
}

impl Load {
    /// Builds `count` regular packets for these clients in turn, on all processors.
    ///
    /// # Errors
    /// If a packet cannot be built.
    pub(crate) fn build(era: Era, maker: PacketMaker, to: &[ClientAddress], count: usize) -> Result<Self> {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let share = count.div_ceil(threads);
        let recipients: Vec<ClientAddress> = to.iter().copied().cycle().take(count).collect();
        let mut packets = Vec::with_capacity(count);
        thread::scope(|scope| -> Result<()> {
            let build = |part: &[ClientAddress]| part.iter().map(|to| era.packet(maker, *to)).collect();
            let parts: Vec<_> = recipients.chunks(share).map(|part| scope.spawn(move || build(part))).collect();
            for part in parts {
                let part: Result<Vec<_>> = part.join().map_err(|_| anyhow!("a thread that built packets panicked"))?;
                packets.append(&mut part?);
            }
            Ok(())
        })?;
        let header = FrameHeader { framing: era.framing(), size: PacketSize::Regular }.encode().to_vec();
        Ok(Self { packets, header })
    }

    /// The frame of one packet.
    pub(crate) fn frame(&self, packet: &FinalHopPacket) -> Vec<u8> {
        [self.header.as_slice(), packet.packet.as_slice()].concat()
    }

    /// Opens `connections` mix connections, then sends everything over them in turn, as fast as TCP takes it.
    ///
    /// # Errors
    /// If a connection does not open.
    pub(crate) async fn prepare(&self, gateway: SocketAddr, connections: usize) -> Result<Sending> {
        let mut lanes = Vec::new();
        for lane in 0..connections {
            let packets = self.packets.iter().skip(lane).step_by(connections);
            let stream: Vec<u8> = packets.flat_map(|packet| self.frame(packet)).collect();
            lanes.push((MixSender::connect(gateway).await?, stream));
        }
        Ok(Sending { lanes })
    }
}

/// Connected, and ready to write.
pub(crate) struct Sending {
    lanes: Vec<(MixSender, Vec<u8>)>,
}

impl Sending {
    /// Starts the clock and the writers.
    pub(crate) fn start(self) -> (Instant, JoinSet<Result<MixSender>>) {
        let mut writers = JoinSet::new();
        let start = Instant::now();
        for (mut sender, stream) in self.lanes {
            writers.spawn(async move {
                for piece in stream.chunks(WRITE_LEN) {
                    sender.send_raw(piece).await?;
                }
                Ok(sender)
            });
        }
        (start, writers)
    }
}

/// Waits for the writers; their connections stay open until the value is dropped.
///
/// # Errors
/// If one could not write everything.
pub(crate) async fn finish(mut writers: JoinSet<Result<MixSender>>) -> Result<Vec<MixSender>> {
    let mut senders = Vec::new();
    while let Some(sender) = writers.join_next().await {
        senders.push(sender?.context("the gateway did not take all packets")?);
    }
    Ok(senders)
}

/// Mail as it came, still sealed.
#[derive(Default)]
pub(crate) struct Mail {
    frames: Vec<Bytes>,
    last: Option<Instant>,
}

impl Mail {
    /// Takes mail from a connection until `count` messages have come, or no more do.
    pub(crate) async fn take(connection: &mut Connection, count: usize) -> Self {
        let mut mail = Self::default();
        while mail.frames.len() < count {
            match tokio::time::timeout(STALL, connection.next_whenever()).await {
                Ok(Incoming::Binary(sealed)) => {
                    mail.frames.push(sealed);
                    mail.last = Some(Instant::now());
                }
                Ok(Incoming::End) | Err(_) => break,
                Ok(_) => {}
            }
        }
        mail
    }

    /// When the last message came.
    ///
    /// # Errors
    /// If none did.
    pub(crate) fn last(&self) -> Result<Instant> {
        self.last.context("no message came at all")
    }

    /// Bytes of the messages, opened.
    ///
    /// # Errors
    /// If the account's key does not fit its era.
    pub(crate) fn opened_bytes(&self, account: &Account) -> Result<u64> {
        let opened = open_all(account, &self.frames)?;
        Ok(opened.iter().flatten().map(|message| message.len() as u64).sum())
    }

    /// What is wrong with this mail, if these packets were for the client.
    ///
    /// # Errors
    /// If the account's key does not fit its era.
    pub(crate) fn faults<'a>(
        &self,
        account: &Account,
        packets: impl IntoIterator<Item = &'a FinalHopPacket>,
    ) -> Result<Vec<String>> {
        let mut due: HashMap<&[u8], bool> =
            packets.into_iter().map(|packet| (packet.message.as_slice(), false)).collect();
        let (mut foreign, mut repeated) = (0_usize, 0_usize);
        for message in open_all(account, &self.frames)? {
            match message.and_then(|message| due.get_mut(&*message)) {
                None => foreign += 1,
                Some(true) => repeated += 1,
                Some(came) => *came = true,
            }
        }
        let missing = due.values().filter(|came| !**came).count();
        Ok(match (missing, foreign, repeated) {
            (0, 0, 0) => Vec::new(),
            _ => vec![format!(
                "of {} messages {missing} did not arrive; {repeated} came again, {foreign} were nobody's",
                due.len()
            )],
        })
    }
}
