//! How many Pings one client may send.
//!
//! Each is answered by the websocket library before anybody here sees it, and nothing else bounds them: no client has to be
//! known to send them, and none waits for its answers.

use std::time::Duration;

use tokio::time::Instant;

/// Pings of one client within a [`WINDOW`]. Clients that keep a connection alive by themselves send one in some seconds; this
/// is more than anybody needs, and less than a processor notices.
const MOST: u32 = 300;
/// What they are counted over.
const WINDOW: Duration = Duration::from_secs(60);

/// The count of one connection.
#[derive(Debug, Default)]
pub(crate) struct Pings {
    /// When the window began, and how many came in it.
    window: Option<(Instant, u32)>,
}

impl Pings {
    /// A Ping came at `now`. Says whether it was one too many.
    pub(crate) fn are_too_many(&mut self, now: Instant) -> bool {
        let (began, before) = self.window.filter(|(began, _)| now < *began + WINDOW).unwrap_or((now, 0));
        self.window = Some((began, before.saturating_add(1)));
        before >= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_within_a_window_and_no_more() {
        let mut pings = Pings::default();
        let began = Instant::now();
        assert!((0..MOST).all(|_| !pings.are_too_many(began)));
        let next = began + WINDOW;
        assert!((0..MOST).all(|_| !pings.are_too_many(next)));
        assert!(pings.are_too_many(next + WINDOW - Duration::from_millis(1)));
        assert!(!pings.are_too_many(next + WINDOW));
    }
}
