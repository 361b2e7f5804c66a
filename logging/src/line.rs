//! The form of a line.

use std::{fmt, time::SystemTime};

use ipc::log::LineFormat;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Writes an event as a line of this process.
pub(super) struct Line {
    pub(super) process: &'static str,
    pub(super) format: LineFormat,
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
pub(super) fn head(format: LineFormat, level: Level, process: &str) -> String {
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
