//! The counters of the process: every connection and packet ends in one of them.

use ipc::{http_api::PacketFigures, ingress_store::DeliveryRefusal};
use wire::surb_ack::SplitError;
use worker::{counter::sum, peer::PortCounters};

use crate::{replay::NoRoom, sphinx::UnwrapError};

worker::counters! {
    /// The counters of the process. Each packet received ends in exactly one of those from `unwrap_wrong_length` to
    /// `accepted_without_ack`.
    pub struct Counters {
        /// Connections that were taken.
        connections_accepted,
        /// Connections closed at once because as many as allowed were open, and each had proved more or was still closing.
        connections_refused_limit,
        /// Connections closed at once because as many as allowed were open from the same address prefix, or from a network around
        /// it, and each had proved more.
        connections_refused_prefix,
        /// Connections closed to make room for another, as those that had proved least of the network that held most.
        connections_evicted,
        /// Connections closed at once because the process had no descriptor left for them.
        connections_refused_descriptors,
        /// Connections closed because their bytes were no frame.
        bad_frames,
        /// Connections closed because so many of their packets in a row did not unwrap as are allowed.
        malformed_limit_closures,
        /// Connections closed because a frame that had begun did not end in time.
        half_frame_timeouts,
        /// Connections closed because they had begun the largest frame for the longest time, and the memory for such was needed.
        half_frames_for_others,
        /// Connections that ended in the middle of a frame.
        frames_cut_short,
        /// Whole frames read.
        packets_received,
        /// Packets of a length that no Sphinx packet has.
        unwrap_wrong_length,
        /// Packets whose header was not made for our key, or was altered.
        unwrap_bad_mac,
        /// Packets that were seen before; a few are new and were taken for such.
        replayed,
        /// Packets with an unknown routing flag.
        unwrap_unknown_flag,
        /// Packets that wanted to be forwarded to a mix node.
        unwrap_forward_hop,
        /// Packets whose payload did not decrypt.
        unwrap_bad_padding,
        /// Packets lost because unwrapping one of their batch panicked. A fault of ours.
        unwrap_panicked,
        /// Packets too short to carry a SURB-ack.
        split_no_surb_ack,
        /// Packets whose SURB-ack had no address.
        split_bad_ack_address,
        /// Packets refused because room for marks of packets seen was short, and their destination had had its share.
        refused_replay_share,
        /// Packets refused because there was no room for marks of packets seen.
        refused_replay_full,
        /// Messages that `store` refused: nobody is registered under the destination.
        refused_unknown_client,
        /// Messages that `store` refused: the inbox is full.
        refused_inbox_full,
        /// Messages that `store` refused: it could not write.
        refused_storage_failed,
        /// Messages that `store` refused: they would crash a client of 2021.
        refused_unfit_for_client,
        /// Packets that were not answered when the time for draining was over.
        packets_cut_off,
        /// SURB-acks handed to the link to `mix-egress`, after acceptance.
        acks_paid,
        /// Messages accepted that carried no SURB-ack, because they are acknowledgements themselves.
        accepted_without_ack,
        /// Of the SURB-acks paid, those that the link could not take.
        acks_lost_to_egress,
        /// Messages sent to a new `store` because the old one had not answered.
        deliveries_sent_again,
        /// Times that as many messages or bytes waited for an answer of `store` as `packets_in_flight` and `bytes_in_flight`
        /// allow, and nothing more was read from the mixnet until one came.
        window_full,
        /// Times that new marks of packets seen were saved.
        replay_snapshots_saved,
        /// Times that they could not be saved.
        replay_snapshots_failed,
        /// Memory in use now, in bytes, for frames that have begun and not ended.
        half_frame_memory,
        /// Memory in use now, in bytes, for SURB-acks on their way to `mix-egress`.
        ack_memory,
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

impl Counters {
    /// What the public is told.
    pub(crate) fn packets(&self) -> PacketFigures {
        PacketFigures {
            received: sum(&[&self.packets_received]),
            sent: 0,
            dropped: sum(&[
                &self.unwrap_wrong_length,
                &self.unwrap_bad_mac,
                &self.replayed,
                &self.unwrap_unknown_flag,
                &self.unwrap_forward_hop,
                &self.unwrap_bad_padding,
                &self.unwrap_panicked,
                &self.split_no_surb_ack,
                &self.split_bad_ack_address,
                &self.refused_replay_share,
                &self.refused_replay_full,
                &self.refused_unknown_client,
                &self.refused_inbox_full,
                &self.refused_storage_failed,
                &self.refused_unfit_for_client,
                &self.packets_cut_off,
            ]),
        }
    }

    pub(crate) fn port(&self) -> PortCounters<'_> {
        PortCounters {
            accepted: &self.connections_accepted,
            evicted: &self.connections_evicted,
            refused_limit: &self.connections_refused_limit,
            refused_prefix: &self.connections_refused_prefix,
            refused_descriptors: &self.connections_refused_descriptors,
        }
    }

    pub(crate) fn unwrap_failed(&self, error: UnwrapError) {
        worker::counter::count(match error {
            UnwrapError::WrongLength(_) => &self.unwrap_wrong_length,
            UnwrapError::BadMac => &self.unwrap_bad_mac,
            UnwrapError::UnknownFlag => &self.unwrap_unknown_flag,
            UnwrapError::ForwardHop => &self.unwrap_forward_hop,
            UnwrapError::BadPadding => &self.unwrap_bad_padding,
        });
    }

    pub(crate) fn split_failed(&self, error: SplitError) {
        worker::counter::count(match error {
            SplitError::NoSurbAck(_) => &self.split_no_surb_ack,
            SplitError::BadAckAddress(_) => &self.split_bad_ack_address,
        });
    }

    pub(crate) fn no_room_for_mark(&self, reason: NoRoom) {
        worker::counter::count(match reason {
            NoRoom::ShareUsedUp => &self.refused_replay_share,
            NoRoom::Full => &self.refused_replay_full,
        });
    }

    pub(crate) fn refused(&self, reason: DeliveryRefusal) {
        worker::counter::count(match reason {
            DeliveryRefusal::UnknownClient => &self.refused_unknown_client,
            DeliveryRefusal::InboxFull => &self.refused_inbox_full,
            DeliveryRefusal::StorageFailed => &self.refused_storage_failed,
            DeliveryRefusal::UnfitForClient => &self.refused_unfit_for_client,
        });
    }
}
