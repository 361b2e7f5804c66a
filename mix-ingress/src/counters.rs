//! The counters of the process: every connection and packet ends in one of them.

pub use figures::mix_ingress::Counters;
use ipc::ingress_store::DeliveryRefusal;
use wire::surb_ack::SplitError;
use worker::{counter::count, peer::PortCounters};

use crate::{replay::NoRoom, sphinx::UnwrapError};

/// What becomes of connections.
pub(crate) fn port(counters: &Counters) -> PortCounters<'_> {
    PortCounters {
        accepted: &counters.connections_accepted,
        evicted: &counters.connections_evicted,
        refused_limit: &counters.connections_refused_limit,
        refused_prefix: &counters.connections_refused_prefix,
        refused_descriptors: &counters.connections_refused_descriptors,
    }
}

pub(crate) fn unwrap_failed(counters: &Counters, error: UnwrapError) {
    count(match error {
        UnwrapError::WrongLength(_) => &counters.unwrap_wrong_length,
        UnwrapError::BadMac => &counters.unwrap_bad_mac,
        UnwrapError::UnknownFlag => &counters.unwrap_unknown_flag,
        UnwrapError::ForwardHop => &counters.unwrap_forward_hop,
        UnwrapError::BadPadding => &counters.unwrap_bad_padding,
    });
}

pub(crate) fn split_failed(counters: &Counters, error: SplitError) {
    count(match error {
        SplitError::NoSurbAck(_) => &counters.split_no_surb_ack,
        SplitError::BadAckAddress(_) => &counters.split_bad_ack_address,
    });
}

pub(crate) fn no_room_for_mark(counters: &Counters, reason: NoRoom) {
    count(match reason {
        NoRoom::ShareUsedUp => &counters.refused_replay_share,
        NoRoom::Full => &counters.refused_replay_full,
    });
}

pub(crate) fn refused(counters: &Counters, reason: DeliveryRefusal) {
    count(match reason {
        DeliveryRefusal::UnknownClient => &counters.refused_unknown_client,
        DeliveryRefusal::InboxFull => &counters.refused_inbox_full,
        DeliveryRefusal::StorageFailed => &counters.refused_storage_failed,
        DeliveryRefusal::UnfitForClient => &counters.refused_unfit_for_client,
    });
}
