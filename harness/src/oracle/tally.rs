//! The sums of everything that is known, and the verdict.

use std::time::Instant;

use super::{book::Oracle, continuity, disruption::Harm, names::Inbox, state::State};

/// The sums.
#[derive(Debug, Default)]
pub struct Tally {
    /// Messages handed to the gateway, or lost on the way.
    pub sent: usize,
    /// Of those, acknowledged.
    pub acked: usize,
    /// Neither acknowledged nor delivered.
    pub unanswered: usize,
    /// Packets that were sent more than once.
    pub replayed: usize,
    /// Of those, packets that the gateway must have known when they came again.
    pub replayed_known: usize,
    /// Acknowledged more than once, which is as it should be only if the first time may be forgotten.
    pub acked_again: usize,
    /// Delivered at least once.
    pub delivered: usize,
    /// Deliveries beyond the first.
    pub duplicates: usize,
    /// First deliveries out of order.
    pub out_of_order: Vec<String>,
    /// Acknowledged, and never delivered: number of the message, and whose it is.
    pub lost: Vec<(u64, Inbox)>,
    /// Events that must never happen.
    pub strange: Vec<String>,
    /// Neither acknowledged nor delivered, and neither lost with a process nor sent while the disk was full: refused, or dropped.
    pub dropped: Vec<(u64, Inbox)>,
    /// Events that only a fault explains, although none that was injected does.
    pub unexplained: Vec<String>,
}

impl Oracle {
    /// The sums.
    pub fn tally(&self) -> Tally {
        let state = self.state();
        let mut tally = Tally {
            sent: state.records.len(),
            out_of_order: state.out_of_order.clone(),
            strange: state.strange.clone(),
            ..Tally::default()
        };
        for (number, record) in &state.records {
            tally.acked += usize::from(record.acked > 0);
            let seen = record.first_acked.map(|acked| (record.sent, acked));
            let is_known = seen.is_some_and(|(sent, acked)| !state.gaps.iter().any(|gap| gap.may_hold(sent, acked)));
            tally.replayed += usize::from(record.replayed.is_some());
            tally.replayed_known += usize::from(is_known && record.replayed > record.first_acked);
            tally.acked_again += usize::from(record.acked > 1);
            if record.acked > 1 && is_known {
                tally.strange.push(format!("message {number} was acknowledged {} times", record.acked));
            }
            tally.delivered += usize::from(record.delivered > 0);
            tally.unanswered += usize::from(record.acked == 0 && record.delivered == 0);
            tally.duplicates += record.delivered.saturating_sub(1) as usize;
            if record.acked > 0 && record.delivered == 0 && !state.forgotten.contains(&record.inbox) {
                tally.lost.push((*number, record.inbox));
            }
        }
        tally.lost.sort_unstable();
        state.look_for_missing(&mut tally);
        tally
    }
}

impl State {
    fn look_for_missing(&self, tally: &mut Tally) {
        let records = self.records.iter().filter(|(_, record)| !self.forgotten.contains(&record.inbox));
        let missing = continuity::missing(records, |stream| self.cuts.contains_key(&stream));
        let sent = |number: &u64| self.records.get(number).map(|record| (record.sent, record.inbox));
        for number in &missing.answers {
            let (Some((at, inbox)), harms) = (sent(number), [Harm::FullDisk]) else { continue };
            if !self.explained(&harms, at) {
                tally.dropped.push((*number, inbox));
            }
        }
        for number in &missing.acks {
            let (Some((at, inbox)), harms) = (sent(number), [Harm::FullDisk, Harm::Stopped("mix-egress")]) else {
                continue;
            };
            if !self.explained(&harms, at) {
                tally
                    .unexplained
                    .push(format!("message {number} for client {inbox} was delivered, but not acknowledged"));
            }
        }
        tally.unexplained.extend(self.again.iter().filter_map(|again| self.judge_again(again)));
        let shows =
            |harm, at| self.disruptions.iter().any(|disruption| disruption.harm == harm && disruption.shows_at(at));
        for at in self.cuts.values().filter(|at| !shows(Harm::Lost("mix-ingress"), **at)) {
            tally.unexplained.push(format!("a mix node's connection was closed {:.1?} ago", at.elapsed()));
        }
        for (at, len) in self.parts.iter().filter(|(at, _)| !shows(Harm::Lost("mix-egress"), *at)) {
            tally.unexplained.push(format!("{len} bytes of a SURB-ack, and no more, came {:.1?} ago", at.elapsed()));
        }
    }

    /// Whether one of these harms explains what became of a packet that was sent at this time.
    fn explained(&self, harms: &[Harm], sent: Instant) -> bool {
        self.disruptions.iter().any(|disruption| harms.contains(&disruption.harm) && disruption.meets(sent))
    }
}
