//! The counters of the process. Each connection ends in at most one of those from `request_timeouts` on.

pub use figures::http_api::HttpCounters;
use hyper::StatusCode;
use worker::{counter::count, peer::PortCounters};

/// What becomes of connections.
pub(crate) fn port(counters: &HttpCounters) -> PortCounters<'_> {
    PortCounters {
        accepted: &counters.connections_accepted,
        evicted: &counters.connections_evicted,
        refused_limit: &counters.connections_refused_limit,
        refused_prefix: &counters.connections_refused_prefix,
        refused_descriptors: &counters.connections_refused_descriptors,
    }
}

pub(crate) fn answered(counters: &HttpCounters, status: StatusCode) {
    count(match status {
        status if status.is_success() => &counters.answers_2xx,
        status if status.is_server_error() => &counters.answers_5xx,
        _ => &counters.answers_4xx,
    });
}
