//! The log of a process: one line per event on standard error, in the form of nym-gateway 0.10.1:
//! ` 2021-05-26T19:55:14.432Z INFO  store > text field=value`. For the journal of systemd, which adds the time itself, a line is
//! `<6>store > text field=value`, with the priority that syslog(3) gives to the level.
//!
//! The process name stands where 0.10.1 had the module. Lines are written whole, so that the processes' lines do not mix.
//!
//! *Promises*: no process ends, waits or panics because of a log line. A line that cannot be written is lost and counted.

mod filter;
mod line;
mod queue;

use std::time::Duration;

use ipc::log::LogSettings;
use tracing_subscriber::{fmt::format::DefaultFields, layer::SubscriberExt, util::SubscriberInitExt};

pub use filter::{Filter, UnknownDirective};
use line::Line;
use queue::LINES;

/// Longest wait of an ending process for its last lines.
const FLUSH_LIMIT: Duration = Duration::from_millis(500);

/// Begins to collect the lines of this process. [`write_in_background`] or [`flush`] writes them. A second call changes nothing.
pub fn init(process: &'static str, settings: &LogSettings) {
    let (filter, _) = Filter::parse(&settings.filter);
    let Some(writer) = queue::begin(process, settings.format) else { return };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .log_internal_errors(false)
        .fmt_fields(DefaultFields::new())
        .event_format(Line { process, format: settings.format });
    // An error means that there is a log already, as in tests.
    let _ = tracing_subscriber::registry().with(lines).with(filter.targets(process)).try_init();
}

/// Starts the thread that writes the lines. A worker must call this after its jail is closed, as for every thread.
///
/// # Errors
/// If there is no memory for a thread.
pub fn write_in_background() -> std::io::Result<()> {
    LINES.get().map_or(Ok(()), queue::Lines::start_thread)
}

/// Waits for the last lines at the end of the process, half a second at the most.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush(FLUSH_LIMIT);
    }
}
