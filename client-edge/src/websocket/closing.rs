//! How a websocket is closed, for each reason.

use std::future::{pending, poll_fn};

use client_wire::protocol::Protocol;
use futures_util::{SinkExt, StreamExt};
use tokio::{io::AsyncWriteExt, time::timeout};
use tokio_tungstenite::tungstenite::{
    Error, Message, Utf8Bytes,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    Websocket,
    close_reason::{CLOSE_LIMIT, CloseReason},
    throttle::{DiscardThrottle, shut_down_and_discard},
};

impl Websocket {
    /// Closes the connection for `reason`, as the client's protocol expects.
    pub(crate) async fn close(mut self, reason: CloseReason, protocol: Protocol) {
        let close = async {
            match reason {
                // After `MemoryNeeded` the rest of the message is not waited for, so that its memory is free at once.
                CloseReason::PeerGone | CloseReason::MemoryNeeded => {}
                CloseReason::ByClient => self.read_until_closed().await,
                CloseReason::ProtocolError(code) => {
                    if self.send_close(code, "").await.is_ok() {
                        shut_down_and_discard(self.stream.get_mut()).await;
                    }
                }
                CloseReason::Flood => self.close_flooded(protocol).await,
                CloseReason::LoginRefused => self.flush_and_close(CloseCode::Policy, "not let in", protocol).await,
                CloseReason::ByGateway(code, text) => self.flush_and_close(code, text, protocol).await,
            }
        };
        // After this time the connection is dropped, whatever the client has read.
        let _ = timeout(CLOSE_LIMIT, close).await;
    }

    /// Reads nothing more: a flood that is read, if only to be discarded, goes on. Unread it backs up at the client, and the
    /// client's place stays taken meanwhile.
    async fn close_flooded(&mut self, protocol: Protocol) {
        // Flushed first, because the answer to the last Ping would otherwise come behind the Close.
        if self.stream.flush().await.is_ok() && protocol.ends_with_close() {
            let _ = self.send_close(CloseCode::Policy, "too many frames that bring nothing").await;
        }
        let _ = self.stream.get_mut().shutdown().await;
        pending().await
    }

    /// Writes the outbox, then closes.
    async fn flush_and_close(&mut self, code: CloseCode, text: &'static str, protocol: Protocol) {
        if poll_fn(|cx| self.outbox.poll_write(&mut *self.stream, cx)).await.is_err() {
            return;
        }
        if !protocol.ends_with_close() {
            shut_down_and_discard(self.stream.get_mut()).await;
        } else if self.send_close(code, text).await.is_ok() {
            self.read_until_closed().await;
        }
    }

    async fn send_close(&mut self, code: CloseCode, text: &'static str) -> Result<(), Error> {
        self.stream.send(Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(text) }))).await
    }

    /// Discards messages until both sides have closed.
    async fn read_until_closed(&mut self) {
        let mut throttle = DiscardThrottle::default();
        while let Some(Ok(message)) = self.stream.next().await {
            throttle.discarded(message.len()).await;
        }
    }
}
