//! The one-way links to `mix-egress`, whose sender never waits. A packet that does not fit, or comes while there is no peer, is
//! dropped and counted, because the mixnet is lossy by design and the maker of a lost packet sends it again. A peer that says anything
//! breaks a rule and is reported.
//!
//! Waiting packets are bounded in number and in bytes, including those that are being written. Beyond the bound the newest
//! packet is dropped. That happens while `mix-egress` hangs or is being replaced; a `mix-egress` that works drops late packets itself.
//! The maker of the link chooses the bound, since it knows how many packets may come at once in normal work.
//!
//! *Promises*: a packet is counted as sent before a byte of it is written. So the number that begins each link covers all packets that
//! can have come over earlier ones, whichever end of these died.

#[cfg(test)]
mod tests;

use std::{os::fd::OwnedFd, sync::atomic::Ordering::Relaxed};

use bincode::{
    Decode, Encode,
    error::{DecodeError, EncodeError},
};
use figures::{Number, Raised};
use ipc::{
    Role,
    control::WorkerReport,
    credit::Window,
    egress::{Rule, SendPacket, ToEgress},
};
use link::{LinkError, stream};
use tokio::{sync::mpsc, task::yield_now};

use crate::{
    budget::{ByteBudget, BytePermit},
    counter::{count, count_many},
    duplex,
};

/// Most packets that are written at once.
const BATCH: usize = 128;

/// The message that comes back on a one-way link. There is none, so no bytes decode as one.
#[derive(Debug)]
pub enum NoReply {}

impl Encode for NoReply {
    fn encode<E: bincode::enc::Encoder>(&self, _: &mut E) -> Result<(), EncodeError> {
        match *self {}
    }
}

impl<Context> Decode<Context> for NoReply {
    fn decode<D: bincode::de::Decoder<Context = Context>>(_: &mut D) -> Result<Self, DecodeError> {
        Err(DecodeError::Other("nothing may come back on a one-way link"))
    }
}

/// A packet, with the bytes of the budget that it takes until it is written or dropped.
struct Queued {
    packet: SendPacket,
    bytes: BytePermit,
    /// Shows the packet as waiting.
    _waiting: Raised,
}

/// A message that is being written.
struct Outgoing {
    message: ToEgress,
    _bytes: Option<BytePermit>,
}

impl From<Queued> for Outgoing {
    fn from(Queued { packet, bytes, _waiting }: Queued) -> Self {
        Self { message: ToEgress::SendPacket(packet), _bytes: Some(bytes) }
    }
}

impl Encode for Outgoing {
    fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.message.encode(encoder)
    }
}

/// The figures of a link. Each packet handed over is one of those that wait, and ends in one of the two counters.
#[derive(Clone, Debug, Default)]
pub struct LinkFigures {
    /// Shows the bytes that wait.
    pub memory: Number,
    /// Shows the packets that wait.
    pub waiting: Number,
    /// Counts the packets that were sent over any link. What becomes of them, `mix-egress` counts.
    pub sent: Number,
    /// Counts the packets that no link could take.
    pub lost: Number,
}

/// The sending side.
#[derive(Clone)]
pub struct LossySender {
    queue: mpsc::Sender<Queued>,
    bytes: ByteBudget,
    figures: LinkFigures,
}

impl LossySender {
    /// Queues a packet, or drops and counts it. Never waits.
    pub fn send(&self, packet: SendPacket) {
        let queued = self.bytes.take(packet.cost() as u64).is_some_and(|taken| {
            self.queue.try_send(Queued { packet, bytes: taken, _waiting: self.figures.waiting.raise() }).is_ok()
        });
        if !queued {
            count(&self.figures.lost);
        }
    }
}

/// Carries the queue over the current incarnation of the link.
pub struct LossyCarrier {
    queue: mpsc::Receiver<Queued>,
    sent: Number,
    lost: Number,
}

/// Makes a sender and its carrier. Between them `most` may wait, but at least one packet.
pub fn channel(most: Window, figures: LinkFigures) -> (LossySender, LossyCarrier) {
    let (tx, rx) = mpsc::channel(most.messages.max(1) as usize);
    let bytes = ByteBudget::with_gauge(most.bytes, figures.memory.clone());
    let carrier = LossyCarrier { queue: rx, sent: figures.sent.clone(), lost: figures.lost.clone() };
    (LossySender { queue: tx, bytes, figures }, carrier)
}

impl LossyCarrier {
    /// Carries packets until every sender is gone and the queue is written.
    pub async fn run(mut self, mut ends: mpsc::Receiver<OwnedFd>, reports: mpsc::Sender<WorkerReport>) {
        let (mut queued, mut batch) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        let mut next = None;
        let mut link = 0;
        loop {
            let end = match next.take() {
                Some(end) => end,
                None => match self.wait_for_end(&mut ends).await {
                    Some(end) => end,
                    None => {
                        self.queue.close();
                        while self.queue.recv().await.is_some() {
                            count(&self.lost);
                        }
                        return;
                    }
                },
            };
            link += 1;
            let (mut reader, mut writer) = match stream::open::<NoReply, Outgoing>(end) {
                Ok(halves) => halves,
                Err(error) => {
                    tracing::warn!(id = "GWD-W005", %error, "cannot take up the link to mix-egress");
                    continue;
                }
            };
            let begin = ToEgress::BeginLink { sent_before: self.sent.load(Relaxed) };
            // If the link is gone already, the reader tells why.
            let _ = writer.write_batch(&[Outgoing { message: begin, _bytes: None }]).await;
            let mut watch = std::pin::pin!(reader.read_batch());
            loop {
                let taken = tokio::select! {
                    n = self.queue.recv_many(&mut queued, BATCH) => n,
                    said = &mut watch => {
                        let error = said.map_or_else(|error| error, |_| LinkError::Violation(Rule::Spoke.to_string()));
                        duplex::report_end(Role::MixEgress, link, &error, &reports).await;
                        break;
                    }
                    Some(end) = ends.recv() => {
                        next = Some(end);
                        break;
                    }
                };
                if taken == 0 {
                    return;
                }
                // Lets other tasks queue packets, so that one call writes them too.
                yield_now().await;
                while queued.len() < BATCH
                    && let Ok(packet) = self.queue.try_recv()
                {
                    queued.push(packet);
                }
                // Counted before they are written. A link that ends meanwhile may have carried any of them, and the next one tells.
                count_many(&self.sent, queued.len());
                batch.extend(queued.drain(..).map(Outgoing::from));
                let written = writer.write_batch(&batch).await;
                batch.clear();
                if let Err(error) = written {
                    duplex::report_end(Role::MixEgress, link, &error, &reports).await;
                    break;
                }
            }
        }
    }

    /// Waits for an end of a new link; messages sent meanwhile are lost. `None` once every sender is gone.
    async fn wait_for_end(&mut self, ends: &mut mpsc::Receiver<OwnedFd>) -> Option<OwnedFd> {
        loop {
            tokio::select! {
                biased;
                end = ends.recv() => return end,
                packet = self.queue.recv() => {
                    packet?;
                    count(&self.lost);
                }
            }
        }
    }
}
