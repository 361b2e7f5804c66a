//! Link `mix-ingress` ↔ `store`: deliveries one way, their fate the other.
//!
//! *mix-ingress trusts store* to answer [`StoreToIngress::AcceptDelivery`] only when the message is durable or the
//! client has proved receipt: the SURB-ack leaves on that word. *store trusts mix-ingress* with nothing but
//! destinations and ciphertext: a false ingress can put false mail into inboxes and learn who is registered, no more.
//!
//! There are no phases: a delivery may be sent at any time within the [`WINDOW`], and is answered exactly once. An answer
//! to a delivery that is not outstanding, or a delivery beyond the window, is a violation.

use bincode::{Decode, Encode};

use crate::{address::ClientAddress, ipc::Opaque, link::Window};

/// How much may be delivered and not yet answered: rate times latency, about 25,000 packets a second at 250 ms of
/// waiting for a receipt plus a commit; large packets are bounded by their bytes.
pub const WINDOW: Window = Window { messages: 8_000, bytes: 20 * 1024 * 1024 };

/// Names one delivery of one `mix-ingress`; counts up from zero and is used again when a new `store` is asked the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct DeliveryId(pub u64);

/// From `mix-ingress`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum IngressToStore {
    /// Put this message into that client's inbox.
    DeliverMessage {
        /// Named in the answer.
        delivery: DeliveryId,
        /// Whose inbox.
        destination: ClientAddress,
        /// What the client is to get: the plaintext of the final hop behind the SURB-ack.
        message: Opaque,
    },
}

/// From `store`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StoreToIngress {
    /// The message is durable, or its client has proved receipt: pay the SURB-ack.
    AcceptDelivery {
        /// Which.
        delivery: DeliveryId,
    },
    /// The message was not taken: no SURB-ack.
    RefuseDelivery {
        /// Which.
        delivery: DeliveryId,
        /// Why; each reason has a counter of its own.
        reason: Refusal,
    },
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Refusal {
    /// Nobody is registered under the destination.
    UnknownClient,
    /// The inbox holds as many messages or bytes as it may.
    InboxFull,
    /// The message could not be written to disk.
    StorageFailed,
    /// A client of 2021 would crash on a message of this length (shorter than 32 bytes and not 21).
    UnfitForClient,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::codec::golden::pin;

    #[test]
    fn bytes_are_pinned() {
        pin(
            IngressToStore::DeliverMessage {
                delivery: DeliveryId(300),
                destination: ClientAddress([7; 32]),
                message: Opaque(vec![1, 2, 3].into()),
            },
            &format!("00fb2c01{}03010203", "07".repeat(32)),
        );
        pin(StoreToIngress::AcceptDelivery { delivery: DeliveryId(1) }, "0001");
        for (reason, byte) in [
            (Refusal::UnknownClient, "00"),
            (Refusal::InboxFull, "01"),
            (Refusal::StorageFailed, "02"),
            (Refusal::UnfitForClient, "03"),
        ] {
            pin(StoreToIngress::RefuseDelivery { delivery: DeliveryId(2), reason }, &format!("0102{byte}"));
        }
    }
}
