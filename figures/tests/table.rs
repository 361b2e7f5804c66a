//! METRICS.md lists every metric. This test writes the list if `UPDATE_METRICS` is set, and else compares.

#![allow(clippy::unwrap_used)]

use std::{fmt::Write as _, path::Path};

use figures::{Figure, Kind, Page, Unit};

const BEGIN: &str = "<!-- The table is written by `UPDATE_METRICS=1 cargo test -p figures --test table`. -->\n";

/// A row for each family.
fn table() -> String {
    let mut rows = String::from("\n| metric | kind | labels | what |\n|---|---|---|---|\n");
    for page in Page::ALL {
        let mut last = String::new();
        for figure in page.table() {
            let name = figure.sample(page);
            if name == last {
                continue;
            }
            writeln!(rows, "| `{name}` | {} | {} | {} |", kind(figure), labels(page, figure), figure.sentence())
                .unwrap();
            last = name;
        }
    }
    rows
}

fn kind(figure: &Figure) -> String {
    let kind = match figure.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    match figure.unit {
        Unit::None => kind.to_owned(),
        Unit::Bytes => format!("{kind}, bytes"),
        Unit::Seconds => format!("{kind}, seconds"),
    }
}

fn labels(page: Page, figure: &Figure) -> String {
    let of_family = page.table().iter().filter(|other| other.family == figure.family).filter_map(|other| other.label);
    let values: Vec<&str> = of_family.map(|(_, value)| value).collect();
    figure.label.map_or_else(String::new, |(label, _)| format!("`{label}`: {}", values.join(", ")))
}

#[test]
fn the_table_of_metrics_is_as_the_program_has_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../METRICS.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, found) = text.split_once(BEGIN).unwrap();
    if std::env::var_os("UPDATE_METRICS").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{}", table())).unwrap();
        return;
    }
    assert_eq!(found, table(), "run UPDATE_METRICS=1 cargo test -p figures --test table");
}
