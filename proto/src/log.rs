//! How every process writes its log: one line per event on standard error, in the look of nym-gateway 0.10.1:
//! ` 2021-05-26T19:55:14.432Z INFO  store > text field=value`.
//!
//! The process name stands where 0.10.1 had the module. Lines are written whole, so that the processes' lines do not mix.

use std::{fmt, time::SystemTime};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{DefaultFields, Writer},
    },
    registry::LookupSpan,
};

/// What is logged when the operator does not say.
pub const DEFAULT_FILTER: &str = "info";

struct Line {
    process: &'static str,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        write!(out, " {now} {:<5} {} > ", event.metadata().level(), self.process)?;
        ctx.field_format().format_fields(out.by_ref(), event)?;
        writeln!(out)
    }
}

/// Starts the log of this process. `filter` has the syntax of `RUST_LOG`; one that does not parse counts as the default.
/// A second call changes nothing.
pub fn init(process: &'static str, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    // An error means that the log has been started before.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .fmt_fields(DefaultFields::new())
        .event_format(Line { process })
        .try_init();
}
