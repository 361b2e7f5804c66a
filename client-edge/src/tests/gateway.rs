//! The process under test, and both ends of its links.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    time::Duration,
};

use client_wire::{key::SessionKey, login::LoginProof};
use ipc::{
    Opaque,
    control::{EdgeConfig, WorkerReport, session_credit},
    egress::{SendPacket, ToEgress},
};
use link::{
    LinkError, descriptor,
    stream::{self, LinkReader, LinkWriter},
};
use session_ipc::{AttachedKey, EdgeToStore, Sequence, SessionAnswer, SessionId, SessionRequest, StoreToEdge};
use tokio::{
    net::TcpSocket,
    sync::{mpsc, watch},
    time::timeout,
};

use worker::lossy::NoReply;

use super::client::{Client, NARROW, TIMEOUT, authenticate, key, token};
use crate::{
    edge::{Edge, LinkEnds},
    listen::port::ClientPort,
    store::keys::KeySlots,
};

pub(super) fn config() -> EdgeConfig {
    EdgeConfig {
        websocket_upgrade: TIMEOUT,
        first_request: TIMEOUT,
        handshake_message: TIMEOUT,
        receipt_timeout: TIMEOUT,
        keepalive: TIMEOUT,
        trusted_proxies: Vec::new(),
        max_connections: 64,
        max_connections_per_prefix: 64,
        max_unauthenticated: 64,
        registrations_per_minute: 1_000,
        logins_per_minute: 1_000,
        new_next_hops_per_minute: 1_000,
        malformed_frames: 100_000,
        session_credit: session_credit(1 << 20),
        pushed_bytes: 8 << 20,
        half_message_bytes: 1 << 20,
        packet_bytes: 16 << 20,
        half_message: TIMEOUT,
        legacy_clients: true,
        rotation_marks: false,
    }
}

/// A short time limit, which a loaded machine can still keep.
pub(super) const SOON: Duration = Duration::from_millis(200);

pub(super) struct Gateway {
    pub(super) edge: Edge,
    pub(super) address: SocketAddr,
    pub(super) reports: mpsc::Receiver<WorkerReport>,
    /// Whether new clients are let in.
    pub(super) newcomers: watch::Sender<bool>,
    egress: LinkReader<ToEgress>,
    store_ends: mpsc::Sender<OwnedFd>,
    _egress_ends: mpsc::Sender<OwnedFd>,
}

impl Gateway {
    pub(super) async fn start(config: EdgeConfig) -> (Self, Store) {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), config).await
    }

    /// A gateway with small socket buffers.
    pub(super) async fn start_narrow(config: EdgeConfig) -> (Self, Store) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(NARROW).unwrap();
        socket.set_recv_buffer_size(NARROW).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self::start_on(socket.listen(8).unwrap().into_std().unwrap(), config).await
    }

    async fn start_on(listener: TcpListener, config: EdgeConfig) -> (Self, Store) {
        let address = listener.local_addr().unwrap();
        let (store_ends, store) = mpsc::channel(1);
        let (egress_ends, egress) = mpsc::channel(1);
        let (report, reports) = mpsc::channel(4);
        let keys = KeySlots::for_connections(config.max_connections.min(1_000), u64::MAX).unwrap().0;
        let (newcomers, of_edge) = watch::channel(true);
        let port = ClientPort { listener, newcomers: of_edge };
        let edge =
            Edge::start(config, keys, port, LinkEnds { store, egress }, report, std::sync::Arc::default()).unwrap();

        let (here, there) = descriptor::link_pair().unwrap();
        egress_ends.send(there).await.unwrap();
        let (mut egress, _) = stream::open::<ToEgress, NoReply>(here).unwrap();
        assert_eq!(egress.read_batch().await.unwrap(), [ToEgress::BeginLink { sent_before: 0 }]);
        let gateway = Self { edge, address, reports, newcomers, egress, store_ends, _egress_ends: egress_ends };
        let store = gateway.new_store().await;
        (gateway, store)
    }

    /// Gives the gateway a new `store`, as the supervisor does after a restart.
    pub(super) async fn new_store(&self) -> Store {
        let (here, there) = descriptor::link_pair().unwrap();
        self.store_ends.send(there).await.unwrap();
        let (reader, writer) = stream::open(here).unwrap();
        Store { reader, writer, heard: VecDeque::new() }
    }

    /// A client at another address.
    pub(super) async fn connect_from(&self, source: Ipv4Addr) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        Client::upgrade(socket.connect(self.address).await.unwrap()).await
    }

    pub(super) async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// A client that is logged in.
    pub(super) async fn attach(&self, store: &mut Store) -> (Client, SessionId) {
        let mut client = self.connect().await;
        let session = store.attach(&mut client).await;
        (client, session)
    }

    pub(super) async fn forwarded(&mut self) -> Vec<SendPacket> {
        let batch = timeout(TIMEOUT, self.egress.read_batch()).await.expect("nothing was forwarded").unwrap();
        let packet = |message| match message {
            ToEgress::SendPacket(packet) => packet,
            ToEgress::BeginLink { .. } => panic!("the link has begun already"),
        };
        batch.into_iter().map(packet).collect()
    }

    pub(super) async fn violated_rule(&mut self) -> String {
        loop {
            match timeout(TIMEOUT, self.reports.recv()).await.expect("no violation was reported").unwrap() {
                WorkerReport::LinkViolated { rule, .. } => break rule,
                WorkerReport::LoopTurns => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Drains as the supervisor has it done: no new link ends come.
    pub(super) async fn drain(self) {
        let Self { edge, store_ends, _egress_ends, .. } = self;
        drop((store_ends, _egress_ends));
        edge.drain().await;
    }
}

/// A `store` that does what the test says.
pub(super) struct Store {
    reader: LinkReader<EdgeToStore>,
    writer: LinkWriter<StoreToEdge>,
    heard: VecDeque<EdgeToStore>,
}

impl Store {
    /// The next message; `None` at the end of the link.
    pub(super) async fn hear(&mut self) -> Option<EdgeToStore> {
        while self.heard.is_empty() {
            match timeout(TIMEOUT, self.reader.read_batch()).await.expect("the edge says nothing") {
                Ok(batch) => self.heard.extend(batch),
                Err(LinkError::Closed) => return None,
                Err(error) => panic!("{error}"),
            }
        }
        self.heard.pop_front()
    }

    pub(super) async fn expect(&mut self, expected: EdgeToStore) {
        assert_eq!(self.hear().await, Some(expected));
    }

    /// One frame, so that it arrives as one batch.
    pub(super) async fn say(&mut self, messages: &[StoreToEdge]) {
        self.writer.write_batch(messages).await.unwrap();
    }

    pub(super) async fn attach(&mut self, client: &mut Client) -> SessionId {
        client.text(authenticate()).await;
        let session = self.expect_authentication().await;
        self.say(&[attach(session)]).await;
        client.hear_text(r#"{"type":"authenticate","status":true}"#).await;
        session
    }

    pub(super) async fn expect_authentication(&mut self) -> SessionId {
        match self.hear().await {
            Some(EdgeToStore { session, request: SessionRequest::AuthenticateClient { proof } }) => {
                assert_eq!(proof, LoginProof::CtrHmac(token()));
                session
            }
            other => panic!("no authentication but {other:?}"),
        }
    }
}

pub(super) fn attach(session: SessionId) -> StoreToEdge {
    StoreToEdge { session, answer: SessionAnswer::AttachSession { key: AttachedKey::new(SessionKey::CtrHmac(key())) } }
}

pub(super) fn push(session: SessionId, sequence: u64, message: &[u8]) -> StoreToEdge {
    StoreToEdge {
        session,
        answer: SessionAnswer::PushMessage {
            sequence: Sequence(sequence),
            message: Opaque(bytes::Bytes::copy_from_slice(message)),
        },
    }
}

pub(super) fn receipt(session: SessionId, up_to: u64) -> EdgeToStore {
    EdgeToStore { session, request: SessionRequest::ConfirmReceipt { up_to: Sequence(up_to) } }
}
