//! How many frames of one client may be refused in a row.
//!
//! Each refusal is answered in the words of the client's era, and before version 3 the client may try again; but not for
//! ever, because every try costs the gateway more than the client. And after each the client has to wait a moment.

use proto::counter::count;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::{counters::Counters, pace::pause, websocket::Exit};

/// What is left of it.
#[derive(Debug)]
pub(crate) struct Patience {
    most: u32,
    left: u32,
}

impl Patience {
    /// For so many refused frames in a row.
    pub(crate) const fn new(most: u32) -> Self {
        Self { most, left: most }
    }

    /// A frame was refused. Returns when the client may be listened to again.
    ///
    /// # Errors
    /// If it was one too many.
    pub(crate) async fn lose(&mut self, counters: &Counters) -> Result<(), Exit> {
        self.left = self.left.saturating_sub(1);
        if self.left > 0 {
            pause().await;
            return Ok(());
        }
        count(&counters.malformed_limit_closures);
        Err(Exit::Farewell(CloseCode::Policy, "too many requests were refused"))
    }

    /// A frame was not refused.
    pub(crate) const fn restore(&mut self) {
        self.left = self.most;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn is_over_after_so_many_in_a_row() {
        let counters = Counters::default();
        let mut patience = Patience::new(3);
        assert!(patience.lose(&counters).await.is_ok() && patience.lose(&counters).await.is_ok());
        patience.restore();
        assert!(patience.lose(&counters).await.is_ok() && patience.lose(&counters).await.is_ok());
        assert!(patience.lose(&counters).await.is_err());
        assert_eq!(counters.malformed_limit_closures.load(std::sync::atomic::Ordering::Relaxed), 1);
    }
}
