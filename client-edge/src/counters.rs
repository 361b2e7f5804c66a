//! What became of connections, requests and mail, by name.

proto::counters! {
    /// The counters of the process.
    pub struct Counters {
        /// Connections taken from the listener.
        connections_accepted,
        /// Connections closed at once because as many as allowed were open, and each had proved more or was still closing.
        connections_refused_limit,
        /// Connections closed at once because as many as allowed were open from the same address prefix, or from a network around
        /// it, and each had proved more.
        connections_refused_prefix,
        /// Connections closed to make room for another, as those that had proved least of the network that held most.
        connections_evicted,
        /// Connections closed before authentication, as the oldest of the network that had most of them, because one too many
        /// came.
        unauthenticated_evicted,
        /// Connections closed at once because too many that were closed before authentication were not gone yet.
        unauthenticated_refused,
        /// Connections closed at once because the process had no descriptor left.
        connections_refused_descriptors,
        /// Connections that did not become a websocket in time, or at all.
        upgrades_failed,
        /// Requests for the page that tells proxies and uptime checks that the gateway is there.
        pages_served,
        /// Connections closed because no request came in time before authentication.
        first_request_timeouts,
        /// Connections closed because the second handshake message did not come in time.
        handshake_timeouts,
        /// Registrations completed.
        registrations,
        /// Authentications completed.
        authentications,
        /// Registrations not begun because as many as allowed had been from the same address prefix.
        registrations_refused_rate,
        /// Authentications that `store` was not asked about because as many as allowed had come from the same address prefix.
        logins_refused_rate,
        /// Registrations and authentications that were refused.
        refusals,
        /// Connections closed because they needed `store` and it was not there, or did not answer in time.
        store_unavailable,
        /// Connections closed because the client broke the websocket protocol or sent a message over the size limit.
        websocket_faults,
        /// Connections closed because the client sent more Pings, Pongs nobody asked for, or fragments than anybody
        /// needs, or a longer message before it logged in than a login has.
        frame_floods,
        /// Connections closed because they had begun the largest message for the longest time, and the memory for such was needed.
        half_messages_for_others,
        /// Sessions closed because a message that the client had begun did not end in time.
        half_message_timeouts,
        /// Binary frames refused: not sealed with the session's key, or no forward request.
        malformed_frames,
        /// Binary frames and encrypted requests refused because the gateway had sealed them itself: somebody listens on a client's
        /// connection and sends back what comes.
        reflected_frames,
        /// Packets and requests refused because their client had asked to be forgotten.
        requests_without_account,
        /// Connections closed because so many frames in a row were refused as are allowed.
        malformed_limit_closures,
        /// Clients' packets handed over to `mix-egress`.
        packets_forwarded,
        /// Clients' packets dropped because as many new next hops were named from the client's address as may be in a minute.
        new_next_hops_refused,
        /// Of those handed over, packets lost on the way to `mix-egress`.
        packets_lost_to_egress,
        /// Messages taken up to be written to clients.
        messages_pushed,
        /// Receipts that clients have proved and `store` was told of; each covers one message or more.
        receipts,
        /// Sessions closed because the client proved no receipt in time.
        receipt_timeouts,
        /// Sessions closed because the client answered none of several Pings in a row that kept its connection alive.
        keepalives_unanswered,
        /// Sessions closed because the client's socket did not take in time all that was for the client.
        unwritten_timeouts,
        /// Sessions that did not answer a probe in time.
        probes_unanswered,
        /// Sessions that `store` ended.
        sessions_ended_by_store,
        /// Times the link to `store` was lost.
        store_link_losses,
        /// Times `store` broke a rule of the link.
        store_violations,
        /// Memory in use now, in bytes, for what clients were pushed and have not proved received.
        pushed_memory,
        /// Memory in use now, in bytes, for messages that have begun and not ended.
        half_message_memory,
        /// Memory in use now, in bytes, for clients' packets on their way to `mix-egress`.
        packet_memory,
    }
    refusals {
        connections_refused_prefix, connections_evicted, unauthenticated_evicted, unauthenticated_refused,
        upgrades_failed, first_request_timeouts, handshake_timeouts, registrations_refused_rate, logins_refused_rate,
        refusals, websocket_faults, frame_floods, half_messages_for_others, half_message_timeouts, malformed_frames,
        reflected_frames, requests_without_account, malformed_limit_closures, new_next_hops_refused,
        packets_lost_to_egress, receipt_timeouts, unwritten_timeouts, probes_unanswered,
    }
    conditions {
        connections_refused_limit, connections_refused_descriptors, store_unavailable,
    }
}
