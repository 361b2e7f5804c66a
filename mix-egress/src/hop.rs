//! One next hop: the task that owns its connection.
//!
//! Trusts neither the next hop nor the order of events. Holds at most one batch besides the queue. Promises: packets
//! leave in the order in which they came; a connection is opened only when there is a packet to send; an attempt to
//! connect never comes sooner after a failure than the backoff says; whatever ends the task, every packet it still holds
//! is counted.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use proto::counter::count;
use tokio::{
    select,
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    backoff::Backoff,
    batch::{Batch, QueuedFrame},
    config::EgressConfig,
    connection::{Connection, Gone},
    counters::{EgressCounters, count_many},
};

/// Whether a hop could give its place to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Standing {
    /// Failing to be connected: what waits for it will most likely never leave.
    Unreachable,
    /// Holds no packet.
    Idle,
    /// Connecting for the first time, or sending.
    Busy,
}

/// A hop's standing, as its task last told.
#[derive(Clone, Debug)]
pub(crate) struct SharedStanding(Arc<AtomicU8>);

impl SharedStanding {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU8::new(Standing::Busy as u8)))
    }

    pub(crate) fn get(&self) -> Standing {
        let now = self.0.load(Ordering::Relaxed);
        [Standing::Unreachable, Standing::Idle].into_iter().find(|&s| s as u8 == now).unwrap_or(Standing::Busy)
    }

    fn set(&self, standing: Standing) {
        self.0.store(standing as u8, Ordering::Relaxed);
    }
}

/// The task of one next hop.
#[derive(Debug)]
pub(crate) struct Hop {
    next_hop: SocketAddr,
    queue: mpsc::Receiver<QueuedFrame>,
    batch: Batch,
    backoff: Backoff,
    standing: SharedStanding,
    config: Arc<EgressConfig>,
    counters: Arc<EgressCounters>,
}

impl Hop {
    pub(crate) fn new(
        next_hop: SocketAddr,
        queue: mpsc::Receiver<QueuedFrame>,
        standing: SharedStanding,
        config: Arc<EgressConfig>,
        counters: Arc<EgressCounters>,
    ) -> Self {
        let backoff = Backoff::new(config.initial_backoff, config.maximum_backoff);
        Self { next_hop, queue, batch: Batch::default(), backoff, standing, config, counters }
    }

    /// Sends what comes through the queue until its other end is dropped, or there has been nothing to do for so long
    /// that the next packet may as well start a new task.
    pub(crate) async fn run(mut self) {
        while self.hold_packet().await {
            if let Some(not_before) = self.backoff.not_before() {
                sleep_until(not_before).await;
            }
            let EgressConfig { connect_timeout, write_timeout, .. } = *self.config;
            match Connection::open(self.next_hop, connect_timeout, write_timeout).await {
                Ok(connection) => self.use_up(connection).await,
                Err(error) => {
                    tracing::trace!(next_hop = %self.next_hop, %error, "next hop cannot be connected");
                    count(&self.counters.connects_failed);
                    self.back_off();
                }
            }
            if self.standing.get() == Standing::Unreachable && self.queue.is_closed() {
                break;
            }
        }
    }

    /// Without a connection: waits for a packet, so that there is a reason to connect. Returns whether there is one.
    async fn hold_packet(&mut self) -> bool {
        if self.batch.is_empty() {
            // The memory of a failure is all that keeps a hop without connection and packets.
            let forgotten = self.backoff.not_before().unwrap_or_else(Instant::now);
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

    /// Sends over `connection` until it has ended or is not needed any more.
    async fn use_up(&mut self, mut connection: Connection) {
        self.standing.set(Standing::Busy);
        let Err(gone) = self.send_over(&mut connection).await else { return };
        if connection.has_sent() {
            self.backoff.succeed();
        }
        match gone {
            Gone::Closed => {
                count_many(&self.counters.next_hop_lost, self.batch.drop_cut_off());
                // Else a next hop that accepts and hangs up would be connected again and again without a pause.
                if !connection.has_sent() {
                    self.back_off();
                }
            }
            Gone::Stalled => {
                tracing::trace!(next_hop = %self.next_hop, "next hop stopped reading");
                connection.abandon();
                let dropped = self.drop_packets();
                count_many(&self.counters.next_hop_stalled, dropped);
                self.back_off();
            }
        }
    }

    async fn send_over(&mut self, connection: &mut Connection) -> Result<(), Gone> {
        let mut last_sent = Instant::now();
        loop {
            if self.batch.is_empty() {
                self.standing.set(Standing::Idle);
                let packet = select! {
                    biased;
                    packet = self.queue.recv() => packet,
                    () = sleep_until(last_sent + self.config.idle_limit) => {
                        self.queue.close();
                        self.queue.recv().await
                    }
                    gone = connection.gone() => return Err(gone),
                };
                let Some(packet) = packet else { return Ok(()) };
                self.standing.set(Standing::Busy);
                self.batch.push(packet);
            }
            while !self.batch.is_full()
                && let Ok(packet) = self.queue.try_recv()
            {
                self.batch.push(packet);
            }
            connection.write(&mut self.batch, &self.counters).await?;
            self.backoff.succeed();
            last_sent = Instant::now();
        }
    }

    fn back_off(&mut self) {
        self.backoff.fail(Instant::now());
        self.standing.set(Standing::Unreachable);
    }

    /// Drops every packet, being written or waiting. Returns how many there were.
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
        match self.standing.get() {
            Standing::Unreachable => count_many(&self.counters.next_hop_unreachable, dropped),
            Standing::Idle | Standing::Busy => count_many(&self.counters.next_hop_lost, dropped),
        }
    }
}
