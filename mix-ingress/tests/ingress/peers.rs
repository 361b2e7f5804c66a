//! The peers at the other ends of the links, which do only what the test says.

use std::{collections::VecDeque, future::Future, os::fd::OwnedFd, time::Duration};

use bytes::Bytes;
use proto::{
    address::ClientAddress,
    ipc::{
        egress::SendPacket,
        ingress_store::{DeliveryId, IngressToStore, Refusal, StoreToIngress},
    },
    link::{
        LinkError,
        lossy::Silence,
        stream::{self, LinkReader, LinkWriter},
    },
};
use tokio::time::timeout;

use crate::packets::Sample;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(LIMIT, what).await.expect("it did not happen in time")
}

/// A message that `store` was asked to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) id: DeliveryId,
    pub(crate) destination: ClientAddress,
    pub(crate) message: Bytes,
}

impl Delivered {
    pub(crate) fn assert_is(&self, sample: &Sample) {
        assert_eq!(self.destination, sample.destination);
        assert_eq!(self.message, sample.message);
    }
}

/// The far end of the link to `store`.
pub(crate) struct Store {
    reader: LinkReader<IngressToStore>,
    writer: LinkWriter<StoreToIngress>,
    read: VecDeque<IngressToStore>,
}

impl Store {
    pub(crate) fn at(end: OwnedFd) -> Self {
        let (reader, writer) = stream::open(end).unwrap();
        Self { reader, writer, read: VecDeque::new() }
    }

    /// The next message, or none at the end of the link.
    pub(crate) async fn next_or_end(&mut self) -> Option<Delivered> {
        while self.read.is_empty() {
            match soon(self.reader.read_batch()).await {
                Ok(batch) => self.read.extend(batch),
                Err(LinkError::Closed) => return None,
                Err(error) => panic!("{error}"),
            }
        }
        let IngressToStore::DeliverMessage { delivery: id, destination, message } = self.read.pop_front().unwrap();
        Some(Delivered { id, destination, message: message.0 })
    }

    pub(crate) async fn next(&mut self) -> Delivered {
        self.next_or_end().await.expect("the link ended")
    }

    pub(crate) async fn accept(&mut self, delivery: DeliveryId) {
        soon(self.writer.write_batch(&[StoreToIngress::AcceptDelivery { delivery }])).await.unwrap();
    }

    pub(crate) async fn refuse(&mut self, delivery: DeliveryId, reason: Refusal) {
        soon(self.writer.write_batch(&[StoreToIngress::RefuseDelivery { delivery, reason }])).await.unwrap();
    }
}

/// The far end of the link to `mix-egress`.
pub(crate) struct Egress {
    reader: LinkReader<SendPacket>,
    _writer: LinkWriter<Silence>,
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
                Ok(batch) => self.read.extend(batch),
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
