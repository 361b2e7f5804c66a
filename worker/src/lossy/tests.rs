//! One-way links over real socketpairs: bounds, loss, deaths, violations.

use std::{io::Write as _, os::unix::net::UnixStream, time::Duration};

use ipc::Opaque;
use link::{
    descriptor,
    stream::{LinkReader, LinkWriter},
};
use tokio::{task::JoinSet, time::timeout};
use wire::{
    framing::{FrameHeader, Framing},
    packet::PacketSize,
};

use super::*;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

fn packet(n: u64) -> SendPacket {
    SendPacket {
        next_hop: "127.0.0.1:1789".parse().unwrap(),
        header: FrameHeader { framing: Framing::V7, size: PacketSize::Ack },
        packet: Opaque(n.to_be_bytes().to_vec().into()),
    }
}

fn messages(numbers: impl Iterator<Item = u64>) -> Vec<ToEgress> {
    numbers.map(|n| ToEgress::SendPacket(packet(n))).collect()
}

/// What a link of so many packets may hold.
fn room_for(messages: u32) -> Window {
    Window { messages, bytes: u64::from(messages) * packet(0).cost() as u64 }
}

/// A link whose sender is at work.
struct Carried {
    sender: LossySender,
    figures: LinkFigures,
    ends: mpsc::Sender<OwnedFd>,
    reports: mpsc::Receiver<WorkerReport>,
    task: JoinSet<()>,
}

/// The far end of one incarnation.
struct Peer {
    reader: LinkReader<ToEgress>,
    _writer: LinkWriter<NoReply>,
}

impl Carried {
    fn start(most: Window) -> Self {
        let figures = LinkFigures::default();
        let (sender, carrier) = channel(most, figures.clone());
        let (ends, ends_rx) = mpsc::channel(2);
        let (reports_tx, reports) = mpsc::channel(1);
        let mut task = JoinSet::new();
        task.spawn(carrier.run(ends_rx, reports_tx));
        Self { sender, figures, ends, reports, task }
    }

    async fn connect(&self) -> Peer {
        let (here, there) = descriptor::link_pair().unwrap();
        self.ends.send(here).await.unwrap();
        let (reader, writer) = stream::open(there).unwrap();
        Peer { reader, _writer: writer }
    }

    /// Packets that wait, were sent, and were lost.
    fn counted(&self) -> [u64; 3] {
        let LinkFigures { waiting, sent, lost, .. } = &self.figures;
        [waiting, sent, lost].map(|number| number.load(Relaxed))
    }

    async fn end(mut self) {
        drop(self.sender);
        timeout(LIMIT, self.task.join_next()).await.unwrap().unwrap().unwrap();
    }
}

impl Peer {
    /// The next so many messages.
    async fn read(&mut self, wanted: usize) -> Vec<ToEgress> {
        let mut read = Vec::new();
        while read.len() < wanted {
            read.extend(timeout(LIMIT, self.reader.read_batch()).await.unwrap().unwrap());
        }
        read
    }

    /// What the link begins with.
    async fn sent_before(&mut self) -> u64 {
        match self.read(1).await.as_slice() {
            [ToEgress::BeginLink { sent_before }] => *sent_before,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_lossy_link_never_blocks_its_sender_and_counts_losses() {
    let link = Carried::start(room_for(4_096));
    // Nobody carries yet, since the only thread is busy here: the queue fills up, and the rest is dropped.
    (0..10_000).for_each(|n| link.sender.send(packet(n)));
    assert_eq!(link.counted(), [4_096, 0, 10_000 - 4_096]);
    // Without a link, what waits is lost.
    while link.counted()[0] > 0 {
        yield_now().await;
    }
    assert_eq!(link.counted(), [0, 0, 10_000]);
    let mut peer = link.connect().await;
    assert_eq!(peer.sent_before().await, 0);
    (0..1_000).for_each(|n| link.sender.send(packet(n)));
    assert_eq!(peer.read(1_000).await, messages(0..1_000));
    assert_eq!(link.counted(), [0, 1_000, 10_000]);
    link.end().await;
}

#[tokio::test]
async fn what_waits_for_a_lossy_link_is_bounded_in_bytes() {
    let link = Carried::start(Window { messages: 1_000, bytes: room_for(3).bytes });
    let mut peer = link.connect().await;
    peer.sent_before().await;
    (0..10).for_each(|n| link.sender.send(packet(n)));
    assert_eq!(link.counted(), [3, 0, 7]);
    assert_eq!(link.figures.memory.load(Relaxed), room_for(3).bytes);
    assert_eq!(peer.read(3).await, messages(0..3));
    let memory = link.figures.memory.clone();
    link.end().await;
    assert_eq!(memory.load(Relaxed), 0, "what is written takes nothing");
}

/// Whatever a peer has read when it dies: its successor is told the number of all packets that were sent before.
#[tokio::test]
async fn each_link_begins_with_the_number_sent_before() {
    let link = Carried::start(room_for(4_096));
    for life in 0..3 {
        let mut peer = link.connect().await;
        assert_eq!(peer.sent_before().await, life * 3_000);
        (0..3_000).for_each(|n| link.sender.send(packet(n)));
        // It dies with packets in the socket, and more that wait to be written.
        while link.counted() != [0, (life + 1) * 3_000, 0] {
            peer.read(1).await;
        }
    }
    link.end().await;
}

/// The process that sends dies while it writes: its successor goes on from the number in the page.
#[tokio::test]
async fn packets_are_counted_before_they_are_written() {
    let mut link = Carried::start(room_for(4_096));
    let mut peer = link.connect().await;
    assert_eq!(peer.sent_before().await, 0);
    (0..4_000).for_each(|n| link.sender.send(packet(n)));
    // The socket does not hold all of them.
    while link.counted()[1] < 2_000 {
        yield_now().await;
    }
    link.task.abort_all();
    while link.task.join_next().await.is_some() {}
    let mut came = 0;
    while let Ok(batch) = timeout(LIMIT, peer.reader.read_batch()).await.unwrap() {
        came += batch.len() as u64;
    }
    let [waiting, sent, lost] = link.counted();
    assert!(came <= sent && sent < 4_000, "{came} came of {sent}");
    assert_eq!((waiting, lost), (0, 0), "what was not sent is left for the successor to count");
}

/// Its successor is served.
#[tokio::test]
async fn a_peer_that_speaks_on_a_lossy_link_is_reported() {
    let mut link = Carried::start(room_for(16));
    for said in [&[0, 0, 0, 1, 0][..], &[0xff, 0xff, 0xff, 0xff], &[0, 0, 0, 0]] {
        let (here, there) = descriptor::link_pair().unwrap();
        link.ends.send(here).await.unwrap();
        UnixStream::from(there).write_all(said).unwrap();
        let report = timeout(LIMIT, link.reports.recv()).await.unwrap().unwrap();
        assert!(matches!(report, WorkerReport::LinkViolated { peer: Role::MixEgress, .. }), "{report:?}");
    }
    let mut peer = link.connect().await;
    assert_eq!(peer.sent_before().await, 0);
    link.sender.send(packet(7));
    assert_eq!(peer.read(1).await, messages(7..8));
    link.end().await;
}
