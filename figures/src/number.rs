//! One number in a page.
//!
//! *Promises*: changing a number takes no lock and no memory. Without a page, as in the tests of a crate, a number stands in memory of its
//! own.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Numbers of the page for each slot: a line of the processor's cache, so that threads that count different things do not wait for each
/// other.
pub const STRIDE: usize = 8;

/// A counter or a gauge. Clones are the same number.
#[derive(Clone, Debug)]
pub struct Number(Place);

#[derive(Clone, Debug)]
enum Place {
    Page(&'static AtomicU64),
    Own(Arc<AtomicU64>),
}

impl Default for Number {
    fn default() -> Self {
        Self(Place::Own(Arc::default()))
    }
}

impl Deref for Number {
    type Target = AtomicU64;

    fn deref(&self) -> &AtomicU64 {
        match &self.0 {
            Place::Page(number) => number,
            Place::Own(number) => number,
        }
    }
}

impl Number {
    /// Adds one, and takes it away again when the result is dropped.
    pub fn raise(&self) -> Raised {
        self.fetch_add(1, Relaxed);
        Raised(self.clone())
    }
}

/// One of what a gauge shows.
#[derive(Debug)]
pub struct Raised(Number);

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// How often something took how long, in buckets of fixed bounds.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// One for each bound, and one for what is above them all.
    buckets: Vec<Number>,
    micros: Number,
}

/// The upper bounds of the buckets of every histogram, in microseconds.
pub const BOUNDS: [u64; 12] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];

/// Slots of a histogram: its buckets, that without a bound, and the sum.
pub(crate) const HISTOGRAM_SLOTS: usize = BOUNDS.len() + 2;

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: (0..=BOUNDS.len()).map(|_| Number::default()).collect(), micros: Number::default() }
    }
}

impl Histogram {
    /// Counts one event that took `time`.
    pub fn observe(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Relaxed);
            self.micros.fetch_add(micros, Relaxed);
        }
    }

    /// How many events were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Relaxed)).sum()
    }
}

/// The page is too short for the figures: it was made by another version.
#[derive(Debug, thiserror::Error)]
#[error("the page for figures is too short; are the worker and gatewayd of one version?")]
pub struct PageTooShort;

/// Gives the places of a page away, in their order.
#[derive(Debug)]
pub struct Places(&'static [AtomicU64]);

impl Places {
    /// The places of `page`.
    pub const fn of(page: &'static [AtomicU64]) -> Self {
        Self(page)
    }

    fn next(&mut self) -> Result<&'static AtomicU64, PageTooShort> {
        let (place, rest) = self.0.split_at_checked(STRIDE).ok_or(PageTooShort)?;
        self.0 = rest;
        place.first().ok_or(PageTooShort)
    }

    /// A number that goes on from where an earlier process stopped.
    ///
    /// # Errors
    /// If there is no place left.
    pub fn counter(&mut self) -> Result<Number, PageTooShort> {
        Ok(Number(Place::Page(self.next()?)))
    }

    /// A number that begins at zero: what an earlier process held is gone.
    ///
    /// # Errors
    /// If there is no place left.
    pub fn gauge(&mut self) -> Result<Number, PageTooShort> {
        let place = self.next()?;
        place.store(0, Relaxed);
        Ok(Number(Place::Page(place)))
    }

    /// A histogram that goes on from where an earlier process stopped.
    ///
    /// # Errors
    /// If there is no place left.
    pub fn histogram(&mut self) -> Result<Histogram, PageTooShort> {
        let buckets = (0..=BOUNDS.len()).map(|_| self.counter()).collect::<Result<_, _>>()?;
        Ok(Histogram { buckets, micros: self.counter()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(slots: usize) -> &'static [AtomicU64] {
        Vec::leak((0..slots * STRIDE).map(|_| AtomicU64::new(0)).collect())
    }

    #[test]
    fn counters_go_on_and_gauges_begin_anew_with_the_next_process() {
        let page = page(2);
        for life in 1..=3 {
            let mut places = Places::of(page);
            let (counter, gauge) = (places.counter().unwrap(), places.gauge().unwrap());
            counter.fetch_add(1, Relaxed);
            gauge.fetch_add(5, Relaxed);
            assert_eq!((counter.load(Relaxed), gauge.load(Relaxed)), (life, 5));
        }
    }

    #[test]
    fn a_page_that_is_too_short_is_refused() {
        let mut places = Places::of(page(HISTOGRAM_SLOTS));
        assert!(places.histogram().is_ok());
        assert!(places.counter().is_err());
        assert!(Places::of(page(HISTOGRAM_SLOTS - 1)).histogram().is_err());
    }

    #[test]
    fn times_fall_into_the_bucket_of_their_bound() {
        let histogram = Histogram::default();
        for micros in [0, 500, 501, 5_000_000, 5_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let buckets: Vec<u64> = histogram.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        assert_eq!(buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((histogram.count(), histogram.micros.load(Relaxed)), (5, 10_001_002));
    }

    #[test]
    fn what_is_raised_is_lowered_when_dropped() {
        let gauge = Number::default();
        let two = [gauge.raise(), gauge.raise()];
        assert_eq!(gauge.load(Relaxed), 2);
        drop(two);
        assert_eq!(gauge.load(Relaxed), 0);
    }
}
