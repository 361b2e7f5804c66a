//! Links over real socketpairs: order, priority, loss, replacement, violations.

use std::{
    cell::RefCell,
    io::Write,
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::Duration,
};

use bincode::{
    Decode, Encode,
    de::Decoder,
    enc::Encoder,
    error::{DecodeError, EncodeError},
};
use ipc::{
    Role,
    control::WorkerReport,
    ingress_store::{DeliveryId, StoreToIngress},
};
use link::{descriptor, stream};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use crate::duplex::{self, LaneCapacity, LinkEvent, LinkSender};

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

fn answer(n: u64) -> StoreToIngress {
    StoreToIngress::AcceptDelivery { delivery: DeliveryId(n) }
}

struct Served {
    ends: mpsc::Sender<OwnedFd>,
    events: mpsc::Receiver<LinkEvent<StoreToIngress, StoreToIngress>>,
    reports: mpsc::Receiver<WorkerReport>,
    _task: JoinSet<()>,
}

fn serve() -> Served {
    let (ends, ends_rx) = mpsc::channel(2);
    let (events_tx, events) = mpsc::channel(8);
    let (reports_tx, reports) = mpsc::channel(2);
    let capacity = LaneCapacity { control: 4_096, bulk: 4_096 };
    let mut task = JoinSet::new();
    task.spawn(duplex::serve(Role::MixIngress, ends_rx, capacity, events_tx, reports_tx));
    Served { ends, events, reports, _task: task }
}

impl Served {
    async fn report(&mut self) -> WorkerReport {
        timeout(LIMIT, self.reports.recv()).await.unwrap().unwrap()
    }

    async fn event(&mut self) -> LinkEvent<StoreToIngress, StoreToIngress> {
        timeout(LIMIT, self.events.recv()).await.unwrap().unwrap()
    }

    /// Hands over one end, keeps the other.
    async fn connect(&mut self) -> (OwnedFd, LinkSender<StoreToIngress>) {
        let (here, there) = descriptor::link_pair().unwrap();
        self.ends.send(here).await.unwrap();
        match self.event().await {
            LinkEvent::Up(sender) => (there, sender),
            _ => panic!("the link did not come up"),
        }
    }
}

#[tokio::test]
async fn answers_overtake_mail_and_each_lane_keeps_its_order() {
    let (here, there) = descriptor::link_pair().unwrap();
    let (_, writer) = stream::open::<StoreToIngress, StoreToIngress>(here).unwrap();
    let (mut reader, _writer) = stream::open::<StoreToIngress, StoreToIngress>(there).unwrap();
    let (control, control_rx) = mpsc::channel(1_000);
    let (bulk, bulk_rx) = mpsc::channel(1_000);
    for n in 0..500 {
        bulk.try_send(answer(n)).unwrap();
        control.try_send(answer(1_000 + n)).unwrap();
    }
    drop((control, bulk));
    writer.write_lanes(stream::Lanes { control: control_rx, bulk: bulk_rx }).await.unwrap();
    let mut received = Vec::new();
    while received.len() < 1_000 {
        received.extend(timeout(LIMIT, reader.read_batch()).await.unwrap().unwrap());
    }
    let expected: Vec<_> = (1_000..1_500).chain(0..500).map(answer).collect();
    assert_eq!(received, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_never_overtakes_what_was_said_before_it() {
    let (here, there) = descriptor::link_pair().unwrap();
    let (_, writer) = stream::open::<StoreToIngress, StoreToIngress>(here).unwrap();
    let (mut reader, _writer) = stream::open::<StoreToIngress, StoreToIngress>(there).unwrap();
    let (control, control_rx) = mpsc::channel(64);
    let (bulk, bulk_rx) = mpsc::channel(64);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { writer.write_lanes(stream::Lanes { control: control_rx, bulk: bulk_rx }).await.unwrap() });
    const ROUNDS: u64 = 20_000;
    tasks.spawn(async move {
        for n in 0..ROUNDS {
            control.send(answer(2 * n)).await.unwrap();
            bulk.send(answer(2 * n + 1)).await.unwrap();
        }
    });
    let mut said = 0;
    let mut received = 0;
    while received < 2 * ROUNDS {
        for message in timeout(LIMIT, reader.read_batch()).await.unwrap().unwrap() {
            let StoreToIngress::AcceptDelivery { delivery: DeliveryId(n) } = message else { panic!("{message:?}") };
            received += 1;
            if n % 2 == 0 {
                assert_eq!(n, said, "what is said keeps its order");
                said += 2;
            } else {
                assert!(n < said, "mail {n} came before what was said before it");
            }
        }
    }
}

/// What is said for ever: each message has the next one waiting before it is written.
#[derive(Clone)]
enum Said {
    Again(mpsc::Sender<Said>),
    Mail,
}

impl Encode for Said {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        match self {
            Self::Again(lane) => {
                let _ = lane.try_send(self.clone());
                0_u8.encode(encoder)
            }
            Self::Mail => 1_u8.encode(encoder),
        }
    }
}

#[tokio::test]
async fn control_that_never_runs_dry_keeps_no_mail_back() {
    let (here, there) = descriptor::link_pair().unwrap();
    let (_, writer) = stream::open::<u8, Said>(here).unwrap();
    let (mut reader, _writer) = stream::open::<u8, Said>(there).unwrap();
    let (control, control_rx) = mpsc::channel(8);
    let (bulk, bulk_rx) = mpsc::channel(8);
    control.try_send(Said::Again(control.clone())).unwrap();
    bulk.try_send(Said::Mail).unwrap();
    let mut task = JoinSet::new();
    task.spawn(writer.write_lanes(stream::Lanes { control: control_rx, bulk: bulk_rx }));
    let mail = async { while !reader.read_batch().await.unwrap().contains(&1) {} };
    timeout(LIMIT, mail).await.unwrap();
}

thread_local! {
    /// A peer that says something more whenever something of it was read.
    static TALKER: RefCell<Option<UnixStream>> = const { RefCell::new(None) };
}

struct Talk;

const TALK: [u8; 5] = [0, 0, 0, 1, 0];

impl Decode<()> for Talk {
    fn decode<D: Decoder<Context = ()>>(decoder: &mut D) -> Result<Self, DecodeError> {
        u8::decode(decoder)?;
        TALKER.with_borrow_mut(|talker| talker.as_mut().unwrap().write_all(&TALK).unwrap());
        Ok(Self)
    }
}

#[tokio::test]
async fn a_peer_that_never_stops_talking_is_answered() {
    let (here, there) = descriptor::link_pair().unwrap();
    TALKER.with_borrow_mut(|talker| *talker = Some(there.try_clone().unwrap().into()));
    UnixStream::from(there.try_clone().unwrap()).write_all(&TALK).unwrap();
    let (ends, ends_rx) = mpsc::channel(1);
    // Room for more than one task may do at a time.
    let (events_tx, mut events) = mpsc::channel(1_000);
    let capacity = LaneCapacity { control: 1, bulk: 1 };
    let mut task = JoinSet::new();
    task.spawn(duplex::serve::<Talk, StoreToIngress>(Role::Store, ends_rx, capacity, events_tx, mpsc::channel(1).0));
    ends.send(here).await.unwrap();
    let Some(LinkEvent::Up(sender)) = events.recv().await else { panic!("the link did not come up") };
    sender.control.try_send(answer(1)).unwrap();
    task.spawn(async move { while events.recv().await.is_some() {} });
    let (mut reader, _writer) = stream::open::<StoreToIngress, StoreToIngress>(there).unwrap();
    assert_eq!(timeout(LIMIT, reader.read_batch()).await.unwrap().unwrap(), [answer(1)]);
}

#[tokio::test]
async fn a_replaced_peer_gets_nothing_that_was_meant_for_the_old_one() {
    let mut served = serve();
    let (first, sender) = served.connect().await;
    drop(first);
    assert!(matches!(served.event().await, LinkEvent::Down));
    assert!(sender.control.send(answer(1)).await.is_err());
    let (second, sender) = served.connect().await;
    sender.control.send(answer(2)).await.unwrap();
    let (mut reader, _writer) = stream::open::<StoreToIngress, StoreToIngress>(second).unwrap();
    assert_eq!(timeout(LIMIT, reader.read_batch()).await.unwrap().unwrap(), [answer(2)]);
}

#[tokio::test]
async fn a_new_end_replaces_a_link_that_still_stands() {
    let mut served = serve();
    let (first, _sender) = served.connect().await;
    let (here, _there) = descriptor::link_pair().unwrap();
    served.ends.send(here).await.unwrap();
    assert!(matches!(served.event().await, LinkEvent::Down));
    assert!(matches!(served.event().await, LinkEvent::Up(_)));
    let (mut reader, _writer) = stream::open::<StoreToIngress, StoreToIngress>(first).unwrap();
    assert!(timeout(LIMIT, reader.read_batch()).await.unwrap().is_err());
}

#[tokio::test]
async fn garbage_and_giants_drop_the_link_and_name_the_rule() {
    for garbage in [&[0, 0, 0, 2, 99, 99][..], &[0xff, 0xff, 0xff, 0xff], &[0, 0, 0, 3, 0, 1, 0]] {
        let mut served = serve();
        let (there, _sender) = served.connect().await;
        UnixStream::from(there).write_all(garbage).unwrap();
        assert!(matches!(served.event().await, LinkEvent::Down), "{garbage:?}");
        let report = served.report().await;
        assert!(matches!(report, WorkerReport::LinkViolated { peer: Role::MixIngress, link: 1, .. }), "{report:?}");
        // And the next peer is served.
        served.connect().await;
    }
}

#[tokio::test]
async fn the_reader_of_messages_can_drop_a_link_for_a_broken_rule() {
    let mut served = serve();
    let (_there, sender) = served.connect().await;
    sender.drop_link("said too much");
    assert!(matches!(served.event().await, LinkEvent::Down));
    assert_eq!(served.report().await, said_too_much(1));
}

fn said_too_much(link: u32) -> WorkerReport {
    WorkerReport::LinkViolated { peer: Role::MixIngress, link, rule: "said too much".into() }
}

#[tokio::test]
async fn a_peer_that_closes_a_link_is_reported_with_its_last_message() {
    let mut served = serve();
    for link in 1..=3 {
        let (there, sender) = served.connect().await;
        drop(there);
        assert!(matches!(served.event().await, LinkEvent::Down));
        assert_eq!(served.report().await, WorkerReport::LinkLost { peer: Role::MixIngress, link });
        // What was read before the end is looked at only now.
        sender.drop_link("said too much");
        assert_eq!(served.report().await, said_too_much(link));
    }
}
