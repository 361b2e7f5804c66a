//! Time limits that the operator does not choose.

use std::time::Duration;

/// Time limits of a connection to a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A connection on which nothing was sent for this long is closed.
    pub idle: Duration,
    /// A next hop must take a whole packet within this time, or its connection is dropped.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { idle: Duration::from_secs(600), write: Duration::from_secs(30) }
    }
}
