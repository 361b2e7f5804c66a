//! Strangers that follow the rules of the wire and mean harm: for each there is a bound, and somebody who means well, at
//! another address, is served as before.
//!
//! Served means all of it: connect, upgrade, log in, and get a message that a mix node sends over a new connection.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use proto::wire::{
    client::{frame, request::ForwardRequest},
    packet::{PacketSize, PacketType},
};
use tests::{
    client::{Client, Credentials, Identity, Registration, shake_hands},
    connection::{Connection, Incoming},
    deadline::{self, bounded},
    gateway::{Gateway, IPV4},
    home::Home,
    mixnode::MixSender,
    scene::Scene,
    source,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{interval, timeout},
};

/// Frames of one client in a row that may be refused.
const MOST: usize = 100;

/// Pings of one client within a minute, and the one with which it is over.
const PINGS: usize = 301;

/// The hostile are at 127.0.0.1.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// A gateway with the limits that it has by default, but for these.
async fn gateway_with(limits: &[(&str, &str, &str)]) -> Result<Gateway> {
    let home = Home::init(IPV4).await?;
    for (key, default) in [
        ("max_mix_connections_per_prefix", "512"),
        ("max_client_connections_per_prefix", "512"),
        ("registrations_per_minute", "30"),
    ] {
        home.set_config("limits", key, default)?;
    }
    for (section, key, value) in limits {
        home.set_config(section, key, value)?;
    }
    Gateway::start_in(home, &[]).await
}

/// Somebody who means well, and a neighbour for its acks.
struct Patron {
    scene: Scene,
    credentials: Credentials,
    undisturbed: Duration,
}

impl Patron {
    /// Below this it is the machine that is measured.
    const FLOOR: Duration = Duration::from_millis(20);
    const ROUNDS: usize = 20;
    const ATTEMPTS: usize = 4;

    /// Registers and finds out how it is served when nobody disturbs.
    async fn of(gateway: Gateway) -> Result<Self> {
        let scene = Scene::around(gateway, IPV4).await?;
        let mut connection = Connection::upgrade(source::connect(ELSEWHERE, scene.gateway.clients).await?).await?;
        let credentials = shake_hands(&mut connection, &Identity::random(), &scene.gateway.identity).await?;
        connection.next_text().await?;
        Client::new(credentials.clone(), connection).leave().await?;
        let mut patron = Self { scene, credentials, undisturbed: Duration::ZERO };
        patron.undisturbed = patron.p90().await?;
        Ok(patron)
    }

    async fn served(&self) -> Result<Duration> {
        let gateway = &self.scene.gateway;
        let packet = self.scene.packets().make(self.credentials.address(), PacketSize::Regular)?;
        let began = Instant::now();
        let connection = Connection::upgrade(source::connect(ELSEWHERE, gateway.clients).await?).await?;
        let connection = self.credentials.account().log_in_on(connection).await?;
        let mut client = Client::new(self.credentials.clone(), connection);
        MixSender::on(source::connect(ELSEWHERE, gateway.mix).await?).send(&packet).await?;
        ensure!(client.next_message().await? == packet.message, "something else came");
        let took = began.elapsed();
        self.scene.mixnode.wait_for_acks(&[packet]).await?;
        client.leave().await?;
        Ok(took)
    }

    async fn p90(&self) -> Result<Duration> {
        let mut took = Vec::new();
        for _ in 0..Self::ROUNDS {
            took.push(self.served().await?);
        }
        took.sort();
        took.get(Self::ROUNDS * 9 / 10).copied().context("there were rounds")
    }

    /// Checks that it is served within twice its undisturbed latency. Several times: what else this machine does at the moment
    /// is no matter of the gateway.
    async fn expect_to_be_served_as_before(&self) -> Result<()> {
        let mut found = Vec::new();
        for _ in 0..Self::ATTEMPTS {
            let disturbed = self.p90().await?;
            eprintln!("served in {:?} undisturbed, in {disturbed:?} disturbed", self.undisturbed);
            if disturbed <= 2 * self.undisturbed.max(Self::FLOOR) {
                return Ok(());
            }
            found.push(disturbed);
        }
        bail!("served in {:?} undisturbed, in {found:?} disturbed", self.undisturbed)
    }
}

async fn ends(stream: &mut TcpStream) -> bool {
    !matches!(stream.read(&mut [0; 256]).await, Ok(1..))
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_connections_from_one_address_are_cut_to_its_share() -> Result<()> {
    const CONNECTIONS: usize = 1_500;
    const SHARE: usize = 512;
    bounded(async {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        // Whoever got a place keeps it for the length of the test.
        let times = [("timeouts", "websocket_upgrade", "'5m'"), ("timeouts", "half_frame", "'5m'")];
        let patron = Patron::of(gateway_with(&times).await?).await?;
        let gateway = &patron.scene.gateway;
        let mut crowds = Vec::new();
        for (port, worker) in [(gateway.clients, "client-edge"), (gateway.mix, "mix-ingress")] {
            let before = gateway.worker(worker)?.sockets()?.len();
            let mut crowd = Vec::new();
            for _ in 0..CONNECTIONS {
                crowd.push(TcpStream::connect(port).await?);
            }
            let mut turned_away = 0;
            for stream in &mut crowd {
                turned_away += usize::from(matches!(timeout(Duration::from_millis(1), ends(stream)).await, Ok(true)));
            }
            let held = gateway.worker(worker)?.sockets()?.len().saturating_sub(before);
            ensure!(held <= SHARE, "{worker} holds {held} connections of one address");
            ensure!(turned_away >= CONNECTIONS - SHARE - 1, "{worker} turned {turned_away} away");
            crowds.push(crowd);
        }
        patron.expect_to_be_served_as_before().await
    })
    .await
}

/// Writes a byte now and then until the gateway has had enough.
async fn drip(port: SocketAddr, bytes: &'static [u8]) -> Result<()> {
    let (mut reading, mut writing) = TcpStream::connect(port).await?.into_split();
    let mut byte = [0; 1];
    let mut pace = interval(Duration::from_millis(100));
    let write = async {
        for byte in bytes.iter().cycle() {
            pace.tick().await;
            if writing.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = write => {}
        // Closed, or told and closed.
        _ = reading.read(&mut byte) => {}
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_drips_bytes_into_either_port_is_cut_off_in_time() -> Result<()> {
    const DRIPS: usize = 200;
    bounded(async {
        let times = [("timeouts", "websocket_upgrade", "'8s'"), ("timeouts", "half_frame", "'8s'")];
        let patron = Patron::of(gateway_with(&times).await?).await?;
        let (clients, mix) = (patron.scene.gateway.clients, patron.scene.gateway.mix);
        let mut drips = JoinSet::new();
        for _ in 0..DRIPS {
            drips.spawn(drip(clients, b"GET / HTTP/1.1\r\nHost: gateway\r\nX: "));
            drips.spawn(drip(mix, &[7, 1, 0, 9]));
        }
        patron.expect_to_be_served_as_before().await?;
        deadline::soon("the end of all drips", async { while drips.join_next().await.is_some() {} }).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_in_the_wrong_phase_are_refused_so_often_and_no_more() -> Result<()> {
    bounded(async {
        let patron = Patron::of(gateway_with(&[]).await?).await?;
        let gateway = patron.scene.gateway.clients;
        let before = count_refusals(gateway, Incoming::Binary(vec![0; 2_453].into())).await?;
        ensure!(before == MOST, "{before} binary frames were refused before authentication");
        let nobody = Credentials { identity: Identity::random(), key: patron.credentials.key.clone() };
        let logins = count_refusals(gateway, Incoming::Text(nobody.login_text())).await?;
        ensure!(logins == MOST, "{logins} logins were refused");
        let mut babble = JoinSet::new();
        for _ in 0..2 {
            babble.spawn(async move {
                while count_refusals(gateway, Incoming::Binary(vec![0; 2_453].into())).await.is_ok() {}
            });
        }
        patron.expect_to_be_served_as_before().await?;
        babble.shutdown().await;
        Ok(())
    })
    .await
}

/// Sends Pings as fast as they are taken, until the gateway ends that. Returns the answers and the code of its Close.
async fn flood(connection: &mut Connection) -> Result<(usize, Option<u16>)> {
    // When no more are taken, the end is near.
    while connection.send_ping(vec![7; 125]).await.is_ok() {}
    let mut answers = 0;
    loop {
        match connection.next().await? {
            Incoming::Pong(_) => answers += 1,
            Incoming::Close(code) => return Ok((answers, code)),
            Incoming::End => return Ok((answers, None)),
            other => bail!("{other:?} is no answer to a Ping"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_floods_with_pings_is_cut_off_every_time() -> Result<()> {
    const FLOODERS: usize = 2;
    bounded(async {
        let patron = Patron::of(gateway_with(&[]).await?).await?;
        let gateway = patron.scene.gateway.clients;
        let cut = Arc::new(AtomicUsize::new(0));
        let mut flooders = JoinSet::new();
        for _ in 0..FLOODERS {
            let cut = cut.clone();
            flooders.spawn(async move {
                loop {
                    let (answers, code) = flood(&mut Connection::open(gateway).await?).await?;
                    ensure!(answers <= PINGS, "{answers} Pings were answered");
                    ensure!(matches!(code, None | Some(1008)), "a flood ended with {code:?}");
                    cut.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        tokio::select! {
            served = patron.expect_to_be_served_as_before() => served?,
            Some(ended) = flooders.join_next() => return ended?,
        }
        let cut = cut.load(Ordering::Relaxed);
        eprintln!("{cut} floods were ended");
        ensure!(cut >= FLOODERS, "no more than {cut} floods were ended");
        flooders.shutdown().await;
        Ok(())
    })
    .await
}

/// A websocket frame as a client writes it, masked with zeros.
fn raw_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = match payload.len() {
        len @ ..126 => vec![0x80 | len as u8],
        len @ ..65_536 => [&[0x80 | 126][..], &(len as u16).to_be_bytes()].concat(),
        len => [&[0x80 | 127][..], &(len as u64).to_be_bytes()].concat(),
    };
    [&[first][..], &length, &[0; 4], payload].concat()
}

/// The codes of the Close frames among what the gateway wrote, and how many other frames there were.
fn closes(mut written: &[u8]) -> (Vec<u16>, usize) {
    let (mut codes, mut others) = (Vec::new(), 0);
    while let [first, len @ ..126, rest @ ..] = written {
        let (payload, next) = rest.split_at(usize::from(*len).min(rest.len()));
        match (first & 15, payload) {
            (8, [high, low, ..]) => codes.push(u16::from_be_bytes([*high, *low])),
            _ => others += 1,
        }
        written = next;
    }
    (codes, others)
}

/// Something to send without end.
struct Flood {
    name: &'static str,
    begin: Vec<u8>,
    again: Vec<u8>,
    /// The code of the gateway's Close.
    code: u16,
    /// Answers before it, at the most.
    answers: usize,
}

impl Flood {
    const CLOSED_FOR_SIZE: u16 = 1009;
    const CLOSED_FOR_CONDUCT: u16 = 1008;

    /// Sends it until the gateway takes no more, and checks how it ends. Whether its Close was heard: who is late finds the
    /// connection reset, because the gateway does not read to the end.
    async fn send(&self, gateway: SocketAddr) -> Result<bool> {
        let mut stream = TcpStream::connect(gateway).await?;
        let upgrade = "GET / HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(upgrade.as_bytes()).await?;
        let mut upgraded = Vec::new();
        while !upgraded.ends_with(b"\r\n\r\n") {
            upgraded.push(stream.read_u8().await?);
        }
        let (mut reading, mut writing) = stream.into_split();
        let many = self.again.repeat((64 << 10) / self.again.len() + 1);
        let write = async {
            if writing.write_all(&self.begin).await.is_ok() {
                while writing.write_all(&many).await.is_ok() {}
            }
        };
        let mut written = Vec::new();
        let read = async { while let Ok(1..) = reading.read_buf(&mut written).await {} };
        deadline::soon(self.name, async { tokio::join!(write, read) }).await?;
        let (codes, answers) = closes(&written);
        ensure!(codes.iter().all(|code| *code == self.code), "{} ended with {codes:?}", self.name);
        ensure!(answers <= self.answers, "{}: {answers} answers", self.name);
        Ok(!codes.is_empty())
    }
}

/// Has somebody who means well be served while two of the hostile take turns with floods, and checks that each ended.
async fn expect_to_be_served_during(floods: Vec<Flood>) -> Result<()> {
    const FLOODERS: usize = 2;
    const GROWTH: u64 = 4 << 20;
    let patron = Patron::of(gateway_with(&[]).await?).await?;
    let gateway = patron.scene.gateway.clients;
    let edge = patron.scene.gateway.worker("client-edge")?;
    for flood in &floods {
        ensure!(flood.send(gateway).await?, "{} ended without a Close", flood.name);
    }
    let before = edge.resident()?;
    let floods = Arc::new(floods);
    let mut flooders = JoinSet::new();
    for _ in 0..FLOODERS {
        let floods = floods.clone();
        flooders.spawn(async move {
            for flood in floods.iter().cycle() {
                flood.send(gateway).await?;
            }
            anyhow::Ok(())
        });
    }
    tokio::select! {
        served = patron.expect_to_be_served_as_before() => served?,
        Some(ended) = flooders.join_next() => return ended?,
    }
    let after = edge.resident()?;
    ensure!(after <= before + GROWTH, "client-edge grew from {before} to {after} bytes");
    flooders.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_at_the_limit_are_refused_so_often_and_those_over_it_at_once() -> Result<()> {
    const LIMIT: usize = 64 << 10;
    let flood =
        |name, message: &[u8], code, answers| Flood { name, begin: Vec::new(), again: message.to_vec(), code, answers };
    bounded(expect_to_be_served_during(vec![
        flood("binary messages at the limit", &raw_frame(0x82, &[0; LIMIT]), Flood::CLOSED_FOR_CONDUCT, MOST),
        flood("texts at the limit", &raw_frame(0x81, &[b'['; LIMIT]), Flood::CLOSED_FOR_CONDUCT, MOST),
        flood("messages over the limit", &raw_frame(0x82, &[0; LIMIT + 1]), Flood::CLOSED_FOR_SIZE, 0),
        flood("the largest there can be", b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff????", Flood::CLOSED_FOR_SIZE, 0),
    ]))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_fragments_and_of_pongs_are_cut_off_every_time() -> Result<()> {
    let flood = |name, begin: &[u8], again: &[u8], code| Flood {
        name,
        begin: begin.to_vec(),
        again: again.to_vec(),
        code,
        answers: 0,
    };
    let beginning = raw_frame(0x02, b"?");
    bounded(expect_to_be_served_during(vec![
        flood("fragments without content", &beginning, &raw_frame(0, b""), Flood::CLOSED_FOR_CONDUCT),
        flood("fragments of a byte each", &beginning, &raw_frame(0, b"?"), Flood::CLOSED_FOR_CONDUCT),
        flood("a message without end", &beginning, &raw_frame(0, &[0; 1_024]), Flood::CLOSED_FOR_SIZE),
        flood("Pongs that nobody asked for", &[], &raw_frame(0x8a, b""), Flood::CLOSED_FOR_CONDUCT),
    ]))
    .await
}

/// Sends the same frame until the gateway ends the connection, and counts its answers.
async fn count_refusals(gateway: SocketAddr, frame: Incoming) -> Result<usize> {
    let mut connection = Connection::open(gateway).await?;
    let mut answers = 0;
    loop {
        match &frame {
            Incoming::Binary(bytes) => connection.send_binary(bytes.clone()).await?,
            Incoming::Text(text) => connection.send_text(text.clone()).await?,
            other => bail!("{other:?} is not for sending"),
        }
        match connection.next().await? {
            Incoming::Text(_) => answers += 1,
            _ => return Ok(answers),
        }
        if answers == MOST {
            connection.wait_for_end().await?;
            return Ok(answers);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_registrations_is_cut_to_its_rate() -> Result<()> {
    const RATE: usize = 30;
    bounded(async {
        let patron = Patron::of(gateway_with(&[]).await?).await?;
        let (gateway, identity) = (patron.scene.gateway.clients, patron.scene.gateway.identity);
        let began = Instant::now();
        let mut registered = 0;
        for _ in 0..2 * RATE {
            registered += usize::from(Client::register(gateway, &identity).await.is_ok());
        }
        let refilled = began.elapsed().as_secs() as usize * RATE / 60 + 1;
        ensure!((RATE..=RATE + refilled).contains(&registered), "{registered} of one address could register");
        let mut connection = Connection::open(gateway).await?;
        connection.send_text(Registration::new(Identity::random()).init_text()).await?;
        let refused = connection.next_text().await?;
        ensure!(refused.contains("too many registrations"), "{refused}");
        let mut flood = JoinSet::new();
        for _ in 0..2 {
            flood.spawn(async move {
                loop {
                    let _ = Client::register(gateway, &identity).await;
                }
            });
        }
        patron.expect_to_be_served_as_before().await?;
        flood.shutdown().await;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_descriptors_run_out_the_connected_are_served_and_newcomers_once_others_leave() -> Result<()> {
    const OPEN_FILES: u64 = 128;
    const TURNED_AWAY: usize = 5;
    bounded(async {
        let home = Home::init(IPV4).await?.limited_to(OPEN_FILES);
        home.set_config("timeouts", "websocket_upgrade", "'5m'")?;
        home.set_config("timeouts", "half_frame", "'5m'")?;
        let mut scene = Scene::around(Gateway::start_in(home, &[]).await?, IPV4).await?;
        let mut client = scene.client().await?;
        for port in [scene.gateway.clients, scene.gateway.mix] {
            let mut crowd = JoinSet::new();
            for _ in 0..OPEN_FILES {
                let mut stream = TcpStream::connect(port).await?;
                crowd.spawn(async move { ends(&mut stream).await });
            }
            for _ in 0..TURNED_AWAY {
                let turned_away = deadline::soon("one who is turned away", crowd.join_next()).await?;
                ensure!(turned_away.context("there is a crowd")??, "the gateway said something");
            }
            let sent = scene.send(client.address(), PacketSize::Regular).await?;
            ensure!(client.next_message().await? == sent.message, "something else came");
            let complaints = |line: &String| line.contains("raise the limit on open files");
            let lines = scene.gateway.log().lines().into_iter().filter(complaints).count();
            let ports = if port == scene.gateway.clients { 1 } else { 2 };
            ensure!(lines == ports, "{lines} lines about descriptors");

            crowd.shutdown().await;
            let newcomer = async {
                loop {
                    let Ok(mut newcomer) = scene.client().await else { continue };
                    let Ok(mut sender) = MixSender::connect(scene.gateway.mix).await else { continue };
                    let packet = scene.packets().make(newcomer.address(), PacketSize::Regular)?;
                    if sender.send(&packet).await.is_ok()
                        && timeout(Duration::from_secs(2), newcomer.next_message()).await.is_ok_and(|came| came.is_ok())
                    {
                        return anyhow::Ok(());
                    }
                }
            };
            deadline::soon("a newcomer to be served", newcomer).await??;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_and_reads_no_answers_costs_no_memory_and_is_disconnected_in_time() -> Result<()> {
    const GROWTH: u64 = 4 << 20;
    bounded(async {
        let patron = Patron::of(gateway_with(&[("delivery", "receipt_timeout", "'5s'")]).await?).await?;
        let gateway = &patron.scene.gateway;
        let account = Client::register(gateway.clients, &gateway.identity).await?.leave().await?;
        let socket = TcpSocket::new_v4()?;
        // Otherwise the kernel takes a hundred thousand answers for those who do not.
        socket.set_recv_buffer_size(4096)?;
        let connection = Connection::upgrade(socket.connect(gateway.clients).await?).await?;
        let silent = Client::new(account.clone(), account.account().log_in_on(connection).await?);
        let request = ForwardRequest {
            packet_type: PacketType::Mix,
            next_hop: patron.scene.mixnode.address,
            size: PacketSize::Ack,
            packet: vec![9; PacketSize::Ack.packet_len()].into(),
        };
        let sealed = frame::seal(&silent.credentials.key, &request.encode());
        let edge = gateway.worker("client-edge")?;
        let (before, with_silent) = (edge.resident()?, edge.sockets()?.len());
        silent.connection.read_socket(false);
        let flood = tokio::spawn(async move {
            let mut sent = 0_u32;
            while silent.connection.send_binary(sealed.clone()).await.is_ok() {
                sent += 1;
            }
            // The connection lives as long as this: it is the gateway that ends it.
            (sent, silent)
        });
        let mut most = before;
        while edge.sockets()?.len() >= with_silent {
            patron.served().await?;
            most = most.max(edge.resident()?);
        }
        let (sent, _silent) = flood.await?;
        eprintln!("{sent} packets: {} KiB before, {} KiB at most", before >> 10, most >> 10);
        ensure!(most <= before + GROWTH, "client-edge grew from {before} to {most} bytes");
        patron.expect_to_be_served_as_before().await
    })
    .await
}
