//! What the service manager is told, if there is one (`NOTIFY_SOCKET`, sd_notify(3)).

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Whether there is one.
pub(super) fn is_there() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty())
}

/// The status of a gateway that does all that it should.
pub(super) const SERVING: &str = "serving mix nodes and clients";

/// The gateway is up.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The gateway drains.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// A worker is being replaced, or all are at work again.
pub(super) fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// The start takes longer than usual and is getting on: do not give up for another `extension`.
pub(super) fn still_starting(extension: Duration) {
    tell(&[NotifyState::ExtendTimeoutUsec(extension.as_micros().try_into().unwrap_or(u32::MAX))]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}

/// Proves twice per period that the supervisor's loop turns, if the service manager asked for it.
pub(super) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// As `WATCHDOG_USEC` says.
    pub(super) fn from_env() -> Self {
        Self(sd_notify::watchdog_enabled().filter(|period| !period.is_zero()).map(|period| {
            let mut interval = interval(period / 2);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        }))
    }

    /// Waits until a proof is due, and gives it. For ever if nobody asked.
    pub(super) async fn prove(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
                tell(&[NotifyState::Watchdog]);
            }
            None => std::future::pending().await,
        }
    }
}
