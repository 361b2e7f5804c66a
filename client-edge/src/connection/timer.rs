//! A timer for a loop that asks for the next deadline at every turn and hardly ever reaches one.
//!
//! Moving a timer of the runtime costs a lock. This one is moved only if the deadline is earlier than the one it is set to, or
//! if it has fired before the deadline.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// One timer, reused.
#[derive(Debug)]
pub(super) struct DeadlineTimer(Pin<Box<Sleep>>);

impl DeadlineTimer {
    /// A timer without a deadline.
    pub(super) fn new() -> Self {
        Self(Box::pin(sleep_until(Instant::now())))
    }

    /// Waits until `deadline`, or for ever if there is none.
    pub(super) async fn wait_until(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return std::future::pending().await };
        while Instant::now() < deadline {
            if self.0.is_elapsed() || deadline < self.0.deadline() {
                self.0.as_mut().reset(deadline);
            }
            self.0.as_mut().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use futures_util::FutureExt;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn fires_when_due_whether_set_earlier_or_later_before() {
        let mut timer = DeadlineTimer::new();
        let in_ms = |ms| Instant::now() + Duration::from_millis(ms);
        assert!(timer.wait_until(Some(in_ms(60_000))).now_or_never().is_none());
        for (set, due) in [(60_000, 5), (5, 20), (10, 10)] {
            // On a loaded machine the timer may fire here already; the test is about what it is set to afterwards.
            let _ = timer.wait_until(Some(in_ms(set))).now_or_never();
            let due = in_ms(due);
            timeout(Duration::from_secs(30), timer.wait_until(Some(due))).await.unwrap();
            assert!(Instant::now() >= due);
        }
    }

    #[tokio::test]
    async fn waiting_is_sleeping_whatever_the_timer_was_set_to() {
        let mut timer = DeadlineTimer::new();
        for ms in [20, 60_000, 30, 40] {
            let deadline = Instant::now() + Duration::from_millis(ms);
            let mut polls = 0;
            let mut wait = Box::pin(timer.wait_until(Some(deadline)));
            let counted = poll_fn(|cx| {
                polls += 1;
                wait.as_mut().poll(cx)
            });
            // One of them is not waited for to its end.
            let _ = timeout(Duration::from_millis(ms.min(50)), counted).await;
            assert!(polls < 10, "polled {polls} times within {ms} ms");
        }
    }
}
