//! Processes die, one after another and all at once, in the middle of traffic. The others carry on, the dead one comes back,
//! and nothing that was acknowledged is lost. A message may come twice.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use harness::{
    account::Identity,
    client::{Client, Credentials},
    connection::Incoming,
    deadline::{self, bounded},
    era::Era,
    gateway::WORKERS,
    mixnode::{MixNode, MixSender},
    packet::{FinalHopPacket, PacketMaker},
    scene::Scene,
};
use nix::sys::signal::Signal;
use tokio::{sync::watch, task::JoinHandle};
use wire::{address::ClientAddress, packet::PacketSize};

/// A pause that only sets the pace: between two packets, and before a client or mix node tries to connect again.
const PACE: Duration = Duration::from_millis(2);
const BEFORE_RETRY: Duration = Duration::from_millis(50);

/// Messages that a client has received.
type Received = Arc<Mutex<HashSet<Vec<u8>>>>;

fn keep(received: &Received, message: Vec<u8>) {
    received.lock().unwrap_or_else(PoisonError::into_inner).insert(message);
}

/// Where the gateway is; changes when it is restarted.
#[derive(Debug, Clone, Copy)]
struct Place {
    mix: SocketAddr,
    clients: SocketAddr,
}

/// A client that comes back by itself whenever its connection ends.
struct Faithful {
    credentials: Credentials,
    received: Received,
    connections: watch::Receiver<usize>,
    leave: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Faithful {
    fn start(credentials: Credentials, place: watch::Receiver<Place>) -> Self {
        let received = Received::default();
        let (tell, connections) = watch::channel(0);
        let (leave, leaves) = watch::channel(false);
        let task = tokio::spawn(stay_connected(credentials.clone(), place, received.clone(), tell, leaves));
        Self { credentials, received, connections, leave, task }
    }

    /// How often it has connected.
    fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    async fn wait_for_connection(&mut self, number: usize) -> Result<()> {
        let connected = self.connections.wait_for(|count| *count >= number);
        deadline::soon("a client to be connected", connected).await??;
        Ok(())
    }

    /// Says goodbye. Whatever it has proved to have received has been kept then.
    async fn stop(self) -> Result<(Credentials, Received)> {
        self.leave.send_replace(true);
        deadline::soon("a client to leave", self.task).await??;
        Ok((self.credentials, self.received))
    }
}

async fn stay_connected(
    credentials: Credentials,
    place: watch::Receiver<Place>,
    received: Received,
    tell: watch::Sender<usize>,
    mut leaves: watch::Receiver<bool>,
) {
    while !*leaves.borrow() {
        let clients = place.borrow().clients;
        if let Ok(client) = credentials.authenticate(clients).await {
            tell.send_modify(|count| *count += 1);
            listen(client, &received, &mut leaves).await;
        }
        tokio::time::sleep(BEFORE_RETRY).await;
    }
}

/// Keeps every message until the connection ends, and has it end when it is time to leave.
async fn listen(mut client: Client, received: &Received, leaves: &mut watch::Receiver<bool>) {
    let mut left = false;
    loop {
        tokio::select! {
            message = client.next_message_or_end() => match message {
                Ok(Some(message)) => keep(received, message),
                Ok(None) | Err(_) => return,
            },
            () = told_to(leaves), if !left => {
                left = true;
                // If the connection is gone, its end comes next.
                let _ = client.connection.send_close().await;
            }
        }
    }
}

async fn told_to(leaves: &mut watch::Receiver<bool>) {
    // An error means that the test is over.
    let _ = leaves.wait_for(|leaves| *leaves).await;
}

/// A mix node that sends steadily and connects again whenever it must.
struct Traffic {
    sent: Arc<Mutex<Vec<FinalHopPacket>>>,
    task: JoinHandle<Result<()>>,
    connections: watch::Receiver<usize>,
}

impl Traffic {
    fn start(maker: PacketMaker, to: Vec<ClientAddress>, place: watch::Receiver<Place>) -> Self {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let (tell, connections) = watch::channel(0);
        let task = tokio::spawn(send_steadily(maker, to, place, sent.clone(), tell));
        Self { sent, task, connections }
    }

    fn sent(&self) -> MutexGuard<'_, Vec<FinalHopPacket>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// Waits until this many further packets have been sent and acknowledged. Some of those sent meanwhile may be lost.
    async fn wait_for_further_acks(&self, mixnode: &MixNode, count: usize) -> Result<()> {
        let before = self.sent().len();
        let further = || {
            let sent = self.sent();
            sent.get(before..).map_or(0, |further| mixnode.count_acked(further))
        };
        deadline::until(deadline::SOON, &format!("{count} further acks"), || further() >= count).await
    }

    async fn stop(self) -> Result<Vec<FinalHopPacket>> {
        ensure!(!self.task.is_finished(), "the mix node has failed");
        self.task.abort();
        // The task was cancelled, which its waiter sees as an error.
        let _ = self.task.await;
        Ok(self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

async fn send_steadily(
    maker: PacketMaker,
    to: Vec<ClientAddress>,
    place: watch::Receiver<Place>,
    sent: Arc<Mutex<Vec<FinalHopPacket>>>,
    tell: watch::Sender<usize>,
) -> Result<()> {
    let mut sender: Option<MixSender> = None;
    for to in to.into_iter().cycle() {
        let packet = maker.make(to, PacketSize::Regular)?;
        let connected = loop {
            if let Some(connected) = &mut sender {
                break connected;
            }
            let mix = place.borrow().mix;
            match MixSender::connect(mix).await {
                Ok(connected) => {
                    tell.send_modify(|count| *count += 1);
                    sender = Some(connected);
                }
                Err(_) => tokio::time::sleep(BEFORE_RETRY).await,
            }
        };
        let outcome = connected.send(&packet).await;
        sent.lock().unwrap_or_else(PoisonError::into_inner).push(packet);
        if outcome.is_err() {
            sender = None;
        }
        tokio::time::sleep(PACE).await;
    }
    bail!("there is nobody to send to")
}

/// Two clients that are there and two that are not, a mix node that sends to all of them, and the gateway between them.
struct Play {
    scene: Scene,
    place: watch::Sender<Place>,
    online: Vec<Faithful>,
    offline: Vec<Credentials>,
    traffic: Traffic,
}

impl Play {
    async fn start() -> Result<Self> {
        let scene = Scene::start().await?;
        let (place, where_it_is) = watch::channel(Place { mix: scene.gateway.mix, clients: scene.gateway.clients });
        let mut offline = Vec::new();
        let mut online = Vec::new();
        for _ in 0..2 {
            offline.push(scene.client().await?.leave().await?);
            online.push(Faithful::start(scene.client().await?.leave().await?, where_it_is.clone()));
        }
        for client in &mut online {
            client.wait_for_connection(1).await?;
        }
        let to = online.iter().map(|client| &client.credentials).chain(&offline).map(Credentials::address).collect();
        let traffic = Traffic::start(scene.packets(), to, where_it_is);
        let play = Self { scene, place, online, offline, traffic };
        play.wait_for_further_acks(100).await?;
        Ok(play)
    }

    async fn wait_for_further_acks(&self, count: usize) -> Result<()> {
        self.traffic.wait_for_further_acks(&self.scene.mixnode, count).await
    }

    /// Starts a gateway that ended, on other ports, and goes on as before until mail is acknowledged again.
    async fn start_again_and_finish(mut self) -> Result<()> {
        let gateway = &mut self.scene.gateway;
        gateway.start_again().await?;
        self.place.send_replace(Place { mix: gateway.mix, clients: gateway.clients });
        self.everybody_comes_back().await?;
        self.finish().await
    }

    /// Waits until every online client has connected for a second time and mail is acknowledged again.
    async fn everybody_comes_back(&mut self) -> Result<()> {
        for client in &mut self.online {
            client.wait_for_connection(2).await?;
        }
        self.wait_for_further_acks(100).await
    }

    /// Ends the traffic, lets every client fetch what is left, and checks that nothing is missing that was acknowledged.
    async fn finish(self) -> Result<()> {
        let Self { mut scene, place, online, offline, traffic } = self;
        let sent = traffic.stop().await?;
        scene.sender = MixSender::connect(scene.gateway.mix).await?;
        let acked: Vec<&FinalHopPacket> = sent.iter().filter(|packet| scene.mixnode.has_ack(packet)).collect();
        eprintln!("{} packets sent, {} acknowledged", sent.len(), acked.len());

        let mut clients = Vec::new();
        for client in online {
            clients.push(client.stop().await?);
        }
        clients.extend(offline.into_iter().map(|credentials| (credentials, Received::default())));
        for (number, (credentials, received)) in clients.into_iter().enumerate() {
            // Mail is in order, so whatever is not there before this message is gone.
            let last = scene.send_many(credentials.address(), 1).await?;
            scene.mixnode.wait_for_acks(&last).await?;
            let last = last.first().context("no last message")?;
            let mut client = authenticate(&credentials, place.borrow().clients).await?;
            for message in client.messages_until(&last.message).await? {
                keep(&received, message);
            }
            let received = received.lock().unwrap_or_else(PoisonError::into_inner);
            let own: Vec<_> = acked.iter().filter(|packet| packet.to == credentials.address()).collect();
            let missing = own.iter().filter(|packet| !received.contains(&packet.message)).count();
            ensure!(missing == 0, "{missing} of {} acknowledged messages of client {number} are gone", own.len());
            ensure!(!own.is_empty(), "nothing was acknowledged for client {number}");
        }
        ensure!(scene.mixnode.faults().is_empty());
        Ok(())
    }

    /// Kills one worker, and returns once its successor is at work and mail is acknowledged again.
    async fn replace(&self, name: &str) -> Result<()> {
        let others: Vec<_> = WORKERS.into_iter().filter(|other| *other != name).collect();
        let before: Vec<_> = others.iter().map(|other| self.scene.gateway.worker(other)).collect::<Result<_>>()?;
        self.scene.gateway.kill_worker(name).await?;
        self.wait_for_further_acks(100).await?;
        let after: Vec<_> = others.iter().map(|other| self.scene.gateway.worker(other)).collect::<Result<_>>()?;
        ensure!(before == after, "{name} did not die alone");
        ensure!(before.iter().all(|worker| worker.runs()));
        Ok(())
    }
}

/// A client that hung up a moment ago may still count as connected for as long as it takes to notice.
async fn authenticate(credentials: &Credentials, clients: SocketAddr) -> Result<Client> {
    deadline::at_last("a client to be let in", || credentials.authenticate(clients)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mix_ingress_dies() -> Result<()> {
    bounded(async {
        let play = Play::start().await?;
        play.replace("mix-ingress").await?;
        ensure!(play.online.iter().all(|client| client.connections() == 1), "clients lost their connections");
        play.finish().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn mix_egress_dies() -> Result<()> {
    bounded(async {
        let play = Play::start().await?;
        play.replace("mix-egress").await?;
        ensure!(play.online.iter().all(|client| client.connections() == 1), "clients lost their connections");
        ensure!(play.traffic.connections() == 1, "the mix node lost its connection");
        play.finish().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn client_edge_dies() -> Result<()> {
    bounded(async {
        let mut play = Play::start().await?;
        play.replace("client-edge").await?;
        play.everybody_comes_back().await?;
        ensure!(play.traffic.connections() == 1, "the mix node lost its connection");
        play.finish().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn store_dies() -> Result<()> {
    bounded(async {
        let mut play = Play::start().await?;
        let gateway = &play.scene.gateway;
        let mut of_2021 = play.scene.client().await?;
        let mut of_today =
            Client::register_in(Era::TODAY, &Identity::random(), gateway.clients, &gateway.identity).await?;
        play.replace("store").await?;
        ensure!(of_2021.connection.wait_for_end().await? == [Some(1012)], "a client was not told to come back");
        // A client of today that reads a Close frame while it sends would go on with the dead connection.
        ensure!(of_today.connection.wait_for_end().await?.is_empty(), "a client of today was sent a Close frame");
        play.everybody_comes_back().await?;
        ensure!(play.traffic.connections() == 1, "the mix node lost its connection");
        play.finish().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_dies_in_turn() -> Result<()> {
    bounded(async {
        let play = Play::start().await?;
        for name in ["store", "mix-ingress", "client-edge", "mix-egress", "store"] {
            play.replace(name).await.with_context(|| format!("after {name} was killed"))?;
        }
        play.finish().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_supervisor_dies_and_all_die_with_it() -> Result<()> {
    bounded(async {
        let mut play = Play::start().await?;
        play.scene.gateway.kill_supervisor().await?;
        play.start_again_and_finish().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_in_the_middle_of_traffic() -> Result<()> {
    bounded(async {
        let mut play = Play::start().await?;
        let stop = play.scene.gateway.stop(Signal::SIGTERM);
        let status = deadline::within(Duration::from_secs(10), "the clean stop", stop).await??;
        ensure!(status.code() == Some(0), "{status}");
        play.start_again_and_finish().await
    })
    .await
}

/// A client whose worker dies sees the end of its connection, not silence.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_edge_ends_its_connections() -> Result<()> {
    bounded(async {
        let scene = Scene::start().await?;
        let mut client = scene.client().await?;
        scene.gateway.kill_worker("client-edge").await?;
        ensure!(client.connection.next().await? == Incoming::End);
        Ok(())
    })
    .await
}
