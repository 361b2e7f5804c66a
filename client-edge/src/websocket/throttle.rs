//! Throttles reading from clients whose bytes are discarded or refused.
//!
//! Such a client may send as fast as it is read. Without a pause its bytes are always there already, and other clients would
//! wait while they are read.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::sleep,
};

/// How long such a client is not read.
const PAUSE: Duration = Duration::from_millis(1);
/// Bytes that are discarded between two pauses.
const BYTES_PER_PAUSE: usize = 64 * 1024;

/// Waits while other clients are served.
pub(crate) async fn pause() {
    sleep(PAUSE).await;
}

/// The rate at which one client's bytes are discarded.
#[derive(Default)]
pub(crate) struct DiscardThrottle {
    /// Bytes since the last pause.
    read: usize,
}

impl DiscardThrottle {
    /// `len` bytes were discarded. Returns when the next may be read.
    pub(crate) async fn discarded(&mut self, len: usize) {
        self.read += len;
        if self.read >= BYTES_PER_PAUSE {
            self.read = 0;
            pause().await;
        }
    }
}

/// Shuts the socket down for writing, and discards what the peer still sends until the peer has closed, too. A socket that is
/// closed with unread bytes is reset, and the reset takes back from the peer the last bytes that it was sent.
pub(crate) async fn shut_down_and_discard(socket: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let mut bytes = [0; 512];
    if socket.shutdown().await.is_ok() {
        let mut throttle = DiscardThrottle::default();
        while let Ok(len @ 1..) = socket.read(&mut bytes).await {
            throttle.discarded(len).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn each_64_kib_of_discarded_bytes_is_followed_by_a_pause() {
        let mut throttle = DiscardThrottle::default();
        for _ in 0..2 {
            assert!(throttle.discarded(BYTES_PER_PAUSE - 2).now_or_never().is_some());
            assert!(throttle.discarded(1).now_or_never().is_some());
            assert!(throttle.discarded(1).now_or_never().is_none());
        }
        assert!(pause().now_or_never().is_none());
    }
}
