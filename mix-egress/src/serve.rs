//! Takes packets off the links and hands them to the next hops.
//!
//! Trusts nobody: a packet that cannot be framed ends the link it came on. Promises that no link ever waits for a next
//! hop, so nobody who hands over a packet does either.

use std::{sync::Arc, time::Duration};

use proto::{
    counter::{self, Counters},
    ipc::{Role, egress::SendPacket},
    link::{
        duplex::{self, LaneCapacity, LinkEvent, LinkSender},
        lossy::Silence,
        worker::{Ending, Orders},
    },
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use crate::{counters::EgressCounters, frame::WrongLength, hops::Hops};

/// Batches of a link that may wait.
const EVENTS: usize = 8;
/// Nothing is ever sent back.
const NO_ANSWERS: LaneCapacity = LaneCapacity { control: 1, bulk: 1 };
/// How long the packets in the queues may take at the end.
const LAST_PACKETS: Duration = Duration::from_millis(2_500);

/// First ends of the two links.
#[derive(Debug)]
pub struct Links {
    /// SURB-acks come here.
    pub ingress: std::os::fd::OwnedFd,
    /// Clients' packets come here.
    pub edge: std::os::fd::OwnedFd,
}

/// One link: what happens on it, and the way to drop it.
struct Inlet {
    events: mpsc::Receiver<LinkEvent<SendPacket, Silence>>,
    sender: Option<LinkSender<Silence>>,
}

impl Inlet {
    fn handle(&mut self, event: LinkEvent<SendPacket, Silence>, hops: &mut Hops) {
        match event {
            LinkEvent::Up(sender) => self.sender = Some(sender),
            LinkEvent::Down => self.sender = None,
            LinkEvent::Batch(batch) => {
                for packet in batch {
                    if hops.send(packet).is_err()
                        && let Some(sender) = &self.sender
                    {
                        sender.drop_link(WrongLength::RULE);
                        return;
                    }
                }
            }
        }
    }
}

/// Serves until ordered to end; then sends what is in the queues, within a time limit.
pub async fn serve(mut orders: Orders, links: Links, mut hops: Hops, counters: Arc<EgressCounters>) -> Ending {
    let (reports_tx, reports) = mpsc::channel(4);
    let mut tasks = JoinSet::new();
    let mut inlet = |peer, first| {
        let (tx, events) = mpsc::channel(EVENTS);
        let ends = orders.link_ends(peer, first);
        tasks.spawn(duplex::serve(peer, ends, NO_ANSWERS, tx, reports_tx.clone()));
        Inlet { events, sender: None }
    };
    let mut ingress = inlet(Role::MixIngress, links.ingress);
    let mut edge = inlet(Role::ClientEdge, links.edge);
    tasks.spawn(counter::log_changes(Arc::clone(&counters)));

    let mut follow = std::pin::pin!(orders.follow(reports));
    let ending = loop {
        tokio::select! {
            ending = &mut follow => break ending,
            Some(event) = ingress.events.recv() => ingress.handle(event, &mut hops),
            Some(event) = edge.events.recv() => edge.handle(event, &mut hops),
        }
    };
    if ending == Ending::Drain {
        let deadline = Instant::now() + LAST_PACKETS;
        for inlet in [&mut ingress, &mut edge] {
            // Both peers have ended before: what they sent last comes before the end of their links.
            while inlet.sender.is_some()
                && let Ok(Some(event)) = timeout_at(deadline, inlet.events.recv()).await
            {
                inlet.handle(event, &mut hops);
            }
        }
        hops.drain(deadline).await;
        counter::log(&counters.snapshot());
    }
    ending
}
