//! What one kind of attacker has spent, and what it got for that.

use harness::oracle::percentile;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Numbers by what they count.
type Numbers = BTreeMap<&'static str, u64>;

/// The sums of all attackers of one kind.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    spent: Numbers,
    got: Numbers,
    /// How long things took, shortest first.
    took: BTreeMap<&'static str, Vec<Duration>>,
}

impl Tally {
    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So much more of this was spent.
    pub(crate) fn spent(&self, what: &'static str, count: u64) {
        *self.sums().spent.entry(what).or_default() += count;
    }

    /// So much more of this was got.
    pub(crate) fn got(&self, what: &'static str, count: u64) {
        *self.sums().got.entry(what).or_default() += count;
    }

    /// This lasted so long; what counts is the longest, in milliseconds.
    pub(crate) fn lasted(&self, what: &'static str, time: Duration) {
        self.reached(what, u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }

    /// This reached such a height; what counts is the highest.
    pub(crate) fn reached(&self, what: &'static str, height: u64) {
        let mut sums = self.sums();
        let highest = sums.got.entry(what).or_default();
        *highest = height.max(*highest);
    }

    /// Some more of this took so long.
    pub(crate) fn took(&self, what: &'static str, times: Vec<Duration>) {
        let mut sums = self.sums();
        let all = sums.took.entry(what).or_default();
        all.extend(times);
        all.sort_unstable();
    }

    /// What so many per cent of this took at the most.
    pub(crate) fn percentile(&self, what: &str, percent: usize) -> Option<Duration> {
        percentile(self.sums().took.get(what)?, percent)
    }

    /// What was spent of this.
    pub(crate) fn spending(&self, what: &str) -> u64 {
        self.sums().spent.get(what).copied().unwrap_or_default()
    }

    /// What was got of this.
    pub(crate) fn gain(&self, what: &str) -> u64 {
        self.sums().got.get(what).copied().unwrap_or_default()
    }

    /// All of it in words, with the rate at which things were spent in a time of this length.
    pub(crate) fn over(&self, time: Duration) -> String {
        let sums = self.sums();
        let rate = |count: u64| count as f64 / time.as_secs_f64().max(1e-3);
        let spent = sums.spent.iter().map(|(what, count)| format!("{count} {what} ({:.1}/s)", rate(*count)));
        let got = sums.got.iter().map(|(what, count)| format!("{count} {what}"));
        let took = sums.took.iter().map(|(what, times)| {
            let millis = |percent| percentile(times, percent).unwrap_or_default().as_secs_f64() * 1e3;
            format!("{} {what} (p50 {:.1} ms, p99 {:.1} ms)", times.len(), millis(50), millis(99))
        });
        let got = got.chain(took);
        let list = |items: Vec<String>| if items.is_empty() { "nothing".to_owned() } else { items.join(", ") };
        format!("spent {}; got {}", list(spent.collect()), list(got.collect()))
    }
}

/// Whether an attacker has failed, and if not, why that is bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The gateway held.
    Held,
    /// It did not, in these words.
    Fell(String),
}

impl Verdict {
    /// The gateway held if this is true.
    pub(crate) fn held_if(held: bool, otherwise: impl fmt::Display) -> Self {
        if held { Self::Held } else { Self::Fell(otherwise.to_string()) }
    }

    /// Both must be as they should.
    pub(crate) fn and(self, other: Self) -> Self {
        if self == Self::Held { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_add_up_and_heights_do_not() {
        let tally = Tally::default();
        tally.spent("logins", 4);
        tally.spent("logins", 6);
        tally.got("let in", 1);
        tally.lasted("ms open", Duration::from_millis(70));
        tally.lasted("ms open", Duration::from_millis(7));
        assert_eq!((tally.spending("logins"), tally.gain("let in"), tally.gain("ms open")), (10, 1, 70));
        assert_eq!(tally.over(Duration::from_secs(5)), "spent 10 logins (2.0/s); got 1 let in, 70 ms open");
        tally.took("acks", [3, 1, 2].map(Duration::from_millis).to_vec());
        assert_eq!(tally.percentile("acks", 50), Some(Duration::from_millis(2)));
        assert!(tally.over(Duration::from_secs(5)).ends_with("3 acks (p50 2.0 ms, p99 3.0 ms)"));
        assert_eq!(Tally::default().over(Duration::ZERO), "spent nothing; got nothing");
    }

    #[test]
    fn one_fall_is_enough() {
        let fell = Verdict::held_if(false, "a login");
        assert_eq!(Verdict::Held.and(fell.clone()), fell);
        assert_eq!(fell.clone().and(Verdict::Held), fell);
        assert_eq!(Verdict::held_if(true, "").and(Verdict::Held), Verdict::Held);
    }
}
