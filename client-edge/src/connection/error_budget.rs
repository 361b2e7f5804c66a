//! How many frames of one client in a row may be refused.
//!
//! Every refusal is answered in the words of the client's era, and before version 3 the client may try again. The number of
//! tries is bounded, because each costs the gateway more than the client, and the client is not read for a moment after each.

use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use worker::counter::count;

use crate::{
    counters::Counters,
    websocket::{close_reason::CloseReason, throttle::pause},
};

/// The errors that one connection has left.
#[derive(Debug)]
pub(super) struct ErrorBudget {
    most: u32,
    left: u32,
}

impl ErrorBudget {
    /// The connection ends with the refusal number `most` in a row.
    pub(super) const fn new(most: u32) -> Self {
        Self { most, left: most }
    }

    /// A frame was refused. Returns when the client may be read again.
    ///
    /// # Errors
    /// If the budget is used up.
    pub(super) async fn spend(&mut self, counters: &Counters) -> Result<(), CloseReason> {
        self.left = self.left.saturating_sub(1);
        if self.left > 0 {
            pause().await;
            return Ok(());
        }
        count(&counters.malformed_limit_closures);
        Err(CloseReason::ByGateway(CloseCode::Policy, "too many requests were refused"))
    }

    /// A frame was served.
    pub(super) const fn refill(&mut self) {
        self.left = self.most;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ends_the_connection_after_so_many_errors_in_a_row() {
        let counters = Counters::default();
        let mut errors = ErrorBudget::new(3);
        assert!(errors.spend(&counters).await.is_ok() && errors.spend(&counters).await.is_ok());
        errors.refill();
        assert!(errors.spend(&counters).await.is_ok() && errors.spend(&counters).await.is_ok());
        assert!(errors.spend(&counters).await.is_err());
        assert_eq!(counters.malformed_limit_closures.load(std::sync::atomic::Ordering::Relaxed), 1);
    }
}
