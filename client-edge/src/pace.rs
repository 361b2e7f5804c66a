//! How fast the gateway goes on with a client that brings nothing but work. It may send as fast as it is read, and its frames
//! are there already: without a pause, others would wait while one after the other is read.

use std::time::Duration;

use tokio::time::sleep;

use crate::websocket::MESSAGE_LIMIT;

/// How long such a client is not listened to.
const PAUSE: Duration = Duration::from_millis(1);

/// Returns when others have had their turn, and the client its pause.
pub(crate) async fn pause() {
    sleep(PAUSE).await;
}

/// How fast is read what nobody wants to know.
#[derive(Default)]
pub(crate) struct Pace {
    read: usize,
}

impl Pace {
    /// So many bytes are followed by a pause.
    const STRETCH: usize = MESSAGE_LIMIT;

    /// So many bytes were read.
    pub(crate) async fn keep(&mut self, len: usize) {
        self.read += len;
        if self.read >= Self::STRETCH {
            self.read = 0;
            pause().await;
        }
    }
}
