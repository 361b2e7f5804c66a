//! A timer that is asked for on every turn of a loop and hardly ever touched: it is moved only when it has to ring earlier
//! than set, or has rung too early.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// One timer, reused.
#[derive(Debug)]
pub(crate) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// Set to nothing yet.
    pub(crate) fn new() -> Self {
        Self(Box::pin(sleep_until(Instant::now())))
    }

    /// Waits until `due`, for ever if there is none.
    pub(crate) async fn at(&mut self, due: Option<Instant>) {
        let Some(due) = due else { return std::future::pending().await };
        while Instant::now() < due {
            if self.0.is_elapsed() || due < self.0.deadline() {
                self.0.as_mut().reset(due);
            }
            self.0.as_mut().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn rings_when_due_whether_set_earlier_or_later_before() {
        let mut alarm = Alarm::new();
        let in_ms = |ms| Instant::now() + Duration::from_millis(ms);
        assert!(alarm.at(Some(in_ms(60_000))).now_or_never().is_none());
        for (set, due) in [(60_000, 5), (5, 20), (10, 10)] {
            // On a loaded machine it may ring already; what counts is what it is set to afterwards.
            let _ = alarm.at(Some(in_ms(set))).now_or_never();
            let due = in_ms(due);
            timeout(Duration::from_secs(30), alarm.at(Some(due))).await.unwrap();
            assert!(Instant::now() >= due);
        }
    }
}
