//! `store` and `mix-egress` at the far ends of the links, which do only what the test says.

use std::{collections::VecDeque, future::Future, os::fd::OwnedFd, time::Duration};

use bytes::Bytes;
use ipc::{
    Opaque,
    egress::{SendPacket, ToEgress},
    ingress_store::{
        Ack, DeliveryId, DeliveryRefusal, IngressToStore, MARKS_LEN, ReplayAnswer, ReplayGeneration, ReplayRequest,
        StoreToIngress,
    },
};
use link::{
    LinkError,
    stream::{self, LinkReader, LinkWriter},
};
use tokio::time::timeout;
use wire::address::ClientAddress;
use worker::lossy::NoReply;

use crate::packets::Sample;

/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

/// Waits with a time limit.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(LIMIT, what).await.expect("it did not happen in time")
}

/// A message that `store` was asked to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) id: DeliveryId,
    pub(crate) destination: ClientAddress,
    pub(crate) ack: Ack,
    pub(crate) message: Bytes,
}

impl Delivered {
    pub(crate) fn assert_is(&self, sample: &Sample) {
        assert_eq!(self.destination, sample.destination);
        assert_eq!(self.ack == Ack::Owed, sample.ack.is_some());
        assert_eq!(self.message, sample.message);
    }
}

/// Marks as `store` keeps them.
#[derive(Clone, Default)]
pub(crate) struct Marks {
    pub(crate) kept: Vec<(ReplayGeneration, Vec<u8>)>,
    draft: Option<(ReplayGeneration, Vec<u8>)>,
    live: Vec<u64>,
    /// Saves that are still to be given up.
    give_ups: u32,
}

impl Marks {
    /// None yet, on a disk that takes none for so many times.
    pub(crate) fn after_giving_up(give_ups: u32) -> Self {
        Self { give_ups, ..Self::default() }
    }

    fn answer(&mut self, request: ReplayRequest) -> ReplayAnswer {
        match request {
            ReplayRequest::ListGenerations => {
                ReplayAnswer::OfferGenerations { generations: self.kept.iter().map(|(kept, _)| *kept).collect() }
            }
            ReplayRequest::ReadMarks { generation, offset } => {
                let (_, marks) = self.kept.iter().find(|(kept, _)| kept.number == generation).expect("was offered");
                let rest = &marks[usize::try_from(offset).unwrap()..];
                ReplayAnswer::GiveMarks { marks: Opaque(rest[..rest.len().min(MARKS_LEN)].to_vec().into()) }
            }
            ReplayRequest::BeginSave { generation, live } => {
                self.live = live;
                self.draft = Some((generation, Vec::new()));
                ReplayAnswer::Proceed
            }
            ReplayRequest::WriteMarks { marks } => {
                assert!(marks.0.len() <= MARKS_LEN);
                self.draft.as_mut().expect("was begun").1.extend_from_slice(&marks.0);
                ReplayAnswer::Proceed
            }
            ReplayRequest::CommitSave => {
                let draft = self.draft.take().expect("was begun");
                assert_eq!(draft.0.len, draft.1.len() as u64);
                if let Some(left) = self.give_ups.checked_sub(1) {
                    self.give_ups = left;
                    return ReplayAnswer::GiveUp;
                }
                self.kept.retain(|(kept, _)| kept.number != draft.0.number && self.live.contains(&kept.number));
                self.kept.push(draft);
                ReplayAnswer::Proceed
            }
        }
    }
}

/// The far end of the link to `store`. Whenever it reads, it answers questions about marks.
pub(crate) struct Store {
    pub(crate) marks: Marks,
    reader: LinkReader<IngressToStore>,
    writer: LinkWriter<StoreToIngress>,
    read: VecDeque<Delivered>,
}

impl Store {
    pub(crate) fn at(end: OwnedFd) -> Self {
        Self::with_marks(end, Marks::default())
    }

    pub(crate) fn with_marks(end: OwnedFd, marks: Marks) -> Self {
        let (reader, writer) = stream::open(end).unwrap();
        Self { marks, reader, writer, read: VecDeque::new() }
    }

    /// Answers the first question, without which nothing begins, and the questions for the marks themselves.
    pub(crate) async fn give_marks(&mut self) {
        let total: u64 = self.marks.kept.iter().map(|(kept, _)| kept.len.div_ceil(MARKS_LEN as u64)).sum();
        for _ in 0..=total {
            assert!(self.read_more().await);
        }
    }

    /// Reads and answers until the link ends.
    pub(crate) async fn until_end(mut self) -> Marks {
        while self.read_more().await {}
        self.marks
    }

    /// Whether there was something to read.
    async fn read_more(&mut self) -> bool {
        let batch = match soon(self.reader.read_batch()).await {
            Ok(batch) => batch,
            Err(LinkError::Closed) => return false,
            Err(error) => panic!("{error}"),
        };
        for message in batch {
            match message {
                IngressToStore::DeliverMessage { delivery: id, destination, ack, message } => {
                    self.read.push_back(Delivered { id, destination, ack, message: message.0 });
                }
                IngressToStore::AskReplay(request) => {
                    let answer = StoreToIngress::AnswerReplay(self.marks.answer(request));
                    // If the worker has closed the link, the next read tells.
                    let _ = soon(self.writer.write_batch(&[answer])).await;
                }
            }
        }
        true
    }

    /// The next message, or none at the end of the link.
    pub(crate) async fn next_or_end(&mut self) -> Option<Delivered> {
        while self.read.is_empty() {
            if !self.read_more().await {
                return None;
            }
        }
        self.read.pop_front()
    }

    pub(crate) async fn next(&mut self) -> Delivered {
        self.next_or_end().await.expect("the link ended")
    }

    pub(crate) async fn accept(&mut self, delivery: DeliveryId) {
        soon(self.writer.write_batch(&[StoreToIngress::AcceptDelivery { delivery }])).await.unwrap();
    }

    pub(crate) async fn refuse(&mut self, delivery: DeliveryId, reason: DeliveryRefusal) {
        soon(self.writer.write_batch(&[StoreToIngress::RefuseDelivery { delivery, reason }])).await.unwrap();
    }
}

/// The packet that a message to `mix-egress` is, if it does not begin a link.
fn packet(message: ToEgress) -> Option<SendPacket> {
    match message {
        ToEgress::SendPacket(packet) => Some(packet),
        ToEgress::BeginLink { .. } => None,
    }
}

/// The far end of the link to `mix-egress`.
pub(crate) struct Egress {
    reader: LinkReader<ToEgress>,
    _writer: LinkWriter<NoReply>,
    read: VecDeque<SendPacket>,
}

impl Egress {
    pub(crate) fn at(end: OwnedFd) -> Self {
        let (reader, writer) = stream::open(end).unwrap();
        Self { reader, _writer: writer, read: VecDeque::new() }
    }

    /// The next SURB-ack, or none at the end of the link.
    pub(crate) async fn next_or_end(&mut self) -> Option<SendPacket> {
        while self.read.is_empty() {
            match soon(self.reader.read_batch()).await {
                Ok(batch) => self.read.extend(batch.into_iter().filter_map(packet)),
                Err(LinkError::Closed) => return None,
                Err(error) => panic!("{error}"),
            }
        }
        self.read.pop_front()
    }

    pub(crate) async fn next(&mut self) -> SendPacket {
        self.next_or_end().await.expect("the link ended")
    }
}
