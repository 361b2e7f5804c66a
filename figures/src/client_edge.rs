//! The figures of `client-edge`.

crate::figures! {
    /// The counters of the process.
    pub struct Counters {
        /// Connections taken from the listener.
        counter connections_accepted,
        /// Connections closed at once because as many as allowed were open, and each of these had proved more or was still closing.
        counter connections_refused_limit,
        /// Connections closed at once because as many as allowed were open from the same address prefix, or from a network around it,
        /// and each of these had proved more.
        counter connections_refused_prefix,
        /// Connections closed to make room for another: of the network with the most, those that had proved least.
        counter connections_evicted,
        /// Connections closed before login to make room for another: of the network with the most, the oldest.
        counter unauthenticated_evicted,
        /// Connections closed at once because too many that were evicted before login had not ended yet.
        counter unauthenticated_refused,
        /// Connections closed at once because the process had no descriptor left.
        counter connections_refused_descriptors,
        /// Connections closed at once because the operator lets no newcomers in.
        counter newcomers_refused,
        /// Connections that did not become a websocket, or not in time.
        counter upgrades_failed,
        /// Requests for the page that tells proxies and uptime checks that the gateway is up.
        counter pages_served,
        /// Connections closed because no registration or login that succeeded had begun in time.
        counter first_request_timeouts,
        /// Connections closed because the second handshake message did not come in time.
        counter handshake_timeouts,
        /// Registrations completed.
        counter registrations,
        /// Authentications completed.
        counter authentications,
        /// Registrations refused because as many as allowed had come from the same address prefix.
        counter registrations_refused_rate,
        /// Authentications refused because as many as allowed had come from the same address prefix.
        counter logins_refused_rate,
        /// Requests that were refused, registrations and authentications among them.
        counter refusals,
        /// Connections closed because they needed `store` and it was not there, or did not answer in time.
        counter store_unavailable,
        /// Connections closed because the client broke the websocket protocol or sent a message over the size limit.
        counter websocket_faults,
        /// Connections closed because the client sent more Pings, unsolicited Pongs or fragments than any client needs, or a longer
        /// message before login than a login has.
        counter frame_floods,
        /// Connections closed because the memory for messages under way was needed, and theirs had taken the most for the longest time.
        counter half_messages_for_others,
        /// Sessions closed because a message that the client had begun did not end in time.
        counter half_message_timeouts,
        /// Binary frames refused because they were not sealed with the session's key, or were no forward request.
        counter malformed_frames,
        /// Binary frames and encrypted requests refused because the gateway had sealed them itself: somebody sends back what comes on a
        /// client's connection.
        counter reflected_frames,
        /// Packets and requests refused because their client had asked to be forgotten.
        counter requests_without_account,
        /// Connections closed because as many frames in a row were refused as are allowed.
        counter malformed_limit_closures,
        /// Clients' packets handed over for `mix-egress`.
        counter packets_forwarded,
        /// Clients' packets dropped because as many new next hops as allowed had come from the client's address prefix in a minute.
        counter new_next_hops_refused,
        /// Clients' packets that were sent over the link to `mix-egress`.
        counter packets_sent,
        /// Clients' packets that were handed over and that the link to `mix-egress` could not take.
        counter packets_lost_to_egress,
        /// Clients' packets that waited for the link to `mix-egress` when the process died.
        counter packets_lost_at_death,
        /// Messages queued to be written to clients.
        counter messages_pushed,
        /// Receipts that clients have proved; each covers one message or more.
        counter receipts,
        /// Sessions closed because the client proved no receipt in time.
        counter receipt_timeouts,
        /// Sessions closed because the client answered none of several keepalive Pings in a row.
        counter keepalives_unanswered,
        /// Sessions closed because the client did not read in time all that was queued for it.
        counter unwritten_timeouts,
        /// Sessions that did not answer a probe in time.
        counter probes_unanswered,
        /// Sessions that `store` ended.
        counter sessions_ended_by_store,
        /// Times the link to `store` was lost.
        counter store_link_losses,
        /// Times `store` broke a rule of the link.
        counter store_violations,
        /// Memory in use now, in bytes, for mail that clients were pushed and have not proved received.
        gauge pushed_memory (bytes),
        /// Memory in use now, in bytes, for messages that have begun and not ended.
        gauge half_message_memory (bytes),
        /// Memory in use now, in bytes, for clients' packets on their way to `mix-egress`.
        gauge packet_memory (bytes),
        /// The most memory for mail that clients were pushed and have not proved received.
        gauge pushed_memory_limit (bytes),
        /// The most memory for messages that have begun and not ended.
        gauge half_message_memory_limit (bytes),
        /// The most memory for clients' packets on their way to `mix-egress`.
        gauge packet_memory_limit (bytes),
        /// Clients' packets that wait for the link to `mix-egress`.
        gauge packets_waiting,
        /// Connections of clients that are open, before and after login.
        gauge connections_open,
        /// The most connections of clients.
        gauge connections_limit,
        /// Clients that are logged in, by the era of their protocol.
        gauge attached_2021 = "clients_attached" { era: "2021" },
        /// Clients that are logged in, by the era of their protocol.
        gauge attached_2022 = "clients_attached" { era: "2022" },
        /// Clients that are logged in, by the era of their protocol.
        gauge attached_2024 = "clients_attached" { era: "2024" },
    }
    refusals {
        connections_refused_prefix, connections_evicted, unauthenticated_evicted, unauthenticated_refused,
        newcomers_refused, upgrades_failed, first_request_timeouts, handshake_timeouts, registrations_refused_rate, logins_refused_rate,
        refusals, websocket_faults, frame_floods, half_messages_for_others, half_message_timeouts, malformed_frames,
        reflected_frames, requests_without_account, malformed_limit_closures, new_next_hops_refused,
        packets_lost_to_egress, receipt_timeouts, unwritten_timeouts, probes_unanswered,
    }
    conditions {
        connections_refused_limit, connections_refused_descriptors, store_unavailable,
    }
}

/// Clients' packets handed over that were not sent to `mix-egress`, by reason.
pub const PACKETS_LOST: [&str; 2] = ["packets_lost_to_egress", "packets_lost_at_death"];

/// Clients that are logged in, by era.
pub const ATTACHED: [&str; 3] = ["attached_2021", "attached_2022", "attached_2024"];
