//! Messages to the service manager, if there is one (`NOTIFY_SOCKET`, sd_notify(3)).

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Whether there is a service manager.
pub(crate) fn is_there() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty())
}

/// The status of a gateway whose workers are all ready.
pub(crate) const SERVING: &str = "serving mix nodes and clients";

/// The gateway is up.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The gateway becomes another program; [`ready`] follows. Without a time newer service managers do not take
/// it, so that without a clock only the status is shown.
pub(crate) fn reloading(status: &str) {
    let now = NotifyState::monotonic_usec_now().ok();
    let states: Vec<_> =
        now.into_iter().flat_map(|now| [NotifyState::Reloading, now]).chain([NotifyState::Status(status)]).collect();
    tell(&states);
}

/// The gateway drains.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// Shows a status: a worker is being replaced, or all are ready again.
pub(crate) fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// Asks for another `extension` before the start counts as failed, because it takes longer than usual.
pub(crate) fn still_starting(extension: Duration) {
    tell(&[NotifyState::ExtendTimeoutUsec(extension.as_micros().try_into().unwrap_or(u32::MAX))]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(id = "GWD-G044", %error, "cannot notify the service manager");
    }
}

/// Reports twice per period that the supervisor's loop turns, if the service manager asks for it.
pub(crate) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// With the period that `WATCHDOG_USEC` names.
    pub(crate) fn from_env() -> Self {
        Self(sd_notify::watchdog_enabled().filter(|period| !period.is_zero()).map(|period| {
            let mut interval = interval(period / 2);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        }))
    }

    /// Waits until the next report is due, and sends it. Never returns if the service manager does not ask for reports.
    pub(crate) async fn report(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
                tell(&[NotifyState::Watchdog]);
            }
            None => std::future::pending().await,
        }
    }
}
