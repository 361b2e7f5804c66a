//! The deadlines of a session, and what happens when one is over.

use bytes::Bytes;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};
use worker::counter::count;

use super::Session;
use crate::websocket::close_reason::CloseReason;

/// Pings to a silent client, after which its connection counts as lost.
const UNANSWERED_KEEPALIVES: u32 = 4;

impl Session<'_> {
    /// The earliest deadline.
    pub(super) fn due(&self) -> Option<Instant> {
        let probe = self.probe.as_ref().map(|probe| probe.due);
        let keepalive = Some(self.keepalive_due());
        [self.receipt_due(), self.writing_due(), self.half_message_due(), keepalive, probe, self.stop_due]
            .into_iter()
            .flatten()
            .min()
    }

    /// Acts on every deadline that is over.
    pub(super) async fn overdue(&mut self) -> Result<(), CloseReason> {
        let now = Instant::now();
        if self.stop_due.is_some_and(|due| due <= now) {
            return Err(CloseReason::STOPPING);
        }
        if self.receipt_due().is_some_and(|due| due <= now) {
            count(&self.context.counters.receipt_timeouts);
            return Err(CloseReason::ByGateway(CloseCode::Policy, "no receipt was proved in time"));
        }
        if self.writing_due().is_some_and(|due| due <= now) {
            count(&self.context.counters.unwritten_timeouts);
            return Err(CloseReason::ByGateway(CloseCode::Policy, "what the gateway sends was not taken in time"));
        }
        if self.half_message_due().is_some_and(|due| due <= now) {
            count(&self.context.counters.half_message_timeouts);
            return Err(CloseReason::ByGateway(CloseCode::Policy, "a message did not end in time"));
        }
        if self.probe.as_ref().is_some_and(|probe| probe.due <= now) {
            self.answer_probe(false).await?;
        }
        if self.keepalive_due() <= now {
            self.keep_alive()?;
        }
        Ok(())
    }

    fn receipt_due(&self) -> Option<Instant> {
        self.barriers.oldest().map(|since| since + self.context.config.receipt_timeout)
    }

    fn writing_due(&self) -> Option<Instant> {
        self.websocket.unwritten_since().map(|since| since + self.context.config.receipt_timeout)
    }

    fn half_message_due(&self) -> Option<Instant> {
        self.websocket.half_since().map(|since| since + self.context.config.half_message)
    }

    fn keepalive_due(&self) -> Instant {
        self.websocket.last_push() + self.context.config.keepalive
    }

    /// Sends a Ping, because a proxy may close a connection on which nothing was sent for so long. The Ping is empty, which no
    /// barrier is, so its Pong proves no receipt.
    fn keep_alive(&mut self) -> Result<(), CloseReason> {
        if self.keepalives >= UNANSWERED_KEEPALIVES {
            count(&self.context.counters.keepalives_unanswered);
            return Err(CloseReason::ByGateway(CloseCode::Policy, "no Ping was answered"));
        }
        self.keepalives += 1;
        self.websocket.push(Message::Ping(Bytes::new()));
        Ok(())
    }
}
