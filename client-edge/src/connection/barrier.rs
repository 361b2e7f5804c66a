//! Receipt barriers: which Ping proves which mail.
//!
//! After each burst the client gets a Ping with a number. The client's websocket stack reads frames in order, so the Pong with
//! the same number proves that everything before the Ping was read. A client may answer only the newest of several Pings
//! (RFC 6455, 5.5.3), so a Pong for barrier n proves everything up to n.
//!
//! *Promises*: a number that was never given out proves nothing; no mail is proved twice.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::store::mail::Covered;

/// The barriers of one session. One waits for each unproved burst, so the credit of the session bounds them.
#[derive(Debug, Default)]
pub(super) struct Barriers {
    raised: u64,
    unproved: VecDeque<Barrier>,
}

#[derive(Debug)]
struct Barrier {
    number: u64,
    since: Instant,
    covered: Covered,
}

impl Barriers {
    /// Raises a barrier without mail and returns its number.
    pub(super) fn raise_empty(&mut self) -> u64 {
        self.raised += 1;
        self.raised
    }

    /// Raises the barrier behind a burst that is queued at `since`, and returns its number.
    pub(super) fn raise(&mut self, covered: Covered, since: Instant) -> u64 {
        let number = self.raise_empty();
        self.unproved.push_back(Barrier { number, since, covered });
        number
    }

    /// Whether the number was given out.
    pub(super) const fn was_raised(&self, number: u64) -> bool {
        number > 0 && number <= self.raised
    }

    /// The number came back. Returns what that proves beyond what was proved before.
    pub(super) fn prove(&mut self, number: u64) -> Option<Covered> {
        if !self.was_raised(number) {
            return None;
        }
        let mut proved: Option<Covered> = None;
        while let Some(barrier) = self.unproved.pop_front_if(|barrier| barrier.number <= number) {
            let Covered { up_to, messages, bytes } = barrier.covered;
            let before = proved.map_or((0, 0), |before| (before.messages, before.bytes));
            proved = Some(Covered { up_to, messages: before.0 + messages, bytes: before.1 + bytes });
        }
        proved
    }

    /// When the oldest unproved burst was queued.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.unproved.front().map(|barrier| barrier.since)
    }

    /// Whether all mail is proved.
    pub(super) fn is_empty(&self) -> bool {
        self.unproved.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use session_ipc::Sequence;

    use super::*;

    fn covered(up_to: u64) -> Covered {
        Covered { up_to: Sequence(up_to), messages: 1, bytes: 10 }
    }

    #[test]
    fn a_newer_pong_proves_the_older_bursts_too() {
        let mut barriers = Barriers::default();
        let now = Instant::now();
        let numbers: Vec<_> = [4, 9, 12].map(|up_to| barriers.raise(covered(up_to), now)).into();
        let proved = Covered { up_to: Sequence(9), messages: 2, bytes: 20 };
        assert_eq!(barriers.prove(numbers[1]), Some(proved));
        assert_eq!(barriers.prove(numbers[0]), None, "proved before");
        assert_eq!(barriers.oldest(), Some(now));
        assert_eq!(barriers.prove(numbers[2]), Some(covered(12)));
        assert!(barriers.is_empty());
    }

    #[test]
    fn a_number_never_given_out_proves_nothing() {
        let mut barriers = Barriers::default();
        let number = barriers.raise(covered(1), Instant::now());
        for made_up in [0, number + 1, u64::MAX] {
            assert_eq!(barriers.prove(made_up), None);
        }
        assert!(!barriers.is_empty());
    }

    #[test]
    fn a_probe_proves_the_mail_before_it() {
        let mut barriers = Barriers::default();
        barriers.raise(covered(3), Instant::now());
        let probe = barriers.raise_empty();
        assert_eq!(barriers.prove(probe), Some(covered(3)));
    }

    proptest! {
        #[test]
        fn every_burst_is_proved_once_and_in_order(pongs in proptest::collection::vec(0..40_u64, 0..60)) {
            let mut barriers = Barriers::default();
            for n in 1..=30 {
                barriers.raise(covered(n), Instant::now());
            }
            let (mut last, mut messages) = (0, 0);
            for pong in pongs {
                if let Some(proved) = barriers.prove(pong) {
                    prop_assert!(proved.up_to.0 > last && proved.up_to.0 == pong);
                    last = proved.up_to.0;
                    messages += proved.messages;
                    prop_assert_eq!(u64::from(messages), last);
                }
            }
        }
    }
}
