//! The power fails at any moment of a gateway's life, and the medium keeps what it wants of all that was not synced. Of what was promised
//! before that moment nothing is missing, and the store starts.
//!
//! A gateway is traced from its first start on. From the trace the states of the medium are built that a file system may leave, and each
//! is opened as a start of the store opens it.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use client_wire::control::sealed::{SensitiveRequest, SensitiveResponse};
use harness::{
    account::Account,
    client::{Client, Era, Identity},
    crash_images::{self, History, Node, Promises, Search, Sockets},
    deadline::bounded,
    gateway::{Gateway, IPV4},
    home::Home,
    packet::FinalHopPacket,
    scene::Scene,
    trace::Trace,
};
use nix::sys::signal::Signal;
use wire::{address::ClientAddress, packet::PacketSize};

/// Makes segments of mail as small as they can be, so that there are many.
const DATA_BYTES: u64 = 256 * 1024 * 1024;
/// Decides which images are looked at, and in which order.
const SEED: u64 = 1;
/// Images that are looked at, and how long that may take.
const IMAGES: usize = 30;
const SEARCHED: Duration = Duration::from_secs(60);

/// A gateway that is traced, and what the test knows of it.
struct Recorded {
    scene: Scene,
    /// Of all processes that there were.
    sockets: Sockets,
    /// Of all clients, with every key that they ever had.
    accounts: Vec<Account>,
}

impl Recorded {
    fn look_at_sockets(&mut self) -> Result<()> {
        let gateway = &self.scene.gateway;
        self.sockets.store.extend(gateway.worker("store")?.sockets()?);
        self.sockets.ingress.extend(gateway.worker("mix-ingress")?.sockets()?);
        self.sockets.edge.extend(gateway.worker("client-edge")?.sockets()?);
        Ok(())
    }

    async fn register(&mut self, era: Era, identity: &Identity) -> Result<Client<Account>> {
        let gateway = &self.scene.gateway;
        let client = Client::register_in(era, identity, gateway.clients, &gateway.identity).await?;
        self.accounts.push(client.credentials.clone());
        Ok(client)
    }

    async fn log_in(&self, account: &Account) -> Result<Client<Account>> {
        Client::log_in(account, self.scene.gateway.clients).await
    }

    /// Sends a packet of each size.
    async fn send_every_size(&mut self, to: ClientAddress) -> Result<Vec<FinalHopPacket>> {
        let mut sent = Vec::new();
        for size in PacketSize::ALL {
            sent.push(self.scene.send(to, size).await?);
        }
        Ok(sent)
    }

    /// Sends to all at once, and returns when everything is accepted that says so.
    async fn store_for(&mut self, clients: &[Account]) -> Result<()> {
        let mut sent = Vec::new();
        for client in clients {
            sent.extend(self.send_every_size(client.address()).await?);
        }
        let with_ack: Vec<_> = sent.into_iter().filter(|packet| packet.surb_ack.is_some()).collect();
        self.scene.mixnode.wait_for_acks(&with_ack).await
    }

    /// Sends to a client that is here, one by one.
    async fn send_live(&mut self, client: &mut Client<Account>, count: usize) -> Result<()> {
        for _ in 0..count {
            let packet = self.scene.send(client.address(), PacketSize::Regular).await?;
            client.messages_until(&packet.message).await?;
            self.scene.mixnode.wait_for_acks(&[packet]).await?;
        }
        Ok(())
    }

    async fn kill_worker(&mut self, name: &str) -> Result<()> {
        self.look_at_sockets()?;
        self.scene.gateway.kill_worker(name).await?;
        Ok(())
    }

    async fn restart(&mut self, signal: Signal) -> Result<()> {
        self.look_at_sockets()?;
        self.scene.gateway.stop(signal).await?;
        self.scene.start_again().await
    }
}

/// Registrations and logins of all eras, mail of all sizes, stored and live, and every kind of restart.
async fn live(recorded: &mut Recorded) -> Result<()> {
    let mut clients = Vec::new();
    for era in Era::ALL {
        clients.push(recorded.register(era, &Identity::random()).await?.leave().await?);
    }
    recorded.store_for(&clients).await?;

    // What a client has read need not be there, and live mail that is not read has to be.
    let [first, .., last] = clients.as_slice() else { return Ok(()) };
    for account in [first, last] {
        let mut reader = recorded.log_in(account).await?;
        reader.next_messages(PacketSize::ALL.len()).await?;
        recorded.send_live(&mut reader, 3).await?;
        reader.leave().await?;
        let mut deaf = recorded.log_in(account).await?;
        deaf.connection.answer_pings(false);
        recorded.send_live(&mut deaf, 2).await?;
        deaf.leave().await?;
    }
    recorded.kill_worker("store").await?;
    recorded.store_for(&clients).await?;
    recorded.kill_worker("mix-ingress").await?;
    recorded.scene.sender = harness::mixnode::MixSender::connect(recorded.scene.gateway.mix).await?;
    recorded.store_for(&clients).await?;

    // One client comes back under a new key, and one goes for ever.
    for account in clients.get(1..3).context("too few clients")? {
        recorded.register(account.era, &account.identity).await?.leave().await?;
    }
    recorded.restart(Signal::SIGTERM).await?;
    let mut leaving = recorded.log_in(&clients.remove(4)).await?;
    let forget = SensitiveRequest::ForgetMe { client: true, stats: true };
    ensure!(leaving.ask_sealed(&forget).await? == SensitiveResponse::ForgetMeAck {});
    recorded.store_for(&clients).await?;
    recorded.restart(Signal::SIGKILL).await?;
    recorded.store_for(&clients).await?;
    recorded.look_at_sockets()?;
    recorded.scene.gateway.kill_supervisor().await
}

/// What must be synced, and which nodes that is.
fn syncs_that_matter(history: &History, lines: usize) -> Result<Vec<(&'static str, BTreeSet<Node>)>> {
    let seen = history.seen(lines);
    let node = |path: &str| seen.node(path).with_context(|| format!("there is no {path}"));
    let one = |path: &str| Ok::<_, anyhow::Error>([node(path)?].into());
    Ok(vec![
        ("the names of mail segments", one("inboxes/mail")?),
        ("the bytes of mail segments", history.ever_in(node("inboxes/mail")?)),
        ("the name of the ledger's file", one("client_ledger.sled")?),
        ("the bytes of the ledger's file", one("client_ledger.sled/db")?),
        ("the folders of ledger and inboxes", [History::ROOT].into()),
    ])
}

fn search(history: &mut History, promises: &Promises, lines: usize) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("gatewayd-images-").tempdir()?;
    let run = |history: &History, name: &str| {
        let folder = folder.path().join(name);
        fs::create_dir(&folder)?;
        let search = Search { history, promises, limit: DATA_BYTES, lines };
        let begun = Instant::now();
        let cases = search.cases(SEED);
        let outcome = search.run(cases.get(..IMAGES).context("too few cases")?, &folder, SEARCHED);
        eprintln!("{name}, of {} cases, {:?}: {outcome:.300?}", cases.len(), begun.elapsed());
        outcome
    };
    let looked = run(history, "as it was")?;
    ensure!(looked == IMAGES, "only {looked} images were looked at");
    // The search would notice if one of these were not synced.
    for (what, nodes) in syncs_that_matter(history, lines)? {
        let taken = history.take_syncs(|sync| nodes.contains(&sync.node));
        ensure!(!taken.is_empty(), "{what}: never synced");
        ensure!(run(history, what).is_err(), "no promise is broken if {what} are never synced");
        history.put_back(taken);
    }
    Ok(())
}

fn judge(beginning: History, data: &Path, trace: &Path, recorded: &Recorded) -> Result<()> {
    let text = fs::read_to_string(trace)?;
    let lines = text.lines().count();
    let trace = Trace::parse(&text)?;
    let mut history = crash_images::record(beginning, data, &trace)?;
    history.seen(lines).check_same(&history, data).context("the trace says something else than the folder")?;
    let promises = Promises::of(&trace, &recorded.sockets, &recorded.accounts)?;
    promises.check_variety()?;
    search(&mut history, &promises, lines)
}

/// Nothing acknowledged is lost, whatever the medium kept of what was not synced.
#[tokio::test(flavor = "multi_thread")]
async fn a_loss_of_power_at_any_moment_breaks_no_promise() -> Result<()> {
    bounded(async {
        if !need::strace(11) {
            return Ok(());
        }
        let folder = tempfile::Builder::new().prefix("gatewayd-trace-").tempdir()?;
        let file = folder.path().join("trace");
        let home = Home::init(IPV4).await?;
        home.set_config("limits", "data_bytes", &DATA_BYTES.to_string())?;
        let data = home.data().canonicalize()?;
        let beginning = crash_images::begin(&data)?;
        let gateway = Gateway::start_in(home.traced(crash_images::CALLS, &file)?, &[]).await?;
        let scene = Scene::around(gateway, IPV4).await?;
        let mut recorded = Recorded { scene, sockets: Sockets::default(), accounts: Vec::new() };
        live(&mut recorded).await?;
        tokio::task::spawn_blocking(move || judge(beginning, &data, &file, &recorded)).await?
    })
    .await
}
