//! Named counters: nothing is dropped or refused silently.

use std::{sync::Arc, time::Duration};

/// How often changed counters are written to the log.
pub const LOG_PERIOD: Duration = Duration::from_secs(60);

/// A set of counters, each with a name.
pub trait Counters: Send + Sync + 'static {
    /// Names and values now, in the order of declaration.
    fn snapshot(&self) -> Vec<(&'static str, u64)>;
}

/// Declares a struct of [`AtomicU64`](std::sync::atomic::AtomicU64) counters behind [`Arc`]s that implements [`Counters`].
#[macro_export]
macro_rules! counters {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$field_meta:meta])* $field:ident),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $vis struct $name { $($(#[$field_meta])* pub $field: ::std::sync::Arc<::std::sync::atomic::AtomicU64>),* }

        impl $crate::counter::Counters for $name {
            fn snapshot(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field.load(::std::sync::atomic::Ordering::Relaxed))),*]
            }
        }
    };
}

/// Adds one to a counter.
pub fn count(counter: &std::sync::atomic::AtomicU64) {
    counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

/// Writes the counters that have changed to the log, as one line, every [`LOG_PERIOD`], until dropped.
pub async fn log_changes(counters: Arc<impl Counters>) {
    let mut last = counters.snapshot();
    loop {
        tokio::time::sleep(LOG_PERIOD).await;
        let now = counters.snapshot();
        if now != last {
            log(&now);
            last = now;
        }
    }
}

/// Writes the counters that are not zero to the log, as one line.
pub fn log(snapshot: &[(&'static str, u64)]) {
    let text: Vec<String> =
        snapshot.iter().filter(|(_, value)| *value > 0).map(|(name, value)| format!("{name}={value}")).collect();
    if !text.is_empty() {
        tracing::info!("counters: {}", text.join(" "));
    }
}
