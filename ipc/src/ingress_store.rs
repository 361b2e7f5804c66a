//! Link `mix-ingress` ↔ `store`: deliveries and their answers; and the marks of packets seen, which `store` keeps.
//!
//! *mix-ingress trusts store* to answer [`StoreToIngress::AcceptDelivery`] only when the message is durable or the
//! client has proved receipt, since the SURB-ack leaves on that answer. *store trusts mix-ingress* with nothing but
//! destinations and ciphertext. A false ingress can put false mail into inboxes and learn who is registered, and no more.
//!
//! There are no phases: a delivery may be sent at any time within the window that both ends are told at birth, and is answered
//! exactly once. An answer to a delivery that is not outstanding, a delivery beyond the window, or one without a SURB-ack that is
//! larger than what an ack-size packet carries, is a violation.
//!
//! Marks are the bits of a Bloom filter over replay tags. To *store* they are bytes: which packets they stand for cannot
//! be told from them. *store trusts mix-ingress* with their meaning and with nothing else. It bounds their size, and writes
//! them to a directory that holds nothing else. At most one [`ReplayRequest`] is outstanding, and each is answered exactly once, so
//! that tens of megabytes travel in pieces of [`MARKS_LEN`] between which deliveries pass. A further request, an answer
//! to nothing, and marks beyond what was announced are violations.

use bincode::{Decode, Encode};
use wire::{address::ClientAddress, packet::PacketSize};

use crate::Opaque;

/// Names one delivery of one `mix-ingress`. Counts up from zero; a new `store` is asked with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct DeliveryId(pub u64);

/// Whether the sender of a message is to get a SURB-ack for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Ack {
    /// The message came with one.
    Owed,
    /// The message came without, as only an ack-size packet does: it is *ackless*. It costs its sender next to nothing, and nobody
    /// learns whether it was taken.
    NotOwed,
}

/// The most bytes of an ackless message.
pub const ACKLESS_LEN: usize = PacketSize::Ack.plaintext_len();

/// What `mix-ingress` tells `store`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum IngressToStore {
    /// Put this message into that client's inbox.
    DeliverMessage {
        /// The name of the delivery, for the answer.
        delivery: DeliveryId,
        /// The client whose inbox it is.
        #[bincode(with_serde)]
        destination: ClientAddress,
        /// Whether a SURB-ack is owed.
        ack: Ack,
        /// The plaintext of the final hop behind the SURB-ack.
        message: Opaque,
    },
    /// About the marks of packets seen.
    AskReplay(ReplayRequest),
}

/// Bytes of marks that travel in one message.
pub const MARKS_LEN: usize = 64 * 1024;

/// The most bytes of marks that one generation may have.
pub const GENERATION_LIMIT: u64 = 1 << 30;

/// The most generations that are kept at once.
pub const GENERATIONS_LIMIT: usize = 64;

/// One generation of marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ReplayGeneration {
    /// Counts up; of two generations the one with the higher number is the newer.
    pub number: u64,
    /// The key of the hash that says which bits a packet marks.
    pub seed: [u8; 16],
    /// Bits that each packet marks.
    pub hashes: u32,
    /// Packets marked, about.
    pub marked: u64,
    /// When the first could be marked, in seconds since 1970.
    pub begun: u64,
    /// Bytes of marks.
    pub len: u64,
}

/// What `mix-ingress` asks about marks.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ReplayRequest {
    /// List the generations that are kept. Answered by [`ReplayAnswer::OfferGenerations`].
    ListGenerations,
    /// Read marks of a generation that was offered. Answered by [`ReplayAnswer::GiveMarks`].
    ReadMarks {
        /// The number of the generation.
        generation: u64,
        /// The first byte to read.
        offset: u64,
    },
    /// Begin to save a generation; an older state of the same generation is replaced. From now on no offered generation can be read.
    /// Answered by [`ReplayAnswer::Proceed`], as is each of the following.
    BeginSave {
        /// The generation to save.
        generation: ReplayGeneration,
        /// The numbers of all generations that are of use, at most [`GENERATIONS_LIMIT`]. Others are removed when this one is
        /// durable.
        live: Vec<u64>,
    },
    /// The next marks of the generation that is being saved.
    WriteMarks {
        /// At most [`MARKS_LEN`] bytes.
        marks: Opaque,
    },
    /// All marks have been written. Make the generation durable.
    CommitSave,
}

/// What `store` answers about marks.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ReplayAnswer {
    /// The generations that are kept and intact.
    OfferGenerations {
        /// At most [`GENERATIONS_LIMIT`].
        generations: Vec<ReplayGeneration>,
    },
    /// The marks that were asked for.
    GiveMarks {
        /// At most [`MARKS_LEN`] bytes, fewer at the end. Empty if the generation cannot be read any more.
        marks: Opaque,
    },
    /// The request was carried out. After [`ReplayRequest::CommitSave`] the generation is durable.
    Proceed,
    /// The generation cannot be written. An older state of it is still kept.
    GiveUp,
}

/// What `store` tells `mix-ingress`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StoreToIngress {
    /// The message is durable, or its client has proved receipt. Send the SURB-ack.
    AcceptDelivery {
        /// The delivery that is answered.
        delivery: DeliveryId,
    },
    /// The message was not taken. Send no SURB-ack.
    RefuseDelivery {
        /// The delivery that is answered.
        delivery: DeliveryId,
        /// The reason, which is counted.
        reason: DeliveryRefusal,
    },
    /// About the marks of packets seen.
    AnswerReplay(ReplayAnswer),
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum DeliveryRefusal {
    /// Nobody is registered under the destination.
    UnknownClient,
    /// The inbox holds as many messages or bytes as it may.
    InboxFull,
    /// The message could not be written to disk.
    StorageFailed,
    /// A client of 2021 would crash on a message of this length (shorter than 32 bytes and not 21).
    UnfitForClient,
}

/// What a peer can do that is against the rules of this link. The text is what the log says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// `store` answers a delivery that is not outstanding.
    #[error("an answer to a delivery that is not outstanding")]
    UnknownDelivery,
    /// `store` answers deliveries that it has not read.
    #[error("answers to deliveries that were not read")]
    UnreadDelivery,
    /// `store` answers without a [`ReplayRequest`].
    #[error("an answer about marks that nobody asked for")]
    UnaskedReplayAnswer,
    /// `store` answers another [`ReplayRequest`] than the one that was made.
    #[error("an answer about marks that does not fit the question")]
    UnfitReplayAnswer,
    /// `mix-ingress` delivers an ackless message of more than [`ACKLESS_LEN`].
    #[error("delivered a large message without a SURB-ack")]
    LargeAckless,
    /// `mix-ingress` delivers beyond the window.
    #[error("delivered more than its window allows")]
    OverWindow,
    /// `mix-ingress` makes a [`ReplayRequest`] while one is outstanding.
    #[error("asked about marks before the last answer")]
    ReplayRequestTooEarly,
    /// `mix-ingress` begins to save more than [`GENERATION_LIMIT`].
    #[error("announced more marks than a generation may have")]
    GenerationTooLarge,
    /// `mix-ingress` begins to save more than the memory of all generations, or names more than [`GENERATIONS_LIMIT`].
    #[error("announced more marks than all generations together may have")]
    TooManyMarks,
    /// `mix-ingress` saves marks without having begun, or more than announced.
    #[error("sent marks that it had not announced")]
    UnannouncedMarks,
    /// `mix-ingress` commits before all marks are there.
    #[error("committed marks that it had not sent")]
    MissingMarks,
    /// `mix-ingress` reads a generation that was not offered.
    #[error("asked for marks that were not offered")]
    UnofferedMarks,
    /// `mix-ingress` lets answers pile up.
    #[error("does not read its answers")]
    AnswersUnread,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode_one, encode_one, golden::pin};

    #[test]
    fn bytes_are_pinned() {
        for (ack, byte) in [(Ack::Owed, "00"), (Ack::NotOwed, "01")] {
            pin(
                IngressToStore::DeliverMessage {
                    delivery: DeliveryId(300),
                    destination: ClientAddress([7; 32]),
                    ack,
                    message: Opaque(vec![1, 2, 3].into()),
                },
                &format!("00fb2c01{}{byte}03010203", "07".repeat(32)),
            );
        }
        pin(StoreToIngress::AcceptDelivery { delivery: DeliveryId(1) }, "0001");
        for (reason, byte) in [
            (DeliveryRefusal::UnknownClient, "00"),
            (DeliveryRefusal::InboxFull, "01"),
            (DeliveryRefusal::StorageFailed, "02"),
            (DeliveryRefusal::UnfitForClient, "03"),
        ] {
            pin(StoreToIngress::RefuseDelivery { delivery: DeliveryId(2), reason }, &format!("0102{byte}"));
        }
    }

    #[test]
    fn bytes_about_marks_are_pinned() {
        let ask = IngressToStore::AskReplay;
        let answer = StoreToIngress::AnswerReplay;
        let generation =
            ReplayGeneration { number: 300, seed: [7; 16], hashes: 17, marked: 9, begun: 1_700_000_000, len: 1 << 20 };
        let bytes = format!("fb2c01{}1109fc00f15365fc00001000", "07".repeat(16));
        let marks = || Opaque(vec![1, 2, 3].into());
        pin(ask(ReplayRequest::ListGenerations), "0100");
        pin(ask(ReplayRequest::ReadMarks { generation: 300, offset: 5 }), "0101fb2c0105");
        pin(ask(ReplayRequest::BeginSave { generation, live: vec![299, 300] }), &format!("0102{bytes}02fb2b01fb2c01"));
        pin(ask(ReplayRequest::WriteMarks { marks: marks() }), "010303010203");
        pin(ask(ReplayRequest::CommitSave), "0104");
        pin(answer(ReplayAnswer::OfferGenerations { generations: vec![generation] }), &format!("020001{bytes}"));
        pin(answer(ReplayAnswer::GiveMarks { marks: marks() }), "020103010203");
        pin(answer(ReplayAnswer::Proceed), "0202");
        pin(answer(ReplayAnswer::GiveUp), "0203");
    }

    #[test]
    fn marks_fit_into_a_message() {
        let marks = Opaque(vec![255; MARKS_LEN].into());
        let bytes = encode_one(&StoreToIngress::AnswerReplay(ReplayAnswer::GiveMarks { marks })).unwrap();
        assert!(decode_one::<StoreToIngress>(&bytes).is_ok());
        // A generation of the default size travels in so many.
        assert_eq!(36_843_904_usize.div_ceil(MARKS_LEN), 563);
    }
}
