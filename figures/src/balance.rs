//! Sums that have to come out even: what came in has ended in a way that is counted, or is still held.
//!
//! The process that holds something counts how much it holds apart from how it ends, so that an end that nobody counted shows. A process
//! that dies holds nothing any more; its successor counts as lost what had not ended.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ipc::Role;

use crate::{Page, Reading, mix_egress, mix_ingress, number::PageTooShort};

/// A sum over the figures of one page.
#[derive(Debug)]
pub struct Balance {
    /// Its page.
    pub page: Page,
    /// What came in.
    came: &'static [&'static str],
    /// What has ended, by how.
    ended: [&'static [&'static str]; 2],
    /// What is held now.
    held: &'static str,
}

/// The packets that `mix-ingress` received: accepted, dropped, or in flight.
pub const RECEIVED: Balance = Balance {
    page: Page::Worker(Role::MixIngress),
    came: &["packets_received"],
    ended: [&mix_ingress::ACCEPTED, &mix_ingress::DROPPED],
    held: "packets_in_flight",
};

/// The packets that `mix-egress` took: sent, dropped, or waiting.
pub const FORWARDED: Balance = Balance {
    page: Page::Worker(Role::MixEgress),
    came: &mix_egress::TAKEN,
    ended: [&["packets_sent"], &mix_egress::DROPPED],
    held: "packets_waiting",
};

impl Balance {
    /// What came in and has not ended.
    pub fn open(&self, reading: &Reading) -> u64 {
        reading.sum(self.came).saturating_sub(self.all_ended(reading))
    }

    fn all_ended(&self, reading: &Reading) -> u64 {
        self.ended.iter().fold(0, |sum, fields| sum.saturating_add(reading.sum(fields)))
    }

    /// How far the sum is off at least. The page is read twice, one reading right after the other, because numbers change meanwhile: the
    /// sum is even if any values between the two make it so.
    pub fn off(&self, [first, second]: &[Reading; 2]) -> u64 {
        let came = [first, second].map(|reading| i128::from(reading.sum(self.came)));
        let ended = [first, second].map(|reading| i128::from(self.all_ended(reading)));
        let mut held = [first, second].map(|reading| i128::from(reading.value(self.held)));
        held.sort_unstable();
        let least = came[0] - ended[1] - held[1];
        let most = came[1] - ended[0] - held[0];
        let off = if least > 0 { least } else { -most };
        u64::try_from(off.max(0)).unwrap_or(u64::MAX)
    }
}

impl mix_ingress::Counters {
    /// The figures of a new process in its page. What an earlier one held when it died is counted as lost.
    ///
    /// # Errors
    /// If the page is too short.
    pub fn take_up(page: &'static [AtomicU64]) -> Result<Self, PageTooShort> {
        let found = Reading::take(RECEIVED.page, |place| Some(page.get(place)?.load(Relaxed)));
        let figures = Self::in_page(page)?;
        figures.packets_lost_at_death.fetch_add(RECEIVED.open(&found), Relaxed);
        Ok(figures)
    }
}

impl mix_egress::EgressCounters {
    /// The figures of a new process in its page. What an earlier one held when it died is counted as lost.
    ///
    /// # Errors
    /// If the page is too short.
    pub fn take_up(page: &'static [AtomicU64]) -> Result<Self, PageTooShort> {
        let found = Reading::take(FORWARDED.page, |place| Some(page.get(place)?.load(Relaxed)));
        let figures = Self::in_page(page)?;
        figures.packets_lost_at_death.fetch_add(FORWARDED.open(&found), Relaxed);
        Ok(figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page of `mix-ingress` with these numbers.
    fn page(fields: &[(&str, u64)]) -> Reading {
        let page = RECEIVED.page;
        let values = page
            .table()
            .iter()
            .map(|figure| fields.iter().find(|(field, _)| *field == figure.field).map_or(0, |(_, value)| *value));
        Reading::of_values(page, values.collect()).unwrap()
    }

    #[test]
    fn a_sum_is_even_if_every_packet_has_ended_or_is_held() {
        let even = page(&[("packets_received", 10), ("acks_paid", 6), ("replayed", 1), ("packets_in_flight", 3)]);
        assert_eq!((RECEIVED.off(&[even.clone(), even.clone()]), RECEIVED.open(&even)), (0, 3));
    }

    #[test]
    fn a_missing_count_shows() {
        let missing = page(&[("packets_received", 10), ("acks_paid", 6), ("packets_in_flight", 3)]);
        assert_eq!(RECEIVED.off(&[missing.clone(), missing]), 1);
        let twice = page(&[("packets_received", 10), ("acks_paid", 12)]);
        assert_eq!(RECEIVED.off(&[twice.clone(), twice]), 2);
    }

    #[test]
    fn packets_that_pass_between_two_readings_are_no_fault() {
        let before = page(&[("packets_received", 10), ("acks_paid", 6), ("packets_in_flight", 3)]);
        let after = page(&[("packets_received", 14), ("acks_paid", 9), ("replayed", 2), ("packets_in_flight", 5)]);
        assert_eq!(RECEIVED.off(&[before, after]), 0);
    }

    #[test]
    fn every_way_to_end_is_a_counter_of_its_page() {
        for sum in [RECEIVED, FORWARDED] {
            let fields = sum.came.iter().chain(sum.ended.iter().copied().flatten()).chain([&sum.held]);
            for field in fields {
                assert!(sum.page.table().iter().any(|figure| figure.field == *field), "{field}");
            }
        }
    }
}
