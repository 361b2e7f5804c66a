//! The log of a process: one line per event on standard error, in the form of nym-gateway 0.10.1:
//! ` 2021-05-26T19:55:14.432Z INFO  store > text field=value`. For the journal of systemd, which adds the time itself, a line is
//! `<6>store > text field=value`, with the priority that syslog(3) gives to the level. A warning or an error has its id before the text:
//! `<3>store > GWD-S012 text field=value`. The id is the field `id` of the event.
//!
//! The process name stands where 0.10.1 had the module. Lines are written whole, so that the processes' lines do not mix.
//!
//! *Promises*: no process ends, waits or panics because of a log line. A line that cannot be written is lost and counted.

mod filter;
mod line;
mod queue;

use std::{sync::OnceLock, time::Duration};

use ipc::log::LogSettings;
use tracing_subscriber::{layer::SubscriberExt, reload, util::SubscriberInitExt};

pub use filter::{Filter, SUPERVISOR, UnknownDirective};
use line::Line;
use queue::LINES;

/// Puts another filter in the place of the present one.
type Change = Box<dyn Fn(&Filter) + Send + Sync>;

/// Of this process.
static CHANGE: OnceLock<Change> = OnceLock::new();

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
        .event_format(Line { process, format: settings.format });
    let (targets, handle) = reload::Layer::new(filter.targets(process));
    // An error means that there is a log already, as in tests.
    let _ = tracing_subscriber::registry().with(lines).with(targets).try_init();
    let change = move |filter: &Filter| {
        // An error means that there is another log.
        let _ = handle.reload(filter.targets(process));
    };
    let _ = CHANGE.set(Box::new(change));
}

/// Logs what `filter` says from now on. Parts of it that are not understood have no effect.
pub fn change(filter: &str) {
    if let Some(change) = CHANGE.get() {
        change(&Filter::parse(filter).0);
    }
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
