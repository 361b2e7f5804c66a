//! How many frames that ask for nothing one client may send: Pings, and Pongs that answer no Ping of the gateway.
//!
//! Nothing else bounds them: no client has to be known to send them, and none waits for an answer. The websocket library
//! answers each Ping before anybody here sees it.

use std::time::Duration;

use tokio::time::Instant;

/// Such frames of one client within a [`WINDOW`]. Clients that keep a connection alive by themselves send one in some
/// seconds; this is more than anybody needs, and less than a processor notices.
const MOST: u32 = 300;
/// What they are counted over.
const WINDOW: Duration = Duration::from_secs(60);

/// The count of one connection.
#[derive(Debug, Default)]
pub(crate) struct Chatter {
    /// When the window began, and how many came in it.
    window: Option<(Instant, u32)>,
    /// Pings of the gateway that may still be answered.
    unanswered: u32,
}

impl Chatter {
    /// The gateway sends a Ping.
    pub(crate) const fn ask(&mut self) {
        self.unanswered = self.unanswered.saturating_add(1);
    }

    /// A Ping came at `now`. Says whether it was one too many.
    pub(crate) fn ping_is_too_much(&mut self, now: Instant) -> bool {
        let (began, before) = self.window.filter(|(began, _)| now < *began + WINDOW).unwrap_or((now, 0));
        self.window = Some((began, before.saturating_add(1)));
        before >= MOST
    }

    /// A Pong came at `now`. Says whether it was one too many.
    pub(crate) fn pong_is_too_much(&mut self, now: Instant) -> bool {
        match self.unanswered.checked_sub(1) {
            Some(left) => {
                self.unanswered = left;
                false
            }
            None => self.ping_is_too_much(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_within_a_window_and_no_more() {
        let mut chatter = Chatter::default();
        let began = Instant::now();
        assert!((0..MOST).all(|n| match n % 2 {
            0 => !chatter.ping_is_too_much(began),
            _ => !chatter.pong_is_too_much(began),
        }));
        let next = began + WINDOW;
        assert!((0..MOST).all(|_| !chatter.ping_is_too_much(next)));
        assert!(chatter.ping_is_too_much(next + WINDOW - Duration::from_millis(1)));
        assert!(!chatter.ping_is_too_much(next + WINDOW));
    }

    #[test]
    fn an_answer_to_a_ping_does_not_count() {
        let mut chatter = Chatter::default();
        let now = Instant::now();
        (0..2 * MOST).for_each(|_| chatter.ask());
        assert!((0..3 * MOST).all(|_| !chatter.pong_is_too_much(now)));
        assert!(chatter.pong_is_too_much(now));
    }
}
