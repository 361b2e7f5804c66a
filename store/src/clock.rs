//! The machine's clock, and whether it is believed enough to remove what is too old.
//!
//! A machine may boot with a clock that is years ahead or behind, and have it set right a minute later. So the ledger keeps
//! the time at which the gateway last ran ([`LastRun`]).
//!
//! - What the clock says is believed if it is within a day of that.
//! - Otherwise it is in doubt, and nothing is removed for its age, until the clock has gone on from there for three days. Then
//!   it is believed: either the gateway was off for long, or the operator let the warning stand.
//! - What is written meanwhile is dated with the later of the two times. So a wrong clock has something kept for too long, but
//!   nothing removed too early.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds by which the clock may have gone on, or back, since it was last looked at.
const LEAP: u64 = 24 * 3_600;
/// Seconds for which a clock must go on before a leap is believed.
const DOUBT_PERIOD: u64 = 3 * LEAP;
/// First byte of a record of either form.
const BELIEVED: u8 = 1;
const DOUBTED: u8 = 2;

/// What the machine's clock says, since 1970. A clock before that is a clock that was never set.
pub(crate) fn now() -> Duration {
    #[cfg(test)]
    if let Some(simulated) = simulated::now() {
        return simulated;
    }
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The clock of the machine that a test's thread simulates.
#[cfg(test)]
pub(crate) mod simulated {
    use std::{cell::Cell, time::Duration};

    thread_local!(static NOW: Cell<Option<Duration>> = const { Cell::new(None) });

    pub(super) fn now() -> Option<Duration> {
        NOW.get()
    }

    /// From now on the clock says this, on this thread.
    pub(crate) fn set(now: Duration) {
        NOW.set(Some(now));
    }
}

/// Whether a clock that says `now` can be believed, if the time was last known at `then`. If it was never known, any clock is believed.
pub(crate) const fn is_near(then: u64, now: u64) -> bool {
    then == 0 || then.abs_diff(now) <= LEAP
}

/// When the gateway last ran. All times are in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastRun {
    /// By a clock that was believed.
    pub(crate) believed: u64,
    /// What the clock has said since then, if that is in doubt.
    pub(crate) doubted: Option<Doubt>,
}

/// A clock that is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// What it said when it was first doubted.
    first: u64,
    /// What it said last.
    last: u64,
}

impl Doubt {
    /// When it will be believed.
    pub(crate) const fn ends(&self) -> u64 {
        self.first.saturating_add(DOUBT_PERIOD)
    }
}

impl LastRun {
    /// There is no reason to doubt this.
    pub(crate) const fn at(now: u64) -> Self {
        Self { believed: now, doubted: None }
    }

    /// What is known once the clock has said `now`.
    pub(crate) fn look(self, now: u64) -> Self {
        let goes_on = |last: u64| last.abs_diff(now) <= LEAP;
        match self.doubted {
            _ if goes_on(self.believed) => Self::at(now),
            Some(doubt) if goes_on(doubt.last) && now >= doubt.ends() => Self::at(now),
            Some(doubt) if goes_on(doubt.last) => Self { doubted: Some(Doubt { last: now, ..doubt }), ..self },
            _ => Self { doubted: Some(Doubt { first: now, last: now }), ..self },
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let (form, times) = match self.doubted {
            None => (BELIEVED, vec![self.believed]),
            Some(doubt) => (DOUBTED, vec![self.believed, doubt.first, doubt.last]),
        };
        let times = times.into_iter().flat_map(u64::to_be_bytes);
        std::iter::once(form).chain(times).collect()
    }

    /// The record in a value, if it is one.
    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let (form, times) = value.split_first()?;
        match (*form, times.as_chunks::<8>()) {
            (BELIEVED, ([believed], [])) => Some(Self::at(u64::from_be_bytes(*believed))),
            (DOUBTED, ([believed, first, last], [])) => {
                let [believed, first, last] = [believed, first, last].map(|time| u64::from_be_bytes(*time));
                Some(Self { believed, doubted: Some(Doubt { first, last }) })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;
    const THEN: u64 = 1_800_000_000;
    const YEARS: u64 = 12 * 365 * DAY;

    /// What is believed after each look at a clock, which says `times`.
    fn believed(mut run: LastRun, times: impl IntoIterator<Item = u64>) -> Vec<bool> {
        let looks = times.into_iter().map(|time| {
            run = run.look(time);
            assert_eq!(run.believed == time, run.doubted.is_none());
            run.doubted.is_none()
        });
        looks.collect()
    }

    #[test]
    fn a_clock_that_goes_on_is_believed_after_a_night_off_too() {
        let times = [0, HOUR, HOUR, 5 * HOUR, 4 * HOUR, 28 * HOUR].map(|time| THEN + time);
        assert_eq!(believed(LastRun::at(THEN), times), [true; 6]);
    }

    #[test]
    fn a_clock_that_is_years_off_for_a_minute_is_never_believed() {
        for wrong in [THEN + YEARS, THEN - YEARS, 0, u64::MAX] {
            assert_eq!(believed(LastRun::at(THEN), [wrong, THEN + 60, THEN + HOUR]), [false, true, true]);
        }
    }

    #[test]
    fn after_months_off_the_clock_is_believed_in_three_days() {
        let back = THEN + 60 * DAY;
        let looks = believed(LastRun::at(THEN), (0..=73).map(|hour| back + hour * HOUR));
        assert_eq!(looks.iter().position(|is_believed| *is_believed), Some(72));
        assert!(looks[73]);
        // With the record read from disk each time.
        let mut run = LastRun::at(THEN);
        for hour in 0..72 {
            run = LastRun::decode(&run.look(back + hour * HOUR).encode()).unwrap();
            assert_eq!(run.believed, THEN);
        }
        assert_eq!(run.look(back + 72 * HOUR), LastRun::at(back + 72 * HOUR));
    }

    #[test]
    fn a_second_leap_of_the_clock_begins_the_doubt_anew() {
        let ahead = THEN + YEARS;
        let mut times = vec![ahead, ahead + DAY, ahead + 2 * DAY, ahead + 30 * DAY, ahead + 31 * DAY];
        times.extend([ahead + 32 * DAY, ahead + 33 * DAY]);
        assert_eq!(believed(LastRun::at(THEN), times), [false, false, false, false, false, false, true]);
        let corrected = (0..4).map(|day| THEN + day * DAY);
        assert_eq!(believed(LastRun::at(ahead), corrected), [false, false, false, true]);
    }

    proptest! {
        #[test]
        fn a_record_round_trips_and_nothing_else_is_one(believed: u64, doubt: Option<(u64, u64)>, other: Vec<u8>) {
            let run = LastRun { believed, doubted: doubt.map(|(first, last)| Doubt { first, last }) };
            prop_assert_eq!(LastRun::decode(&run.encode()), Some(run));
            if let Some(run) = LastRun::decode(&other) {
                prop_assert_eq!(run.encode(), other);
            }
        }

        #[test]
        fn no_clock_removes_anything_a_day_before_its_time(start in 0..u64::MAX, times: Vec<u64>) {
            let mut run = LastRun::at(start);
            for time in times {
                let before = run;
                run = run.look(time);
                if run.doubted.is_none() && run.believed.abs_diff(before.believed) > LEAP {
                    let doubt = before.doubted.unwrap();
                    prop_assert!(run.believed - doubt.first >= DOUBT_PERIOD);
                }
            }
        }
    }
}
