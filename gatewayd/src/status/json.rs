//! All figures as JSON: each metric by its name, with its labels.

use figures::{
    Kind, Reading,
    health::{self, Health},
    number::BOUNDS,
};
use serde_json::{Map, Value, json};

use crate::handover::wire::UpgradeAnswer;

/// The document. Its `metrics` have the names that `/metrics` has.
pub(super) fn document(readings: &[Reading], upgrade: &UpgradeAnswer) -> String {
    let mut metrics = Vec::new();
    for reading in readings {
        for (figure, numbers) in reading.figures() {
            let mut metric = Map::new();
            metric.insert("name".to_owned(), figure.sample(reading.page()).into());
            if let Some((label, value)) = figure.label {
                metric.insert(label.to_owned(), value.into());
            }
            match (figure.kind, numbers) {
                (Kind::Histogram, [buckets @ .., micros]) => {
                    let bounds = BOUNDS.iter().map(|bound| json!(bound)).chain([Value::Null]);
                    let buckets =
                        bounds.zip(buckets).map(|(most, count)| json!({ "most_micros": most, "count": count }));
                    metric.insert("buckets".to_owned(), buckets.collect());
                    metric.insert("sum_micros".to_owned(), (*micros).into());
                }
                (_, [value, ..]) => {
                    metric.insert("value".to_owned(), (*value).into());
                }
                (_, []) => {}
            }
            metrics.push(Value::Object(metric));
        }
    }
    let (health, reason) = match health::of(readings) {
        Health::Good => ("good", None),
        Health::Impaired(reason) => ("impaired", Some(reason.to_string())),
        Health::Down(reason) => ("down", Some(reason.to_string())),
    };
    format!("{:#}", json!({ "health": health, "reason": reason, "upgrade": upgrade, "metrics": metrics }))
}
