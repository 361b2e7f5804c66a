//! An honest client that is away, the mix node that writes to it, and where the acknowledgements go: what an attacker wants to harm, seen
//! from near. The oracle of the siege knows nothing of it.
//!
//! The client has read a message before it goes, so it does not count as new.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use harness::{
    account::{Account, Identity},
    ack_port::AckPort,
    client::Client,
    deadline,
    era::Era,
    gateway::IPV4,
    mixnode::MixSender,
    oracle::Oracle,
    packet::{FinalHopPacket, unique, unique_for},
};
use tokio::task::spawn_blocking;
use wire::{address::ClientAddress, packet::PacketSize};

use super::{Attack, per_second};

/// What is not acknowledged by then is sent again, so often.
const WAIT: Duration = Duration::from_secs(3);
const TRIES: usize = 2;
/// What it has read it has proved by then.
const PROVED: Duration = Duration::from_millis(500);
/// Packets that are made and sent at once, and how often that is.
const BATCH: usize = 20;
const BATCHES: u32 = 30;
/// Messages per second while acknowledgements are timed.
const TIMED: u32 = 50;

/// How large a message is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Size {
    /// As large as most.
    Usual,
    /// Next to nothing, so that many are soon made and stored.
    Tiny,
}

/// The client and its mix node.
pub(super) struct Witness {
    attack: Attack,
    number: u16,
    account: Account,
    oracle: Arc<Oracle>,
    acks: AckPort,
    sender: MixSender,
}

impl Witness {
    /// Registers from the address of this number, reads a message, and goes away.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub(super) async fn appear(attack: &Attack, number: u16) -> Result<Self> {
        let source = attack.block.address(number);
        let mut client = attack.target.register(source, Era::TODAY, &Identity::random()).await?;
        let oracle = Arc::new(Oracle::default());
        let acks = AckPort::start(IPV4, oracle.clone()).await?;
        let sender = MixSender::on(attack.target.mix(source).await?);
        let account = client.credentials.clone();
        let mut witness = Self { attack: attack.clone(), number, account, oracle, acks, sender };
        witness.write(1, Size::Usual).await?.context("no mail came for a client that is online")?;
        client.next_message().await?;
        tokio::time::sleep(PROVED).await;
        client.leave().await?;
        Ok(witness)
    }

    /// Its address.
    pub(super) fn address(&self) -> ClientAddress {
        self.account.address()
    }

    /// Writes so many messages to it. Returns the last of them once all are acknowledged; nothing if they are not, however often.
    ///
    /// # Errors
    /// If the gateway takes no connection.
    pub(super) async fn write(&mut self, count: usize, size: Size) -> Result<Option<FinalHopPacket>> {
        for _ in 0..TRIES {
            let begin = Instant::now();
            let mut last = None;
            let mut pace = per_second(BATCHES);
            let mut left = count;
            while left > 0 {
                pace.tick().await;
                let packets = self.make(left.min(BATCH), size).await?;
                left -= packets.len();
                self.send(&packets).await?;
                last = packets.into_iter().last();
            }
            if self.are_acked(begin, count).await {
                return Ok(last);
            }
            self.sender = MixSender::on(self.attack.target.mix(self.attack.block.address(self.number)).await?);
        }
        Ok(None)
    }

    /// Writes one message after the other for so long, and says how long each acknowledgement took.
    ///
    /// # Errors
    /// If the gateway takes no more.
    pub(super) async fn time_acks(&mut self, lasts: Duration) -> Result<Vec<Duration>> {
        let (begin, mut pace, mut sent) = (Instant::now(), per_second(TIMED), 0);
        while begin.elapsed() < lasts {
            pace.tick().await;
            let packets = self.make(1, Size::Usual).await?;
            self.send(&packets).await?;
            sent += packets.len();
        }
        let end = Instant::now();
        self.are_acked(begin, sent).await;
        Ok(self.oracle.figures(|_| true, &(begin..end)).to_ack)
    }

    /// Comes back and reads everything up to this message.
    ///
    /// # Errors
    /// If that does not come.
    pub(super) async fn fetch(&self, last: &FinalHopPacket) -> Result<()> {
        let mut client = self.log_in().await?;
        client.messages_until(&last.message).await?;
        tokio::time::sleep(PROVED).await;
        client.leave().await?;
        Ok(())
    }

    /// Comes back.
    ///
    /// # Errors
    /// If the gateway refuses.
    pub(super) async fn log_in(&self) -> Result<Client<Account>> {
        let connection = self.attack.target.websocket(self.attack.block.address(self.number)).await?;
        Ok(Client::new(self.account.clone(), self.account.log_in_on(connection).await?))
    }

    async fn make(&self, count: usize, size: Size) -> Result<Vec<FinalHopPacket>> {
        let (maker, to) = (self.acks.packet_maker(self.attack.target.sphinx), self.account.address());
        let message = move || match size {
            Size::Usual => unique_for(PacketSize::Regular),
            Size::Tiny => unique(size_of::<u64>()),
        };
        let make = move || (0..count).map(|_| maker.make_with(to, PacketSize::Regular, message())).collect();
        spawn_blocking(make).await?
    }

    async fn send(&mut self, packets: &[FinalHopPacket]) -> Result<()> {
        packets.iter().for_each(|packet| self.oracle.sending(0, 0, packet));
        self.sender.send_all(packets).await
    }

    async fn are_acked(&self, begin: Instant, count: usize) -> bool {
        let acked = || self.oracle.figures(|_| true, &(begin..Instant::now())).acked >= count;
        deadline::until(WAIT, "acknowledgements", acked).await.is_ok()
    }
}
