//! The figures of `mix-ingress`.

/// Packets received that ended without being accepted, by reason.
pub const DROPPED: [&str; 17] = [
    "unwrap_wrong_length",
    "unwrap_bad_mac",
    "replayed",
    "unwrap_unknown_flag",
    "unwrap_forward_hop",
    "unwrap_bad_padding",
    "unwrap_panicked",
    "split_no_surb_ack",
    "split_bad_ack_address",
    "refused_replay_share",
    "refused_replay_full",
    "refused_unknown_client",
    "refused_inbox_full",
    "refused_storage_failed",
    "refused_unfit_for_client",
    "packets_cut_off",
    "packets_lost_at_death",
];

crate::figures! {
    /// The counters of the process. Each packet received ends in exactly one of those from `unwrap_wrong_length` to
    /// `accepted_without_ack`.
    pub struct Counters {
        /// Connections that were taken.
        counter connections_accepted,
        /// Connections closed at once because as many as allowed were open, and each had proved more or was still closing.
        counter connections_refused_limit,
        /// Connections closed at once because as many as allowed were open from the same address prefix, or from a network around
        /// it, and each had proved more.
        counter connections_refused_prefix,
        /// Connections closed to make room for another, as those that had proved least of the network that held most.
        counter connections_evicted,
        /// Connections closed at once because the process had no descriptor left for them.
        counter connections_refused_descriptors,
        /// Connections closed because their bytes were no frame.
        counter bad_frames,
        /// Connections closed because so many of their packets in a row did not unwrap as are allowed.
        counter malformed_limit_closures,
        /// Connections closed because a frame that had begun did not end in time.
        counter half_frame_timeouts,
        /// Connections closed because they had begun the largest frame for the longest time, and the memory for such was needed.
        counter half_frames_for_others,
        /// Connections that ended in the middle of a frame.
        counter frames_cut_short,
        /// Whole frames read.
        counter packets_received,
        /// Packets of a length that no Sphinx packet has.
        counter unwrap_wrong_length,
        /// Packets whose header was not made for our key, or was altered.
        counter unwrap_bad_mac,
        /// Packets that were seen before; a few are new and were taken for such.
        counter replayed,
        /// Packets with an unknown routing flag.
        counter unwrap_unknown_flag,
        /// Packets that wanted to be forwarded to a mix node.
        counter unwrap_forward_hop,
        /// Packets whose payload did not decrypt.
        counter unwrap_bad_padding,
        /// Packets lost because unwrapping one of their batch panicked. A fault of ours.
        counter unwrap_panicked,
        /// Packets too short to carry a SURB-ack.
        counter split_no_surb_ack,
        /// Packets whose SURB-ack had no address.
        counter split_bad_ack_address,
        /// Packets refused because room for marks of packets seen was short, and their destination had had its share.
        counter refused_replay_share,
        /// Packets refused because there was no room for marks of packets seen.
        counter refused_replay_full,
        /// Messages that `store` refused: nobody is registered under the destination.
        counter refused_unknown_client,
        /// Messages that `store` refused: the inbox is full.
        counter refused_inbox_full,
        /// Messages that `store` refused: it could not write.
        counter refused_storage_failed,
        /// Messages that `store` refused: they would crash a client of 2021.
        counter refused_unfit_for_client,
        /// Packets that were not answered when the time for draining was over.
        counter packets_cut_off,
        /// Packets that a process which died had received and not answered.
        counter packets_lost_at_death,
        /// SURB-acks handed over for `mix-egress`, after acceptance.
        counter acks_paid,
        /// Messages accepted that carried no SURB-ack, because they are acknowledgements themselves.
        counter accepted_without_ack,
        /// Of the SURB-acks paid, those that were sent over the link to `mix-egress`.
        counter acks_sent,
        /// Of the SURB-acks paid, those that the link could not take.
        counter acks_lost_to_egress,
        /// Of the SURB-acks paid, those that waited for the link when the process died.
        counter acks_lost_at_death,
        /// Messages sent to a new `store` because the old one had not answered.
        counter deliveries_sent_again,
        /// Times that as many messages or bytes waited for an answer of `store` as `packets_in_flight` and `bytes_in_flight`
        /// allow, and nothing more was read from the mixnet until one came.
        counter window_full,
        /// Times that new marks of packets seen were saved.
        counter replay_snapshots_saved,
        /// Times that they could not be saved.
        counter replay_snapshots_failed,
        /// Memory in use now, in bytes, for frames that have begun and not ended.
        gauge half_frame_memory (bytes),
        /// The most memory for frames that have begun and not ended.
        gauge half_frame_memory_limit (bytes),
        /// Memory in use now, in bytes, for SURB-acks on their way to `mix-egress`.
        gauge ack_memory (bytes),
        /// The most memory for SURB-acks on their way to `mix-egress`.
        gauge ack_memory_limit (bytes),
        /// Connections of mix nodes that are open.
        gauge connections_open,
        /// The most connections of mix nodes.
        gauge connections_limit,
        /// Packets received that have not ended yet.
        gauge packets_in_flight,
        /// SURB-acks that wait for the link to `mix-egress`.
        gauge acks_waiting,
        /// Messages that may still be sent to `store` before it answers one.
        gauge window_messages_left,
        /// The most messages that wait for an answer of `store`.
        gauge window_messages_limit,
        /// Bytes of messages that may still be sent to `store` before it answers one.
        gauge window_size_left (bytes),
        /// The most bytes of messages that wait for an answer of `store`.
        gauge window_size_limit (bytes),
        /// Packets that are marked as seen.
        gauge replay_marks,
        /// Packets that can be marked as seen.
        gauge replay_marks_limit,
        /// When the marks of packets seen were last saved, in seconds since 1970.
        gauge replay_saved_timestamp (seconds),
    }
    refusals {
        connections_refused_prefix, connections_evicted, bad_frames, malformed_limit_closures, half_frame_timeouts,
        half_frames_for_others, unwrap_wrong_length, unwrap_bad_mac, replayed, unwrap_unknown_flag,
        unwrap_forward_hop, unwrap_bad_padding, split_no_surb_ack, split_bad_ack_address, refused_unknown_client,
        refused_inbox_full, refused_storage_failed, refused_unfit_for_client, refused_replay_share, packets_cut_off,
        acks_lost_to_egress,
    }
    conditions {
        connections_refused_limit, connections_refused_descriptors, unwrap_panicked, refused_replay_full,
        replay_snapshots_failed,
    }
}

/// SURB-acks paid that were not sent to `mix-egress`, by reason.
pub const ACKS_LOST: [&str; 2] = ["acks_lost_to_egress", "acks_lost_at_death"];

/// Packets received that were accepted.
pub const ACCEPTED: [&str; 2] = ["acks_paid", "accepted_without_ack"];
