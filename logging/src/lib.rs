//! The log of a process: one line per event on standard error, in the form of nym-gateway 0.10.1:
//! ` 2021-05-26T19:55:14.432Z INFO  store > text field=value`. For the journal of systemd, which adds the time itself, a line is
//! `<6>store > text field=value`, with the priority that syslog(3) gives to the level.
//!
//! The process name stands where 0.10.1 had the module. Lines are written whole, so that the processes' lines do not mix.
//!
//! *Promises*: no process ends, waits or panics because of a log line. A line that cannot be written is lost and counted.

mod filter;
mod queue;

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use ipc::log::{LineFormat, LogSettings};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{DefaultFields, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

pub use filter::{Filter, UnknownDirective};
use queue::LINES;

/// Longest wait of an ending process for its last lines.
const FLUSH_LIMIT: Duration = Duration::from_millis(500);

struct Line {
    process: &'static str,
    format: LineFormat,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        out.write_str(&head(self.format, *event.metadata().level(), self.process))?;
        ctx.field_format().format_fields(out.by_ref(), event)?;
        writeln!(out)
    }
}

/// The part of a line before its text.
fn head(format: LineFormat, level: Level, process: &str) -> String {
    match format {
        LineFormat::Plain => {
            let now = humantime::format_rfc3339_millis(SystemTime::now());
            format!(" {now} {level:<5} {process} > ")
        }
        LineFormat::Journal => format!("<{}>{process} > ", priority(level)),
    }
}

/// The priorities of syslog(3).
const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_the_journal_has_a_priority_and_no_time() {
        assert_eq!(head(LineFormat::Journal, Level::ERROR, "store"), "<3>store > ");
        assert_eq!(head(LineFormat::Journal, Level::INFO, "store"), "<6>store > ");
        let plain = head(LineFormat::Plain, Level::WARN, "store");
        assert!(plain.ends_with("Z WARN  store > ") && plain.starts_with(" 2"), "{plain}");
    }
}
