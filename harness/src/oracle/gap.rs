//! A time from which the gateway may have forgotten which packets it saw.

use std::time::Instant;

/// The gateway may have forgotten what it saw in this time.
#[derive(Debug, Clone, Copy)]
pub struct Gap {
    /// Its beginning; none if the gateway never saved what it saw.
    pub from: Option<Instant>,
    /// Its end.
    pub to: Instant,
}

impl Gap {
    /// Whether something that happened at some time between these two may have been forgotten.
    pub fn may_hold(&self, earliest: Instant, latest: Instant) -> bool {
        earliest <= self.to && self.from.is_none_or(|from| latest > from)
    }
}
