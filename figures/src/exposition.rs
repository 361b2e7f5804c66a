//! The figures as text in the format OpenMetrics, and their names in it.

use std::fmt::Write as _;

use crate::{Figure, Kind, Page, Reading, Unit, number::BOUNDS};

impl Figure {
    /// The name of its family: that of the process, its own, and its unit.
    pub fn metric(&self, page: Page) -> String {
        let process = match page {
            Page::Supervisor => "",
            Page::Worker(_) => page.name(),
        };
        let separator = if process.is_empty() { "" } else { "_" };
        let unit = match self.unit {
            Unit::None => "",
            Unit::Bytes => "_bytes",
            Unit::Seconds => "_seconds",
        };
        format!("gatewayd_{process}{separator}{}{unit}", self.family)
    }

    /// The name of its samples; those of a histogram have endings of their own.
    pub fn sample(&self, page: Page) -> String {
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        self.metric(page) + total
    }

    /// Its help, as one line.
    pub fn sentence(&self) -> &'static str {
        self.help.trim()
    }

    const fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// All of it as one document.
pub fn open_metrics<'a>(readings: impl IntoIterator<Item = &'a Reading>) -> String {
    let mut text = String::new();
    for reading in readings {
        let mut last = String::new();
        for (figure, numbers) in reading.figures() {
            let metric = figure.metric(reading.page());
            if metric != last {
                // Writing to a text does not fail.
                let _ = head(&mut text, figure, &metric);
                last.clone_from(&metric);
            }
            let _ = samples(&mut text, figure, &metric, numbers);
        }
    }
    text.push_str("# EOF\n");
    text
}

fn head(text: &mut String, figure: &Figure, metric: &str) -> std::fmt::Result {
    writeln!(text, "# TYPE {metric} {}", figure.kind_name())?;
    match figure.unit {
        Unit::None => {}
        Unit::Bytes => writeln!(text, "# UNIT {metric} bytes")?,
        Unit::Seconds => writeln!(text, "# UNIT {metric} seconds")?,
    }
    writeln!(text, "# HELP {metric} {}", figure.sentence())
}

fn samples(text: &mut String, figure: &Figure, metric: &str, numbers: &[u64]) -> std::fmt::Result {
    match (figure.kind, numbers) {
        (Kind::Histogram, [buckets @ .., micros]) => {
            let mut count = 0_u64;
            for (bucket, bound) in buckets.iter().zip(BOUNDS.iter().map(|bound| seconds(*bound)).chain(["+Inf".into()]))
            {
                count = count.saturating_add(*bucket);
                writeln!(text, "{metric}_bucket{{le=\"{bound}\"}} {count}")?;
            }
            writeln!(text, "{metric}_sum {}", seconds(*micros))?;
            writeln!(text, "{metric}_count {count}")
        }
        (_, [value, ..]) => {
            let total = if figure.kind == Kind::Counter { "_total" } else { "" };
            match figure.label {
                Some((label, of)) => writeln!(text, "{metric}{total}{{{label}=\"{of}\"}} {value}"),
                None => writeln!(text, "{metric}{total} {value}"),
            }
        }
        (_, []) => Ok(()),
    }
}

/// Microseconds as seconds.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let text = text.trim_end_matches('0');
    text.strip_suffix('.').map_or_else(|| text.to_owned(), |whole| format!("{whole}.0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Reading> {
        Page::ALL.into_iter().map(|page| Reading::take(page, |place| u64::try_from(place).ok())).collect()
    }

    /// The names are a promise to whoever has a dashboard: a change of this number is one of METRICS.md.
    #[test]
    fn the_number_of_metrics_is_pinned() {
        let text = open_metrics(&all());
        let families = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
        let samples = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!((families, samples), (200, 245));
    }

    #[test]
    fn names_labels_and_units_follow_the_conventions() {
        let text = open_metrics(&all());
        for line in [
            "# TYPE gatewayd_mix_egress_packets_taken counter",
            "# UNIT gatewayd_mix_egress_queued_memory_bytes bytes",
            "# TYPE gatewayd_store_mail_commit_time_seconds histogram",
            "# HELP gatewayd_mix_ingress_replayed Packets that were seen before; a few are new and were taken for such.",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        for start in [
            "gatewayd_mix_egress_packets_taken_total{origin=\"acks\"} ",
            "gatewayd_worker_deaths_total{worker=\"store\"} ",
            "gatewayd_store_mail_commit_time_seconds_bucket{le=\"0.0005\"} ",
            "gatewayd_store_mail_commit_time_seconds_bucket{le=\"+Inf\"} ",
            "gatewayd_store_mail_commit_time_seconds_sum ",
        ] {
            assert!(text.lines().any(|found| found.starts_with(start)), "{start}: {text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
        let mut families: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        let all = families.len();
        families.sort_unstable();
        families.dedup();
        assert_eq!(families.len(), all, "a family has two heads");
        assert!(!text.contains("  "), "a help of several lines is joined");
    }

    #[test]
    fn a_time_is_a_number_with_a_point() {
        let written = [0, 500, 2_500_000, 5_000_000, 1_000_001].map(seconds);
        assert_eq!(written, ["0.0", "0.0005", "2.5", "5.0", "1.000001"]);
    }
}
