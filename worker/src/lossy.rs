//! The one-way links to `mix-egress`, whose sender never waits. A message that does not fit, or comes while there is no peer, is
//! dropped and counted, because the mixnet is lossy by design and whoever made a lost packet sends it again. A peer that says anything
//! breaks a rule and is reported.
//!
//! Waiting messages are bounded in number and in bytes, including those that are being written. Beyond the bound the newest
//! message is dropped. That happens while `mix-egress` hangs or is being replaced; a `mix-egress` that works drops late packets itself.
//! The maker of the link chooses the bound, since it knows how many messages may come at once in normal work.

use std::{os::fd::OwnedFd, sync::atomic::Ordering::Relaxed};

use bincode::{
    Decode, Encode,
    error::{DecodeError, EncodeError},
};
use figures::Number;
use ipc::{Role, control::WorkerReport, credit::Window, egress::Rule};
use link::{LinkError, stream};
use tokio::{sync::mpsc, task::yield_now};

use crate::{
    budget::{ByteBudget, BytePermit},
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

/// A message, with the bytes of the budget that it takes until it is written or dropped.
struct Queued<Out> {
    message: Out,
    _bytes: BytePermit,
}

impl<Out: Encode> Encode for Queued<Out> {
    fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.message.encode(encoder)
    }
}

/// The sending side.
pub struct LossySender<Out> {
    queue: mpsc::Sender<Queued<Out>>,
    bytes: ByteBudget,
    dropped: Number,
}

impl<Out> Clone for LossySender<Out> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), bytes: self.bytes.clone(), dropped: self.dropped.clone() }
    }
}

impl<Out> LossySender<Out> {
    /// Queues a message that takes `bytes`, or drops and counts it. Never waits.
    pub fn send(&self, message: Out, bytes: usize) {
        let taken = self.bytes.take(bytes as u64);
        let queued = taken.is_some_and(|taken| self.queue.try_send(Queued { message, _bytes: taken }).is_ok());
        if !queued {
            self.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// Carries the queue over the current incarnation of the link.
pub struct LossyCarrier<Out> {
    queue: mpsc::Receiver<Queued<Out>>,
    dropped: Number,
}

/// Makes a sender and its carrier. Between them `most` may wait, but at least one message. `gauge` shows the bytes that wait, and
/// `dropped` counts the messages that were lost.
pub fn channel<Out>(most: Window, gauge: Number, dropped: Number) -> (LossySender<Out>, LossyCarrier<Out>) {
    let (tx, rx) = mpsc::channel(most.messages.max(1) as usize);
    let bytes = ByteBudget::with_gauge(most.bytes, gauge);
    (LossySender { queue: tx, bytes, dropped: dropped.clone() }, LossyCarrier { queue: rx, dropped })
}

impl<Out: Encode> LossyCarrier<Out> {
    /// Carries messages until every sender is gone and the queue is written.
    pub async fn run(mut self, mut ends: mpsc::Receiver<OwnedFd>, reports: mpsc::Sender<WorkerReport>) {
        let mut batch = Vec::with_capacity(BATCH);
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
                            self.count(1);
                        }
                        return;
                    }
                },
            };
            link += 1;
            let (mut reader, mut writer) = match stream::open::<NoReply, Queued<Out>>(end) {
                Ok(halves) => halves,
                Err(error) => {
                    tracing::warn!(id = "GWD-W005", %error, "cannot take up the link to mix-egress");
                    continue;
                }
            };
            let mut watch = std::pin::pin!(reader.read_batch());
            loop {
                let taken = tokio::select! {
                    n = self.queue.recv_many(&mut batch, BATCH) => n,
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
                // Lets other tasks queue messages, so that one call writes them too.
                yield_now().await;
                while batch.len() < BATCH
                    && let Ok(message) = self.queue.try_recv()
                {
                    batch.push(message);
                }
                let written = writer.write_batch(&batch).await;
                let lost = batch.len();
                batch.clear();
                if let Err(error) = written {
                    self.count(lost);
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
                message = self.queue.recv() => {
                    message?;
                    self.count(1);
                }
            }
        }
    }

    fn count(&self, messages: usize) {
        self.dropped.fetch_add(messages as u64, Relaxed);
    }
}
