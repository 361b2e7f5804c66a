//! A link for the life of a worker: taken up anew each time the supervisor hands over an end, because the peer may die
//! and come back. Each incarnation has lanes of its own, so nothing meant for a dead peer reaches its successor.

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
    /// A peer is there; what is sent here goes to it and to no other.
    Up(LinkSender<Out>),
    /// Messages arrived, in order.
    Batch(Vec<In>),
    /// The peer is gone, and with it what it was not sent yet.
    Down,
}

/// The sending side of one incarnation of a link.
pub struct LinkSender<Out> {
    /// Goes first: answers, receipts, requests.
    pub control: mpsc::Sender<Out>,
    /// Goes behind the control messages that wait with it: mail.
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
        // Full means that it is being dropped already.
        let _ = self.violation.try_send(rule.to_string());
    }
}

/// Reports why a link to `peer` ended: the `link`th that there was.
pub(crate) async fn tell(peer: Role, link: u32, error: &LinkError, reports: &mpsc::Sender<WorkerReport>) {
    let report = match error.violated_rule() {
        Some(rule) => {
            tracing::error!(%peer, rule, "a peer broke a rule of its link; the link is dropped");
            WorkerReport::LinkViolated { peer, link, rule }
        }
        None => {
            match error {
                // Seen from here, the ordered end of a peer looks like its death, and the supervisor logs a death.
                LinkError::Closed => tracing::info!(%peer, "link down: the peer has closed it"),
                error => tracing::warn!(%peer, %error, "link down"),
            }
            WorkerReport::LinkLost { peer, link }
        }
    };
    // What cannot be reported ends with the worker anyway.
    let _ = reports.send(report).await;
}

/// How many messages each lane of a link may hold.
#[derive(Clone, Copy, Debug)]
pub struct LaneCapacity {
    /// Answers, receipts and requests.
    pub control: usize,
    /// Mail.
    pub bulk: usize,
}

/// Serves the link to `peer` until no end can come any more or nobody listens to `events`.
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
                    // First, or a link whose senders are all gone might end in peace with a broken rule unreported.
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
            tell(peer, link, &error, &reports).await;
        }
        if next.is_none() {
            next = tokio::select! {
                biased;
                // The end of the link may be seen before what came last on it was looked at.
                Some(rule) = broken.recv() => {
                    tell(peer, link, &LinkError::Violation(rule), &reports).await;
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
        // Whoever always has something to say would otherwise keep what is written from its turn.
        yield_now().await;
    }
}
