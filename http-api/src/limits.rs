//! What each connection may take.

use std::{sync::Arc, time::Duration};

use ipc::control::HttpConfig;

use crate::counters::HttpCounters;

/// What a connection may take, and where its end is counted.
#[derive(Clone, Debug)]
pub struct Limits {
    /// For a request to come whole, and for its answer to be taken.
    pub(crate) request: Duration,
    pub(crate) requests_per_connection: u32,
    pub(crate) counters: Arc<HttpCounters>,
}

impl Limits {
    /// Those of the configuration.
    pub fn of(config: &HttpConfig, counters: Arc<HttpCounters>) -> Self {
        Self { request: config.request, requests_per_connection: config.requests_per_connection, counters }
    }
}
