//! What can be said of the mail of some inboxes in some time: how much was taken, and how long it took.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use super::{book::Oracle, names::Inbox, state::Record};

/// The mail of some inboxes that was sent in some time, but for what carries no SURB-ack.
#[derive(Debug, Default)]
pub struct Figures {
    /// Messages sent, each once.
    pub sent: usize,
    /// Of those, acknowledged.
    pub acked: usize,
    /// Of those sent, delivered.
    pub delivered: usize,
    /// From sending to the acknowledgement, shortest first.
    pub to_ack: Vec<Duration>,
    /// From sending to the client, shortest first.
    pub to_client: Vec<Duration>,
}

impl Figures {
    /// The share of messages that were acknowledged, in per cent; all, if none was sent.
    pub fn percent_acked(&self) -> f64 {
        if self.sent == 0 { 100.0 } else { self.acked as f64 * 100.0 / self.sent as f64 }
    }
}

/// This percentile of sorted durations; none, if there are none.
pub fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied()
}

impl Oracle {
    /// The figures of the inboxes that are `wanted`, for what was sent at this time.
    pub fn figures(&self, wanted: impl Fn(Inbox) -> bool, sent: &Range<Instant>) -> Figures {
        let state = self.state();
        let mut figures = Figures::default();
        let counts = |record: &&Record| record.owes_ack && wanted(record.inbox) && sent.contains(&record.sent);
        for record in state.records.values().filter(counts) {
            figures.sent += 1;
            figures.acked += usize::from(record.first_acked.is_some());
            figures.delivered += usize::from(record.first_delivered.is_some());
            figures.to_ack.extend(record.first_acked.map(|acked| acked - record.sent));
            figures.to_client.extend(record.first_delivered.map(|delivered| delivered - record.sent));
        }
        drop(state);
        figures.to_ack.sort_unstable();
        figures.to_client.sort_unstable();
        figures
    }
}

#[cfg(test)]
mod tests {
    use wire::packet::PacketSize;

    use super::*;

    use crate::{account::Identity, packet::PacketMaker};

    #[test]
    fn only_wanted_inboxes_and_times_count() {
        let maker = PacketMaker { gateway: [9; 32], ack_hop: "127.0.0.1:1".parse().unwrap(), ack_key: [9; 32] };
        let packets = maker.make_many(Identity::random().address(), 3).unwrap();
        let oracle = Oracle::default();
        let begin = Instant::now();
        for (packet, inbox) in packets.iter().zip([1, 1, 2]) {
            oracle.sending(inbox, 0, packet);
        }
        // A packet without a SURB-ack is never acknowledged.
        oracle.sending(1, 0, &maker.make(Identity::random().address(), PacketSize::Ack).unwrap());
        oracle.acked(0, &packets[0].surb_ack.as_ref().unwrap().packet);
        oracle.delivered(1, &packets[1].message);
        let end = Instant::now();
        let figures = oracle.figures(|inbox| inbox == 1, &(begin..end));
        assert_eq!((figures.sent, figures.acked, figures.delivered), (2, 1, 1));
        assert_eq!((figures.to_ack.len(), figures.to_client.len()), (1, 1));
        assert!((figures.percent_acked() - 50.0).abs() < 1e-9);
        assert_eq!(oracle.figures(|_| true, &(end..end)).sent, 0);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let sorted: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 50), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&sorted, 99), Some(Duration::from_millis(198)));
        assert_eq!(percentile(&sorted[..1], 99), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 99), None);
    }
}
