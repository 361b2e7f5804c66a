//! The order of one client's mail, as far as it shows from outside. Of two messages one certainly came first if both were sent
//! on one connection, or if it had been acknowledged before the other was sent. First deliveries keep that order whatever dies:
//! what comes again after a crash comes with everything that was behind it.

use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};

use super::names::Stream;

/// What is known of the order in one inbox.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The message that was sent last of those delivered so far.
    newest: HashMap<Stream, (Instant, u64)>,
    /// Acknowledged and not delivered yet.
    owed: BTreeSet<(Instant, u64)>,
}

impl Order {
    /// A message that is not delivered yet has been acknowledged.
    pub(super) fn acked(&mut self, number: u64, at: Instant) {
        self.owed.insert((at, number));
    }

    /// A message that was sent and acknowledged at these times is delivered for the first time. Returns what is wrong with that.
    ///
    /// A message without a stream was sent more than once.
    pub(super) fn delivered(
        &mut self,
        number: u64,
        stream: Option<Stream>,
        (sent, acked): (Instant, Option<Instant>),
    ) -> Option<String> {
        if let Some(acked) = acked {
            self.owed.remove(&(acked, number));
        }
        if let Some(stream) = stream {
            let (newest_sent, newest) = self.newest.entry(stream).or_insert((sent, number));
            if sent < *newest_sent {
                return Some(format!("message {number} came after {newest}, which followed it on the same connection"));
            }
            (*newest_sent, *newest) = (sent, number);
        }
        let (owed_since, owed) = self.owed.first()?;
        let overtaken = *owed_since < sent;
        overtaken
            .then(|| format!("message {number} came before {owed}, which had been acknowledged before it was sent"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> Instant {
        static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *BEGIN.get_or_init(Instant::now) + Duration::from_millis(millis)
    }

    #[test]
    fn packets_of_one_connection_stay_in_order_and_others_need_not() {
        let mut order = Order::default();
        assert_eq!(order.delivered(2, Some(1), (at(2), None)), None);
        assert_eq!(order.delivered(1, Some(0), (at(1), None)), None);
        assert_eq!(order.delivered(4, Some(1), (at(4), None)), None);
        assert!(order.delivered(3, Some(1), (at(3), None)).is_some());
        assert_eq!(order.delivered(3, None, (at(3), None)), None);
    }

    #[test]
    fn what_is_sent_after_an_ack_comes_after_its_message() {
        let mut order = Order::default();
        order.acked(1, at(10));
        assert_eq!(order.delivered(2, Some(1), (at(9), None)), None);
        assert!(order.delivered(3, Some(1), (at(11), None)).is_some());
        assert_eq!(order.delivered(1, Some(0), (at(1), Some(at(10)))), None);
        assert_eq!(order.delivered(4, Some(1), (at(12), None)), None);
    }
}
