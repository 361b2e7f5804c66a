//! The counters of the process. Each connection ends in at most one of those from `request_timeouts` on.

use hyper::StatusCode;
use worker::{counter::count, peer::PortCounters};

worker::counters! {
    /// The counters of the process.
    pub struct HttpCounters {
        /// Connections that were taken.
        connections_accepted,
        /// Connections closed at once because as many as allowed were open and still closing.
        connections_refused_limit,
        /// Connections closed at once because as many as allowed were open from the same address prefix, or from a network around it.
        connections_refused_prefix,
        /// Connections closed to make room for another, as the oldest of the network that held most.
        connections_evicted,
        /// Connections closed at once because the process had no descriptor left for them.
        connections_refused_descriptors,
        /// Requests that were answered with a document.
        answers_2xx,
        /// Requests that were answered with a refusal: an unknown path, method or output.
        answers_4xx,
        /// Requests that were answered with a request to come later.
        answers_5xx,
        /// Connections closed because a request did not come whole in time.
        request_timeouts,
        /// Connections closed because an answer was not taken in time.
        answer_timeouts,
        /// Connections closed because no further request began in time.
        idle_closures,
        /// Connections closed because the head of a request was too long, or had too many fields.
        oversized_heads,
        /// Connections closed because their bytes were not HTTP.
        bad_heads,
        /// Of the connections whose bytes were not HTTP, those that began as TLS does. They are not in `bad_heads`.
        tls_hellos,
        /// Connections that ended in the middle of a request.
        requests_cut_short,
    }
    refusals {
        connections_refused_prefix, connections_evicted, request_timeouts, answer_timeouts, oversized_heads, bad_heads,
        tls_hellos,
    }
    conditions {
        connections_refused_limit, connections_refused_descriptors,
    }
}

impl HttpCounters {
    pub(crate) fn port(&self) -> PortCounters<'_> {
        PortCounters {
            accepted: &self.connections_accepted,
            evicted: &self.connections_evicted,
            refused_limit: &self.connections_refused_limit,
            refused_prefix: &self.connections_refused_prefix,
            refused_descriptors: &self.connections_refused_descriptors,
        }
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        count(match status {
            status if status.is_success() => &self.answers_2xx,
            status if status.is_server_error() => &self.answers_5xx,
            _ => &self.answers_4xx,
        });
    }
}
