//! The lines about counters for an operator: what was refused in an hour, and when a condition began and ended.

use std::mem;

/// Periods of a minute between two lines about refusals.
const HOUR: u32 = 60;

/// Periods without a refusal after which a condition has ended. With fewer, a condition whose cause persists would end and begin again
/// and again.
const QUIET: u32 = 10;

type Snapshot = Vec<(&'static str, u64)>;

/// Watches counters from period to period.
#[derive(Debug)]
pub(super) struct Summary {
    refusals: &'static [&'static str],
    conditions: Vec<Condition>,
    hour_began_with: Snapshot,
    periods: u32,
}

#[derive(Debug)]
struct Condition {
    name: &'static str,
    last: u64,
    /// Set while the condition lasts.
    lasts: Option<Lasts>,
}

#[derive(Debug)]
struct Lasts {
    began_with: u64,
    periods: u32,
    quiet: u32,
}

impl Summary {
    pub(super) fn new(
        refusals: &'static [&'static str],
        conditions: &[&'static str],
        now: &[(&'static str, u64)],
    ) -> Self {
        let condition = |name: &&'static str| Condition { name, last: value(now, name), lasts: None };
        Self {
            refusals,
            conditions: conditions.iter().map(condition).collect(),
            hour_began_with: now.to_vec(),
            periods: 0,
        }
    }

    /// The lines that are due at the end of a period.
    pub(super) fn after_a_period(&mut self, now: &[(&'static str, u64)]) -> Vec<String> {
        let of_condition = |condition: &mut Condition| condition.after_a_period(value(now, condition.name));
        let mut lines: Vec<String> = self.conditions.iter_mut().filter_map(of_condition).collect();
        self.periods += 1;
        if self.periods >= HOUR {
            self.periods = 0;
            let before = mem::replace(&mut self.hour_began_with, now.to_vec());
            let risen = |name: &&'static str| (*name, value(now, name).saturating_sub(value(&before, name)));
            let refused: Snapshot = self.refusals.iter().map(risen).collect();
            let refused = text(&refused);
            if !refused.is_empty() {
                lines.push(format!("refused or lost in the last hour: {refused}"));
            }
        }
        lines
    }
}

impl Condition {
    fn after_a_period(&mut self, now: u64) -> Option<String> {
        let (name, before) = (self.name, mem::replace(&mut self.last, now));
        let risen = now.saturating_sub(before);
        match &mut self.lasts {
            None if risen > 0 => {
                self.lasts = Some(Lasts { began_with: before, periods: 1, quiet: 0 });
                Some(format!("it begins: {name}={risen} in the last minute"))
            }
            None => None,
            Some(lasts) => {
                lasts.periods = lasts.periods.saturating_add(1);
                lasts.quiet = if risen > 0 { 0 } else { lasts.quiet + 1 };
                if lasts.quiet < QUIET {
                    return None;
                }
                let (total, minutes) = (now.saturating_sub(lasts.began_with), lasts.periods - QUIET);
                self.lasts = None;
                Some(format!("it has ended: {name}={total} in {minutes} min, and none for {QUIET} min"))
            }
        }
    }
}

fn value(snapshot: &[(&'static str, u64)], name: &str) -> u64 {
    snapshot.iter().find(|(other, _)| *other == name).map_or(0, |(_, value)| *value)
}

/// The counters that are not zero, as text.
pub(super) fn text(snapshot: &[(&'static str, u64)]) -> String {
    let counted = snapshot.iter().filter(|(_, value)| *value > 0);
    let counted: Vec<String> = counted.map(|(name, value)| format!("{name}={value}")).collect();
    counted.join(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use figures::Figures as _;

    figures::figures! {
        /// Of this test.
        struct Counted {
            /// Nothing to tell of.
            counter served,
            /// Told of once an hour.
            counter unknown,
            /// Told of at once.
            counter full,
        }
        refusals { unknown }
        conditions { full }
    }

    fn periods(summary: &mut Summary, counted: &Counted, number: u32) -> Vec<String> {
        (0..number).flat_map(|_| summary.after_a_period(&counted.snapshot())).collect()
    }

    #[test]
    fn an_hour_without_refusals_has_no_line() {
        let counted = Counted::default();
        let mut summary = Summary::new(Counted::REFUSALS, Counted::CONDITIONS, &counted.snapshot());
        counted.served.fetch_add(1_000, Ordering::Relaxed);
        assert_eq!(periods(&mut summary, &counted, 10 * HOUR), [""; 0]);
    }

    #[test]
    fn refusals_are_told_once_an_hour_and_counted_anew() {
        let counted = Counted::default();
        let mut summary = Summary::new(Counted::REFUSALS, Counted::CONDITIONS, &counted.snapshot());
        for number in [3, 5] {
            counted.unknown.fetch_add(number, Ordering::Relaxed);
            let line = format!("refused or lost in the last hour: unknown={number}");
            assert_eq!(periods(&mut summary, &counted, HOUR), [line]);
        }
        assert_eq!(periods(&mut summary, &counted, HOUR), [""; 0]);
    }

    #[test]
    fn a_condition_is_told_when_it_begins_and_when_it_ends() {
        let counted = Counted::default();
        let mut summary = Summary::new(Counted::REFUSALS, Counted::CONDITIONS, &counted.snapshot());
        counted.full.fetch_add(2, Ordering::Relaxed);
        assert_eq!(periods(&mut summary, &counted, 1), ["it begins: full=2 in the last minute"]);
        for _ in 0..3 {
            assert_eq!(periods(&mut summary, &counted, QUIET - 1), [""; 0]);
            counted.full.fetch_add(1, Ordering::Relaxed);
        }
        let lines = periods(&mut summary, &counted, QUIET + 1);
        assert_eq!(lines, ["it has ended: full=5 in 29 min, and none for 10 min"]);
    }
}
