//! A link that lasts as long as the worker. The peer may die and be replaced; then the supervisor hands over a new end, and the
//! link begins a new incarnation. Each incarnation has lanes of its own, so nothing meant for a dead peer reaches its successor.

use std::{fmt::Display, os::fd::OwnedFd};

use bincode::{Decode, Encode};
use tokio::{sync::mpsc, task::yield_now};

use ipc::{Role, control::WorkerReport};
use link::{
    LinkError,
    stream::{self, Lanes, LinkReader},
};

/// What happens on a link.
pub enum LinkEvent<In, Out> {
    /// A peer is connected. The sender reaches this peer and no other.
    Up(LinkSender<Out>),
    /// Messages of the peer, in order.
    Batch(Vec<In>),
    /// The peer is gone. Messages that were not written yet are lost.
    Down,
}

/// The sending side of one incarnation of a link.
pub struct LinkSender<Out> {
    /// The lane for answers, receipts and requests. It is written first.
    pub control: mpsc::Sender<Out>,
    /// The lane for mail. It is written after the control messages that wait at the same time.
    pub bulk: mpsc::Sender<Out>,
    violation: mpsc::Sender<String>,
}

impl<Out> Clone for LinkSender<Out> {
    fn clone(&self) -> Self {
        Self { control: self.control.clone(), bulk: self.bulk.clone(), violation: self.violation.clone() }
    }
}

impl<Out> LinkSender<Out> {
    /// Drops the link because the peer broke `rule`, and has the peer replaced.
    pub fn drop_link(&self, rule: impl Display) {
        // If the channel is full, the link is being dropped already.
        let _ = self.violation.try_send(rule.to_string());
    }
}

/// Reports why a link to `peer` ended. `link` is its number, as in [`WorkerReport::LinkViolated`].
pub(crate) async fn report_end(peer: Role, link: u32, error: &LinkError, reports: &mpsc::Sender<WorkerReport>) {
    let report = match error.violated_rule() {
        Some(rule) => {
            tracing::error!(id = "GWD-W003", %peer, rule, "a peer broke a rule of its link; the link is dropped");
            WorkerReport::LinkViolated { peer, link, rule }
        }
        None => {
            match error {
                // From here an orderly end of the peer looks the same as its death, and the supervisor logs a death.
                LinkError::Closed => tracing::info!(%peer, "link down: the peer has closed it"),
                error => tracing::warn!(id = "GWD-W004", %peer, %error, "link down"),
            }
            WorkerReport::LinkLost { peer, link }
        }
    };
    // The channel is closed only while the worker ends.
    let _ = reports.send(report).await;
}

/// Most messages that wait in each lane.
#[derive(Clone, Copy, Debug)]
pub struct LaneCapacity {
    /// In the lane for answers, receipts and requests.
    pub control: usize,
    /// In the lane for mail.
    pub bulk: usize,
}

/// Serves the link to `peer` until `ends` is closed or nobody receives `events`.
pub async fn serve<In, Out>(
    peer: Role,
    mut ends: mpsc::Receiver<OwnedFd>,
    capacity: LaneCapacity,
    events: mpsc::Sender<LinkEvent<In, Out>>,
    reports: mpsc::Sender<WorkerReport>,
) where
    In: Decode<()>,
    Out: Encode,
{
    let mut next = ends.recv().await;
    let mut link = 0;
    while let Some(end) = next.take() {
        link += 1;
        let (violation, mut broken) = mpsc::channel(1);
        let outcome = match stream::open(end) {
            Err(error) => Err(LinkError::Io(error)),
            Ok((reader, writer)) => {
                let (control, control_rx) = mpsc::channel(capacity.control);
                let (bulk, bulk_rx) = mpsc::channel(capacity.bulk);
                let lanes = Lanes { control: control_rx, bulk: bulk_rx };
                if events.send(LinkEvent::Up(LinkSender { control, bulk, violation })).await.is_err() {
                    return;
                }
                let outcome = tokio::select! {
                    // Checked first: otherwise a link whose senders are all dropped might end without a report of the violation.
                    biased;
                    Some(rule) = broken.recv() => Err(LinkError::Violation(rule)),
                    outcome = read_into(reader, &events) => outcome,
                    outcome = writer.write_lanes(lanes) => outcome,
                    Some(end) = ends.recv() => {
                        next = Some(end);
                        Ok(())
                    }
                };
                if events.send(LinkEvent::Down).await.is_err() {
                    return;
                }
                outcome
            }
        };
        if let Err(error) = outcome {
            report_end(peer, link, &error, &reports).await;
        }
        if next.is_none() {
            next = tokio::select! {
                biased;
                // The link may have ended before its last messages were examined.
                Some(rule) = broken.recv() => {
                    report_end(peer, link, &LinkError::Violation(rule), &reports).await;
                    ends.recv().await
                }
                end = ends.recv() => end,
            };
        }
    }
}

async fn read_into<In: Decode<()>, Out>(
    mut reader: LinkReader<In>,
    events: &mpsc::Sender<LinkEvent<In, Out>>,
) -> Result<(), LinkError> {
    loop {
        let batch = reader.read_batch().await?;
        if events.send(LinkEvent::Batch(batch)).await.is_err() {
            return Ok(());
        }
        // A peer that sends without pause must not starve the writing half.
        yield_now().await;
    }
}
