//! The figures of `http-api`.

crate::figures! {
    /// The counters of the process.
    pub struct HttpCounters {
        /// Connections that were taken.
        counter connections_accepted,
        /// Connections closed at once because as many as allowed were open and still closing.
        counter connections_refused_limit,
        /// Connections closed at once because as many as allowed were open from the same address prefix, or from a network around it.
        counter connections_refused_prefix,
        /// Connections closed to make room for another, as the oldest of the network that held most.
        counter connections_evicted,
        /// Connections closed at once because the process had no descriptor left for them.
        counter connections_refused_descriptors,
        /// Requests that were answered with a document.
        counter answers_2xx,
        /// Requests that were answered with a refusal: an unknown path, method or output.
        counter answers_4xx,
        /// Requests that were answered with a request to come later.
        counter answers_5xx,
        /// Connections closed because a request did not come whole in time.
        counter request_timeouts,
        /// Connections closed because an answer was not taken in time.
        counter answer_timeouts,
        /// Connections closed because no further request began in time.
        counter idle_closures,
        /// Connections closed because the head of a request was too long, or had too many fields.
        counter oversized_heads,
        /// Connections closed because their bytes were not HTTP.
        counter bad_heads,
        /// Of the connections whose bytes were not HTTP, those that began as TLS does. They are not in `bad_heads`.
        counter tls_hellos,
        /// Connections that ended in the middle of a request.
        counter requests_cut_short,
        /// Connections of the operator's programs that were taken.
        counter operator_connections_accepted,
        /// Connections at the port for metrics closed at once because their address is not in `[metrics] allow`.
        counter operator_connections_refused,
        /// Connections of the operator's programs closed to make room for another, as the oldest.
        counter operator_connections_evicted,
        /// Connections of readers that are open.
        gauge connections_open,
    }
    refusals {
        connections_refused_prefix, connections_evicted, operator_connections_refused,
        operator_connections_evicted, request_timeouts, answer_timeouts, oversized_heads, bad_heads,
        tls_hellos,
    }
    conditions {
        connections_refused_limit, connections_refused_descriptors,
    }
}
