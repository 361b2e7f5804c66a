//! Packets that are missing between two others. Packets of one connection for one inbox are answered in their order, and so are their
//! SURB-acks sent. What was sent before a packet that was answered was therefore not lost with a process: it was refused, or
//! dropped by a fault of the gateway.

use std::{collections::HashMap, time::Instant};

use super::{
    names::{Inbox, Link, Stream},
    state::Record,
};

/// The missing packets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    /// Numbers of messages that were neither acknowledged nor delivered, although later ones were, or their connection lasted.
    pub(super) answers: Vec<u64>,
    /// Numbers of messages that were delivered and not acknowledged, although those around them were, by the same `mix-egress`.
    pub(super) acks: Vec<u64>,
}

/// A packet with a SURB-ack, as far as it matters here.
#[derive(Debug, Clone, Copy)]
struct Sent {
    number: u64,
    at: Instant,
    /// Over which connection its SURB-ack came.
    acked_over: Option<Link>,
    delivered: bool,
    /// What became of it may be owed to a copy, which was sent later.
    replayed: bool,
}

impl Sent {
    fn answered(&self) -> bool {
        self.acked_over.is_some() || self.delivered
    }

    fn acked_alone(&self) -> Option<Link> {
        self.acked_over.filter(|_| !self.replayed)
    }
}

/// The missing packets among these, if some connections were cut.
pub(super) fn missing<'a>(
    records: impl Iterator<Item = (&'a u64, &'a Record)>,
    is_cut: impl Fn(Stream) -> bool,
) -> Missing {
    let mut groups: HashMap<(Stream, Inbox), Vec<Sent>> = HashMap::new();
    // What carries no SURB-ack may give way to newer mail.
    for (number, record) in records.filter(|(_, record)| record.owes_ack) {
        groups.entry((record.stream, record.inbox)).or_default().push(Sent {
            number: *number,
            at: record.sent,
            acked_over: record.acked_over,
            delivered: record.delivered > 0,
            replayed: record.replayed.is_some(),
        });
    }
    let mut missing = Missing::default();
    for ((stream, _), mut group) in groups {
        group.sort_unstable_by_key(|sent| sent.at);
        missing.look_through(&group, is_cut(stream));
    }
    missing
}

impl Missing {
    fn look_through(&mut self, group: &[Sent], is_cut: bool) {
        let last_answer = group.iter().rposition(|sent| sent.answered() && !sent.replayed);
        let end = if is_cut { last_answer.unwrap_or(0) } else { group.len() };
        self.answers.extend(group.iter().take(end).filter(|sent| !sent.answered()).map(|sent| sent.number));
        let mut before = None;
        for (at, sent) in group.iter().enumerate() {
            before = sent.acked_alone().or(before);
            if sent.delivered && sent.acked_over.is_none() {
                let after = group.iter().skip(at).find_map(Sent::acked_alone);
                let is_missing = before.is_some() && before == after;
                self.acks.extend(is_missing.then_some(sent.number));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: (Option<Link>, bool) = (None, false);
    const DELIVERED: (Option<Link>, bool) = (None, true);
    const ACKED: (Option<Link>, bool) = (Some(1), true);
    const ACKED_BY_ANOTHER: (Option<Link>, bool) = (Some(2), true);

    fn missing_of(fates: &[(Option<Link>, bool)], is_cut: bool) -> (Vec<u64>, Vec<u64>) {
        let at = Instant::now();
        let sent = |(number, (acked_over, delivered)): (u64, &(Option<Link>, bool))| Sent {
            number,
            at,
            acked_over: *acked_over,
            delivered: *delivered,
            replayed: false,
        };
        let group: Vec<_> = (0..).zip(fates).map(sent).collect();
        let mut missing = Missing::default();
        missing.look_through(&group, is_cut);
        (missing.answers, missing.acks)
    }

    #[test]
    fn only_the_end_of_a_cut_connection_may_be_unanswered() {
        let fates = [ACKED, NEVER, ACKED, NEVER, NEVER];
        assert_eq!(missing_of(&fates, true).0, [1]);
        assert_eq!(missing_of(&fates, false).0, [1, 3, 4]);
        assert_eq!(missing_of(&[NEVER, NEVER], true).0, [0; 0]);
    }

    #[test]
    fn an_ack_is_missing_if_one_process_sent_those_around_it() {
        let fates = [DELIVERED, ACKED, DELIVERED, ACKED, DELIVERED, ACKED_BY_ANOTHER, DELIVERED];
        assert_eq!(missing_of(&fates, true), (vec![], vec![2]));
    }

    #[test]
    fn what_was_sent_twice_proves_nothing_of_the_first_time() {
        let at = Instant::now();
        let lost = Sent { number: 0, at, acked_over: None, delivered: false, replayed: false };
        let copied = Sent { number: 1, acked_over: Some(1), delivered: true, replayed: true, ..lost };
        let mut missing = Missing::default();
        missing.look_through(&[lost, copied], true);
        assert_eq!(missing, Missing::default());
    }
}
