//! Limits a client's control frames: Pings, and Pongs that answer no Ping of the gateway.
//!
//! Nothing else bounds them. A client needs no login to send them, and does not have to wait for an answer. The websocket
//! library answers each Ping before the code above it sees the Ping.

use std::time::Duration;

use tokio::time::Instant;

/// Control frames of one client within a [`WINDOW`]. Clients that keep a connection alive by themselves send one every few
/// seconds; this is more than any client needs, and too little to matter for the processor.
const LIMIT: u32 = 300;
/// The time over which they are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// The count of one connection.
#[derive(Debug, Default)]
pub(crate) struct ControlFrameLimit {
    /// When the window began, and how many came in it.
    window: Option<(Instant, u32)>,
    /// Pings of the gateway that may still be answered.
    unanswered: u32,
}

impl ControlFrameLimit {
    /// The gateway sends a Ping.
    pub(crate) const fn ping_sent(&mut self) {
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// A Ping came at `now`. True if it was one too many.
    pub(crate) fn exceeded_by_ping(&mut self, now: Instant) -> bool {
        let (began, before) = self.window.filter(|(began, _)| now < *began + WINDOW).unwrap_or((now, 0));
        self.window = Some((began, before.saturating_add(1)));
        before >= LIMIT
    }

    /// A Pong came at `now`. True if it was one too many.
    pub(crate) fn exceeded_by_pong(&mut self, now: Instant) -> bool {
        match self.unanswered.checked_sub(1) {
            Some(left) => {
                self.unanswered = left;
                false
            }
            None => self.exceeded_by_ping(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_within_a_window_and_no_more() {
        let mut limit = ControlFrameLimit::default();
        let began = Instant::now();
        assert!((0..LIMIT).all(|n| match n % 2 {
            0 => !limit.exceeded_by_ping(began),
            _ => !limit.exceeded_by_pong(began),
        }));
        let next = began + WINDOW;
        assert!((0..LIMIT).all(|_| !limit.exceeded_by_ping(next)));
        assert!(limit.exceeded_by_ping(next + WINDOW - Duration::from_millis(1)));
        assert!(!limit.exceeded_by_ping(next + WINDOW));
    }

    #[test]
    fn a_pong_that_answers_a_ping_does_not_count() {
        let mut limit = ControlFrameLimit::default();
        let now = Instant::now();
        (0..2 * LIMIT).for_each(|_| limit.ping_sent());
        assert!((0..3 * LIMIT).all(|_| !limit.exceeded_by_pong(now)));
        assert!(limit.exceeded_by_pong(now));
    }
}
