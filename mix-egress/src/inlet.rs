//! One link from a worker that hands packets over: its events, and what was lost with the links before it.
//!
//! *Trusts* the sender of a link for nothing: a packet that cannot be framed, or a message out of its place, ends the link. *Promises*: once
//! a link has begun, each packet that was sent over an earlier one is counted, as taken or as lost.

#[cfg(test)]
mod tests;

use std::{
    mem,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use ipc::egress::{Rule, ToEgress};
use tokio::sync::mpsc;
use worker::{
    duplex::{LinkEvent, LinkSender},
    lossy::NoReply,
};

use crate::{
    counters::{self, EgressCounters},
    hops::Hops,
    places::Origin,
};

/// An event of the link.
pub(crate) type InletEvent = LinkEvent<ToEgress, NoReply>;

/// The link, over all its incarnations.
pub(crate) struct Inlet {
    origin: Origin,
    pub(crate) events: mpsc::Receiver<InletEvent>,
    /// The sender by which the link can be dropped, while there is one.
    link: Option<LinkSender<NoReply>>,
    has_begun: bool,
    counters: Arc<EgressCounters>,
}

impl Inlet {
    /// A link that is not up yet.
    pub(crate) const fn new(origin: Origin, events: mpsc::Receiver<InletEvent>, counters: Arc<EgressCounters>) -> Self {
        Self { origin, events, link: None, has_begun: false, counters }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.link.is_some()
    }

    pub(crate) fn handle(&mut self, event: InletEvent, hops: &mut Hops) {
        match event {
            LinkEvent::Up(link) => {
                self.link = Some(link);
                self.has_begun = false;
            }
            LinkEvent::Down => self.link = None,
            LinkEvent::Batch(batch) => {
                for message in batch {
                    if let Err(rule) = self.take(message, hops)
                        && let Some(link) = &self.link
                    {
                        link.drop_link(rule);
                        return;
                    }
                }
            }
        }
    }

    fn take(&mut self, message: ToEgress, hops: &mut Hops) -> Result<(), Rule> {
        match message {
            ToEgress::BeginLink { sent_before } if !mem::replace(&mut self.has_begun, true) => {
                self.count_lost(sent_before);
                Ok(())
            }
            ToEgress::SendPacket(packet) if self.has_begun => hops.send(self.origin, packet),
            ToEgress::BeginLink { .. } | ToEgress::SendPacket(_) => Err(Rule::Beginning),
        }
    }

    /// Of the packets that were sent over earlier links, those that did not come are lost. All that came are counted by now, because the
    /// events of one link come before those of the next. That fewer were sent than came is said by a sender whose predecessor lied about
    /// its number; the balance shows it.
    fn count_lost(&self, sent_before: u64) {
        let (taken, lost) = counters::of_link(&self.counters, self.origin);
        let known = taken.load(Relaxed).saturating_add(lost.load(Relaxed));
        lost.fetch_add(sent_before.saturating_sub(known), Relaxed);
    }
}
