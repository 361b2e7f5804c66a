//! What many clients that read nothing cost the gateway together, and others.

use anyhow::{Result, ensure};
use harness::{
    client::Client,
    counters::counted,
    deadline::bounded,
    gateway::{Gateway, IPV4},
    home::Home,
    packet::FinalHopPacket,
    process::Process,
    scene::Scene,
};
use nix::sys::signal::Signal;
use wire::packet::PacketSize;

const SESSIONS: usize = 400;
/// For each of them: more than a session may be sent that has proved nothing yet.
const MESSAGES: usize = 40;
/// Sessions whose messages wait to be acknowledged at once.
const AT_ONCE: usize = 20;
/// What `[limits] memory` is set to.
const MEMORY: u64 = 32 << 20;
/// Of that, what may be sent and not be proved received.
const PUSHED: u64 = MEMORY / 24 * 5;
/// What a process may grow beside its budgets: the places of what is counted, and what the allocator keeps.
const BESIDE: u64 = 12 << 20;

struct Watched {
    name: &'static str,
    process: Process,
    before: u64,
    most: u64,
}

impl Watched {
    fn from_now_on(gateway: &Gateway, name: &'static str, most: u64) -> Result<Self> {
        let process = gateway.worker(name)?;
        process.forget_peak()?;
        Ok(Self { name, process, before: process.resident()?, most })
    }

    fn check(&self) -> Result<()> {
        let grown = self.process.peak()?.saturating_sub(self.before);
        eprintln!("{}: {} KiB before, {} KiB more at most", self.name, self.before >> 10, grown >> 10);
        ensure!(grown <= self.most, "{} grew by {grown} bytes, and may by {}", self.name, self.most);
        Ok(())
    }
}

async fn connect_many(scene: &Scene) -> Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(SESSIONS);
    for _ in 0..SESSIONS {
        let client = scene.client().await?;
        client.connection.read_socket(false);
        clients.push(client);
    }
    Ok(clients)
}

/// Sends to each of `clients` until all is acknowledged, and in between to one that reads. Returns what was sent to each.
async fn send_to_all(scene: &mut Scene, clients: &[Client], honest: &mut Client) -> Result<Vec<Vec<FinalHopPacket>>> {
    let mut sent = Vec::with_capacity(clients.len());
    for group in clients.chunks(AT_ONCE) {
        let mut to_group = Vec::new();
        for client in group {
            to_group.push(scene.packets().make_in_parallel(client.address(), MESSAGES).await?);
        }
        let all: Vec<FinalHopPacket> = to_group.concat();
        scene.sender.send_all(&all).await?;
        let for_honest = scene.send(honest.address(), PacketSize::Regular).await?;
        ensure!(honest.next_message().await? == for_honest.message, "a client that reads got something else");
        scene.mixnode.wait_for_acks(&all).await?;
        sent.extend(to_group);
    }
    Ok(sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_read_nothing_stay_within_the_budgets() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        home.set_config("delivery", "receipt_timeout", "'1h'")?;
        home.set_config("limits", "memory", &MEMORY.to_string())?;
        let mut scene = Scene::around(Gateway::start_in(home, &[]).await?, IPV4).await?;
        let mut honest = scene.client().await?;
        let mut clients = connect_many(&scene).await?;

        let edge = Watched::from_now_on(&scene.gateway, "client-edge", PUSHED + BESIDE)?;
        let sent = send_to_all(&mut scene, &clients, &mut honest).await?;
        edge.check()?;

        // Nothing is lost, whether the session was ended or not.
        for index in [0, SESSIONS / 2, SESSIONS - 1] {
            let credentials = clients.swap_remove(index.min(clients.len() - 1)).credentials;
            let of_it = |packets: &&Vec<FinalHopPacket>| {
                packets.first().is_some_and(|packet| packet.to == credentials.address())
            };
            let messages = sent.iter().find(of_it).into_iter().flatten().map(|packet| &packet.message);
            let mut returned = credentials.authenticate(scene.gateway.clients).await?;
            ensure!(returned.next_messages(MESSAGES).await?.iter().eq(messages), "not all came, or not in order");
        }
        drop(clients);
        scene.gateway.stop(Signal::SIGTERM).await?;
        let lines = scene.gateway.log().lines();
        ensure!(counted(&lines, "store", "ended_for_memory") > 0, "nobody had to give way");
        ensure!(counted(&lines, "client-edge", "store_violations") == 0, "the store pushed more than it may");
        Ok(())
    })
    .await
}
