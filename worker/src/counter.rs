//! Named counters, so that nothing is dropped or refused silently.
//!
//! The log shows them: at `debug` all numbers once a minute, if one has changed; at `info` one line an hour if something was
//! refused or lost, one line when a condition begins and one when it ends, and all numbers at the end of the process.

mod summary;

use std::{sync::Arc, time::Duration};

use self::summary::{Summary, text};

/// Time between two looks at the counters.
pub const LOG_PERIOD: Duration = Duration::from_secs(60);

/// A set of counters, each with a name.
pub trait Counters: Send + Sync + 'static {
    /// Counters of what was refused or lost. They are part of the hourly line.
    const REFUSALS: &'static [&'static str];
    /// The refusals that an operator may have to act on. Their begin and end are lines of their own.
    const CONDITIONS: &'static [&'static str];

    /// Names and values now, in the order of declaration.
    fn snapshot(&self) -> Vec<(&'static str, u64)>;
}

/// Declares a struct of [`AtomicU64`](std::sync::atomic::AtomicU64) counters behind [`Arc`]s that implements [`Counters`]. Two lists
/// after the struct name the counters of refusals and those of conditions.
#[macro_export]
macro_rules! counters {
    (
        $(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$field_meta:meta])* $field:ident),* $(,)? }
        refusals { $($refusal:ident),* $(,)? }
        conditions { $($condition:ident),* $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name { $($(#[$field_meta])* pub $field: ::std::sync::Arc<::std::sync::atomic::AtomicU64>),* }

        impl $crate::counter::Counters for $name {
            const REFUSALS: &'static [&'static str] = &[$(stringify!($refusal),)* $(stringify!($condition)),*];
            const CONDITIONS: &'static [&'static str] = &[$(stringify!($condition)),*];

            fn snapshot(&self) -> Vec<(&'static str, u64)> {
                // Compiles only if every name in a list is a counter.
                let _ = ($(&self.$refusal,)* $(&self.$condition,)*);
                vec![$((stringify!($field), self.$field.load(::std::sync::atomic::Ordering::Relaxed))),*]
            }
        }
    };
}

/// Adds one to a counter.
pub fn count(counter: &std::sync::atomic::AtomicU64) {
    counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

/// Logs changes every [`LOG_PERIOD`], until dropped.
pub async fn log_changes<C: Counters>(counters: Arc<C>) {
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

/// What counters have counted together.
pub fn sum(counters: &[&std::sync::atomic::AtomicU64]) -> u64 {
    counters.iter().map(|counter| counter.load(std::sync::atomic::Ordering::Relaxed)).sum()
}
