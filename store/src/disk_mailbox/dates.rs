//! What time it is for the mailbox: the clock's time, as far as it is believed.

use std::{
    sync::atomic::Ordering,
    time::{Duration, UNIX_EPOCH},
};

use super::{DiskMailbox, spent::Dates};
use crate::clock::{self, LastRun};

/// The last second of the year 9999, behind which times cannot be written as a date.
const LAST_WRITABLE: u64 = 253_402_300_799;

impl DiskMailbox {
    /// The date of what is written now.
    pub(super) fn date(&self) -> Duration {
        (self.clock)().max(Duration::from_secs(self.earliest.load(Ordering::Relaxed)))
    }

    /// When logins are judged and dated: no earlier than the latest of anybody.
    pub(super) fn login_dates(&self) -> Dates {
        let (now, earliest) = ((self.clock)().as_secs(), self.earliest.load(Ordering::Relaxed));
        let believed = if clock::is_near(earliest, now) { now.max(earliest) } else { earliest };
        Dates { now: now.max(earliest).max(self.last_login.load(Ordering::Relaxed)), believed }
    }

    /// The time of a login that is taken now; nothing if the clock is in doubt, since later logins are judged by this time.
    pub(super) fn login_time(&self) -> Option<u64> {
        let now = (self.clock)().as_secs();
        let believed = clock::is_near(self.earliest.load(Ordering::Relaxed), now);
        believed.then(|| now.max(self.last_login.load(Ordering::Relaxed)))
    }

    /// Logs once that the clock is in doubt, and once that it is believed again.
    pub(super) fn log_clock(&self, now: u64, run: &LastRun) {
        let was_in_doubt = self.is_in_doubt.swap(run.doubted.is_some(), Ordering::Relaxed);
        match run.doubted {
            Some(doubt) if !was_in_doubt => {
                let time = |seconds: u64| {
                    let since = Duration::from_secs(seconds.min(LAST_WRITABLE));
                    humantime::format_rfc3339_seconds(UNIX_EPOCH + since)
                };
                tracing::warn!(
                    id = "GWD-S017",
                    clock = %time(now), last_run = %time(run.believed),
                    "the clock has leapt since the gateway last ran; until {} nothing is removed for its age; if the clock is \
                     wrong, set it right; if it is right, and the gateway was off for so long, there is nothing to do",
                    time(doubt.ends())
                );
            }
            None if was_in_doubt => tracing::info!("the clock is believed again; what is too old is removed"),
            _ => {}
        }
    }
}
