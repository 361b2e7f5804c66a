//! Named counters, so that nothing is dropped or refused silently.
//!
//! The log shows them: at `debug` all numbers once a minute, if one has changed; at `info` one line an hour if something was
//! refused or lost, one line when a condition begins and one when it ends, and all numbers at the end of the process.

mod summary;

use std::{sync::Arc, time::Duration};

use figures::Figures;

use self::summary::{Summary, text};

/// Time between two looks at the counters.
pub const LOG_PERIOD: Duration = Duration::from_secs(60);

/// Adds one to a counter.
pub fn count(counter: &std::sync::atomic::AtomicU64) {
    counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

/// Logs changes every [`LOG_PERIOD`], until dropped.
pub async fn log_changes<C: Figures>(counters: Arc<C>) {
    let mut last = counters.snapshot();
    let mut summary = Summary::new(C::REFUSALS, C::CONDITIONS, &last);
    loop {
        tokio::time::sleep(LOG_PERIOD).await;
        let now = counters.snapshot();
        if now != last {
            tracing::debug!("counters: {}", text(&now));
        }
        for line in summary.after_a_period(&now) {
            tracing::info!("{line}");
        }
        last = now;
    }
}

/// Logs the counters that are not zero in one line, at the end of a process.
pub fn log(snapshot: &[(&'static str, u64)]) {
    let text = text(snapshot);
    if !text.is_empty() {
        tracing::info!("counters: {text}");
    }
}

/// Adds `n` to a counter.
pub fn count_many(counter: &std::sync::atomic::AtomicU64, n: usize) {
    counter.fetch_add(n as u64, std::sync::atomic::Ordering::Relaxed);
}
