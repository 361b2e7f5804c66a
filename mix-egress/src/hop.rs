//! One next hop: the task that owns its connection.
//!
//! *Trusts* neither the next hop nor the order of events. *Holds* at most one batch besides the queue. *Promises*: packets leave in the
//! order in which they came; a connection is opened only when there is a packet to send; an attempt to connect never comes sooner
//! after a failure than the backoff allows; whatever ends the task, every packet that it still holds is counted. The task tells the
//! table about the connection by [`SharedState`].

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ipc::control::EgressConfig;
use tokio::{
    select,
    sync::mpsc,
    time::{Instant, sleep_until},
};
use worker::counter::{count, count_many};

use crate::{
    backoff::{Backoff, Wait},
    batch::{Batch, QueuedFrame},
    connection::{Gone, HopConnection},
    counters::EgressCounters,
    hop_state::{HopState, SharedState},
    timeouts::Timeouts,
};

/// The task of one next hop.
#[derive(Debug)]
pub(crate) struct Hop {
    next_hop: SocketAddr,
    queue: mpsc::Receiver<QueuedFrame>,
    batch: Batch,
    backoff: Backoff,
    state: SharedState,
    connect_timeout: Duration,
    timeouts: Timeouts,
    counters: Arc<EgressCounters>,
}

impl Hop {
    pub(crate) fn new(
        next_hop: SocketAddr,
        queue: mpsc::Receiver<QueuedFrame>,
        state: SharedState,
        has_worked: bool,
        config: &EgressConfig,
        timeouts: Timeouts,
        counters: Arc<EgressCounters>,
    ) -> Self {
        let backoff = Backoff::new(config.initial_backoff, config.maximum_backoff, has_worked);
        let connect_timeout = config.connect_timeout;
        Self { next_hop, queue, batch: Batch::default(), backoff, state, connect_timeout, timeouts, counters }
    }

    /// Sends packets of the queue until its other end is dropped, or the hop has been idle for so long that the next packet can start a
    /// new task. Returns the next hop.
    pub(crate) async fn run(mut self) -> SocketAddr {
        while self.hold_packet().await {
            if let Some(wait) = self.backoff.wait() {
                self.wait_for_next_attempt(wait).await;
            }
            match HopConnection::open(self.next_hop, self.connect_timeout, self.timeouts.write).await {
                Ok(connection) => self.use_up(connection).await,
                Err(error) => {
                    tracing::trace!(next_hop = %self.next_hop, %error, "next hop cannot be connected");
                    count(&self.counters.connects_failed);
                    self.back_off();
                }
            }
            if self.state.get() == HopState::Unreachable && self.queue.is_closed() {
                break;
            }
        }
        self.next_hop
    }

    async fn wait_for_next_attempt(&self, Wait { until, may_ask }: Wait) {
        let asked_for = async {
            match may_ask {
                Some(may_ask) => {
                    sleep_until(may_ask).await;
                    self.state.asked().await;
                }
                None => std::future::pending().await,
            }
        };
        select! {
            () = sleep_until(until) => {}
            () = asked_for => {}
        }
    }

    /// Waits without a connection for a packet, which is the reason to connect. Returns whether there is one.
    async fn hold_packet(&mut self) -> bool {
        if self.batch.is_empty() {
            // A hop without connection and packets lives only as long as its last failure matters.
            let forgotten = self.backoff.wait().map_or_else(Instant::now, |wait| wait.until);
            let packet = select! {
                biased;
                packet = self.queue.recv() => packet,
                () = sleep_until(forgotten) => {
                    self.queue.close();
                    self.queue.recv().await
                }
            };
            if let Some(packet) = packet {
                self.batch.push(packet);
            }
        }
        !self.batch.is_empty()
    }

    /// Sends over `connection` until it ends or is idle.
    async fn use_up(&mut self, mut connection: HopConnection) {
        let Err(gone) = self.send_over(&mut connection).await else { return };
        if connection.has_sent() {
            self.worked();
        }
        match gone {
            Gone::Closed => {
                count_many(&self.counters.next_hop_lost, self.batch.drop_cut_off());
                // Otherwise a next hop that accepts and hangs up would be connected again and again without a pause.
                if !connection.has_sent() {
                    self.back_off();
                }
            }
            Gone::Stalled => {
                tracing::trace!(next_hop = %self.next_hop, "next hop stopped reading");
                connection.abandon();
                let dropped = self.drop_packets();
                count_many(&self.counters.next_hop_stalled, dropped);
                self.backoff.fail_for_long(Instant::now());
                self.state.set(HopState::Unreachable);
            }
        }
    }

    async fn send_over(&mut self, connection: &mut HopConnection) -> Result<(), Gone> {
        let mut last_sent = Instant::now();
        loop {
            if self.batch.is_empty() {
                let packet = select! {
                    biased;
                    packet = self.queue.recv() => packet,
                    () = sleep_until(last_sent + self.timeouts.idle) => {
                        self.queue.close();
                        self.queue.recv().await
                    }
                    gone = connection.gone() => return Err(gone),
                };
                let Some(packet) = packet else { return Ok(()) };
                self.batch.push(packet);
            }
            while !self.batch.is_full()
                && let Ok(packet) = self.queue.try_recv()
            {
                self.batch.push(packet);
            }
            connection.write(&mut self.batch, &self.counters).await?;
            self.worked();
            last_sent = Instant::now();
        }
    }

    fn worked(&mut self) {
        self.backoff.succeed();
        self.state.set(HopState::Proven);
    }

    fn back_off(&mut self) {
        let expected_back_soon = self.backoff.fail(Instant::now());
        if !expected_back_soon {
            self.state.set(HopState::Unreachable);
        }
    }

    /// Drops every packet that is being written or waits. Returns how many there were.
    fn drop_packets(&mut self) -> usize {
        let mut dropped = self.batch.clear();
        while self.queue.try_recv().is_ok() {
            dropped += 1;
        }
        dropped
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.queue.close();
        let dropped = self.drop_packets();
        let ended_in = match self.state.get() {
            HopState::Unreachable => &self.counters.next_hop_unreachable,
            HopState::New | HopState::Proven if self.state.is_displaced() => &self.counters.too_many_next_hops,
            HopState::New | HopState::Proven => &self.counters.next_hop_lost,
        };
        count_many(ended_in, dropped);
    }
}
