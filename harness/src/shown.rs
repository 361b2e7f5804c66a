//! What a running gateway shows of itself: the figures of `gatewayd status --json`.

use anyhow::{Context as _, Result, ensure};
use figures::{
    Figure, Page, Reading,
    balance::{ALL, Snapshot},
};
use serde_json::Value;

use crate::{deadline, home::Home};

/// The figures of one moment.
#[derive(Debug)]
pub struct Shown(Value);

impl Shown {
    /// Asks the gateway in this home, which serves, well or not so well.
    ///
    /// # Errors
    /// If it does not answer, or does not serve.
    pub async fn by(home: &Home) -> Result<Self> {
        let outcome = home.gatewayd("status", &["--json"]).await?;
        ensure!(matches!(outcome.code, Some(0 | 1)), "{outcome:?}");
        Ok(Self(serde_json::from_str(&outcome.stdout)?))
    }

    /// Asks until the gateway shows this.
    ///
    /// # Errors
    /// If it does not in time.
    pub async fn until(home: &Home, what: &str, is_so: impl Fn(&Self) -> Result<bool>) -> Result<Self> {
        let asking = async {
            loop {
                let shown = Self::by(home).await?;
                if is_so(&shown)? {
                    return anyhow::Ok(shown);
                }
            }
        };
        deadline::soon(what, asking).await?
    }

    /// The sum of all metrics of this name, whatever their labels.
    ///
    /// # Errors
    /// If there is none.
    pub fn value(&self, name: &str) -> Result<u64> {
        let metrics = self.0.get("metrics").and_then(Value::as_array).context("no metrics")?;
        let of_name = metrics.iter().filter(|metric| metric.get("name").and_then(Value::as_str) == Some(name));
        let values: Vec<u64> = of_name.filter_map(|metric| metric.get("value")?.as_u64()).collect();
        ensure!(!values.is_empty(), "there is no metric {name}");
        Ok(values.iter().sum())
    }

    /// The sums that are off now, and by how many packets. What is on the way between two processes counts as off, too.
    ///
    /// # Errors
    /// If a page is not shown whole.
    pub fn off(&self) -> Result<Vec<String>> {
        let readings = Page::ALL.into_iter().map(|page| self.reading(page));
        let readings: Option<Vec<Reading>> = readings.collect();
        let now = Snapshot::of(readings.context("a page is not shown whole")?);
        let off = ALL.into_iter().map(|sum| (sum.name, sum.off(&now, &[now.clone(), now.clone()])));
        Ok(off.filter(|(_, off)| *off > 0).map(|(name, off)| format!("{off} {name}")).collect())
    }

    /// The page as the gateway read it.
    fn reading(&self, page: Page) -> Option<Reading> {
        let metrics = self.0.get("metrics")?.as_array()?;
        let of_figure = |figure: &Figure| {
            let metric = metrics.iter().find(|metric| {
                let has_label = |(label, value): (&str, &str)| metric.get(label).and_then(Value::as_str) == Some(value);
                metric.get("name").and_then(Value::as_str) == Some(&figure.sample(page))
                    && figure.label.is_none_or(has_label)
            })?;
            metric.get("value")?.as_u64()
        };
        // A histogram has no single value, and no sum is over one.
        let values =
            page.table().iter().flat_map(|figure| std::iter::repeat_n(of_figure(figure).unwrap_or(0), figure.slots()));
        Reading::of_values(page, values.collect())
    }
}
