//! The form of a line. The id of a warning or an error stands before its text, where it is easy to see and is never cut off.

use std::{error::Error, fmt, time::SystemTime};

use ipc::log::LineFormat;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::VisitOutput as _,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{DefaultVisitor, Writer},
    },
    registry::LookupSpan,
};

/// The field with the id of a warning or an error.
const ID: &str = "id";

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
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        out.write_str(&head(self.format, level, self.process))?;
        if level <= Level::WARN {
            let mut id = Id(out.by_ref(), Ok(()));
            event.record(&mut id);
            id.1?;
        }
        let mut rest = Rest(DefaultVisitor::new(out.by_ref(), true));
        event.record(&mut rest);
        rest.0.finish()?;
        writeln!(out)
    }
}

/// Writes the id, with a space behind it.
struct Id<'a>(Writer<'a>, fmt::Result);

impl Visit for Id<'_> {
    fn record_str(&mut self, field: &Field, id: &str) {
        if field.name() == ID {
            self.1 = write!(self.0, "{id} ");
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// Writes the text and all fields but the id.
struct Rest<'a>(DefaultVisitor<'a>);

impl Visit for Rest<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != ID {
            self.0.record_str(field, value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.0.record_error(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.record_debug(field, value);
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
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// What is written to it.
    #[derive(Clone, Debug, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `log` writes for the journal.
    fn written(log: impl FnOnce()) -> String {
        let out = Written::default();
        let writer = out.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .event_format(Line { process: "store", format: LineFormat::Journal })
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(out.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn the_id_of_a_warning_stands_before_its_text() {
        let error = io::Error::other("no room");
        let line = written(|| tracing::error!(id = "GWD-X001", %error, file = "a", bytes = 7, "it failed: {}", 1));
        assert_eq!(line, "<3>store > GWD-X001 it failed: 1 error=no room file=\"a\" bytes=7\n");
        assert_eq!(written(|| tracing::warn!(id = "GWD-X002", "late")), "<4>store > GWD-X002 late\n");
        assert_eq!(written(|| tracing::info!(at = 1, "ready")), "<6>store > ready at=1\n");
    }

    #[test]
    fn a_line_for_the_journal_has_a_priority_and_no_time() {
        assert_eq!(head(LineFormat::Journal, Level::ERROR, "store"), "<3>store > ");
        assert_eq!(head(LineFormat::Journal, Level::INFO, "store"), "<6>store > ");
        let plain = head(LineFormat::Plain, Level::WARN, "store");
        assert!(plain.ends_with("Z WARN  store > ") && plain.starts_with(" 2"), "{plain}");
    }
}
