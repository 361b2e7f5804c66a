//! Strangers that follow the rules of the wire and mean harm: for each there is a bound, and an honest client, at
//! another address, is served as before.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use client_wire::{frame, request::ForwardRequest};
use harness::{
    bystander::{Bystander, gateway_with, p90, p90_of},
    client::{Client, Credentials, Identity, Registration},
    connection::{Connection, Incoming},
    deadline::{self, bounded},
    gateway::{Gateway, IPV4},
    home::Home,
    hostiles::Hostiles,
    mixnode::MixSender,
    scene::Scene,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::interval,
};
use wire::packet::{PacketSize, PacketType};

/// Frames of one client in a row that may be refused.
const MOST: usize = 100;

async fn ends(stream: &mut TcpStream) -> bool {
    !matches!(stream.read(&mut [0; 256]).await, Ok(1..))
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_connections_of_one_address_are_cut_to_its_share() -> Result<()> {
    const CONNECTIONS: usize = 1_500;
    const SHARE: usize = 512;
    bounded(async {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        // A connection that was accepted stays for the length of the test.
        let times = [("timeouts", "websocket_upgrade", "'5m'"), ("timeouts", "half_frame", "'5m'")];
        let mut bystander = Bystander::of(gateway_with(&times).await?).await?;
        let gateway = &bystander.scene.gateway;
        let mut crowds = Vec::new();
        for (port, worker) in [(gateway.clients, "client-edge"), (gateway.mix, "mix-ingress")] {
            let before = gateway.worker(worker)?.sockets()?.len();
            let mut crowd = JoinSet::new();
            for _ in 0..CONNECTIONS {
                let mut stream = TcpStream::connect(port).await?;
                crowd.spawn(async move { ends(&mut stream).await });
            }
            for _ in SHARE..CONNECTIONS {
                let closed = deadline::soon("one who gives way", crowd.join_next()).await?;
                ensure!(closed.context("there is a crowd")??, "{worker} said something");
            }
            let held = gateway.worker(worker)?.sockets()?.len().saturating_sub(before);
            ensure!(held <= SHARE, "{worker} holds {held} connections of one address");
            crowds.push(crowd);
        }
        bystander.expect_to_be_served_as_before().await?;
        let evicted = |worker| (worker, "connections_evicted", CONNECTIONS - SHARE);
        bystander.scene.gateway.expect_counted(&["client-edge", "mix-ingress"].map(evicted)).await
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
        let mut bystander = Bystander::of(gateway_with(&times).await?).await?;
        let (clients, mix) = (bystander.scene.gateway.clients, bystander.scene.gateway.mix);
        let mut drips = Hostiles::new()?;
        for _ in 0..DRIPS {
            drips.spawn(drip(clients, b"GET / HTTP/1.1\r\nHost: gateway\r\nX: "));
            drips.spawn(drip(mix, &[7, 1, 0, 9]));
        }
        bystander.expect_to_be_served_as_before().await?;
        deadline::soon("the end of all drips", drips.all_ended()).await??;
        let cut_off = [("client-edge", "upgrades_failed", DRIPS), ("mix-ingress", "half_frame_timeouts", DRIPS)];
        bystander.scene.gateway.expect_counted(&cut_off).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_in_the_wrong_phase_are_refused_so_often_and_no_more() -> Result<()> {
    bounded(async {
        let mut bystander = Bystander::of(gateway_with(&[]).await?).await?;
        let gateway = bystander.scene.gateway.clients;
        let before = count_refusals(gateway, Incoming::Binary(vec![0; 2_453].into())).await?;
        ensure!(before == MOST, "{before} binary frames were refused before authentication");
        let nobody = Credentials { identity: Identity::random(), key: bystander.credentials.key.clone() };
        let logins = count_refusals(gateway, Incoming::Text(nobody.login_text())).await?;
        ensure!(logins == MOST, "{logins} logins were refused");
        let mut babble = Hostiles::new()?;
        for _ in 0..2 {
            babble.spawn(async move {
                loop {
                    count_refusals(gateway, Incoming::Binary(vec![0; 2_453].into())).await?;
                }
            });
        }
        tokio::select! {
            served = bystander.expect_to_be_served_as_before() => served?,
            ended = babble.ended() => return ended,
        }
        bystander.scene.gateway.expect_counted(&[("client-edge", "malformed_limit_closures", 2)]).await
    })
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
        let mut bystander = Bystander::of(gateway_with(&[]).await?).await?;
        let (gateway, identity) = (bystander.scene.gateway.clients, bystander.scene.gateway.identity);
        let began = Instant::now();
        let mut registered = 0;
        for _ in 0..2 * RATE {
            registered += usize::from(Client::register(gateway, &identity).await.is_ok());
        }
        let refilled = began.elapsed().as_secs() as usize * RATE / 60 + 1;
        ensure!((RATE..=RATE + refilled).contains(&registered), "{registered} of one address could register");
        let mut connection = Connection::open(gateway).await?;
        let refused = async {
            loop {
                connection.send_text(Registration::new(Identity::random()).init_text()).await?;
                let answer = connection.next_text().await?;
                // Another registration is allowed every two seconds, and this may be the one.
                if !answer.contains("handshakePayload") {
                    return anyhow::Ok(answer);
                }
                connection = Connection::open(gateway).await?;
            }
        };
        let refused = deadline::soon("a registration to be refused", refused).await??;
        ensure!(refused.contains("too many registrations"), "{refused}");
        let mut flood = Hostiles::new()?;
        for _ in 0..2 {
            flood.spawn(async move {
                loop {
                    let _ = Client::register(gateway, &identity).await;
                }
            });
        }
        tokio::select! {
            served = bystander.expect_to_be_served_as_before() => served?,
            ended = flood.ended() => return ended,
        }
        let refused = 2 * RATE - registered;
        bystander.scene.gateway.expect_counted(&[("client-edge", "registrations_refused_rate", refused)]).await
    })
    .await
}

/// How long a message takes to a client that is there, from a mix node that is.
async fn served_attached(scene: &mut Scene, client: &mut Client) -> Result<Duration> {
    let began = Instant::now();
    let sent = scene.send(client.address(), PacketSize::Regular).await?;
    ensure!(client.next_message().await? == sent.message, "something else came");
    Ok(began.elapsed())
}

/// Descriptors are short long before the number of connections that is allowed. There is one address for every 24th part of the
/// crowd, each in a network of its own.
#[tokio::test(flavor = "multi_thread")]
async fn silent_crowds_from_many_addresses_keep_nobody_out() -> Result<()> {
    const OPEN_FILES: u64 = 256;
    const POSSIBLE: usize = 210;
    const CONNECTIONS: usize = 500;
    const MESSAGES: usize = 20;
    bounded(async {
        let home = Home::init(IPV4).await?.limited_to(OPEN_FILES);
        home.set_config("timeouts", "websocket_upgrade", "'5m'")?;
        home.set_config("timeouts", "half_frame", "'5m'")?;
        let mut scene = Scene::around(Gateway::start_in(home, &[]).await?, IPV4).await?;
        let mut client = scene.client().await?;
        let undisturbed = p90(MESSAGES, async || served_attached(&mut scene, &mut client).await).await?;
        let mut crowds = Vec::new();
        for port in [scene.gateway.clients, scene.gateway.mix] {
            let mut crowd = JoinSet::new();
            for number in 0..CONNECTIONS {
                let socket = TcpSocket::new_v4()?;
                socket.bind(SocketAddr::from(([127, 1, (number % 24) as u8, 1], 0)))?;
                let mut stream = socket.connect(port).await?;
                crowd.spawn(async move { ends(&mut stream).await });
            }
            for _ in POSSIBLE..CONNECTIONS {
                let closed = deadline::soon("one who gives way", crowd.join_next()).await?;
                ensure!(closed.context("there is a crowd")??, "the gateway said something");
            }
            crowds.push(crowd);
        }
        let mut newcomer = scene.client().await?;
        let mut sender = MixSender::connect(scene.gateway.mix).await?;
        let packet = scene.packets().make(newcomer.address(), PacketSize::Regular)?;
        sender.send(&packet).await?;
        deadline::soon("mail from a new node to a new client", newcomer.next_message()).await??;
        let disturbed = p90(MESSAGES, async || served_attached(&mut scene, &mut client).await).await?;
        eprintln!("served in {undisturbed:?} undisturbed, in {disturbed:?} disturbed");
        ensure!(Bystander::is_as_before(undisturbed, disturbed), "in {undisturbed:?} before, now in {disturbed:?}");
        let complaints = |line: &String| line.contains("which is too few for the settings in [limits]");
        let lines = scene.gateway.log().lines().into_iter().filter(complaints).count();
        ensure!(lines == 1, "{lines} lines about descriptors");
        let evicted = |worker| (worker, "connections_evicted", CONNECTIONS - POSSIBLE);
        scene.gateway.expect_counted(&["client-edge", "mix-ingress"].map(evicted)).await
    })
    .await
}

/// The client goes on sending, and costs no memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_no_answers_is_disconnected_in_time() -> Result<()> {
    const GROWTH: u64 = 4 << 20;
    bounded(async {
        let mut bystander = Bystander::of(gateway_with(&[("delivery", "receipt_timeout", "'10s'")]).await?).await?;
        let gateway = &bystander.scene.gateway;
        let account = Client::register(gateway.clients, &gateway.identity).await?.leave().await?;
        let socket = TcpSocket::new_v4()?;
        // With the default buffer the kernel would take a hundred thousand answers for the client.
        socket.set_recv_buffer_size(4096)?;
        let connection = Connection::upgrade(socket.connect(gateway.clients).await?).await?;
        let silent = Client::new(account.clone(), account.account().log_in_on(connection).await?);
        // Where its packets go is elsewhere in the world, too.
        let sink = TcpListener::bind((IPV4, 0)).await?;
        let request = ForwardRequest {
            packet_type: PacketType::Mix,
            next_hop: sink.local_addr()?,
            size: PacketSize::Ack,
            packet: vec![9; PacketSize::Ack.packet_len()].into(),
        };
        let sealed = frame::seal(&silent.credentials.key, &request.encode());
        let edge = gateway.worker("client-edge")?;
        let (before, with_silent) = (edge.resident()?, edge.sockets()?.len());
        silent.connection.read_socket(false);
        let mut flood = Hostiles::new()?;
        flood.spawn(async move {
            loop {
                copy(&mut sink.accept().await?.0, &mut tokio::io::sink()).await?;
            }
        });
        flood.spawn(async move {
            while silent.connection.send_binary(sealed.clone()).await.is_ok() {}
            // The connection lives as long as this: it is the gateway that ends it.
            let _silent = silent;
            std::future::pending().await
        });
        // While its packets are taken, which they are until so many answers wait that nothing is read any more.
        bystander.expect_to_be_served_as_before().await?;
        ensure!(edge.sockets()?.len() >= with_silent, "it was disconnected too soon to be in anybody's way");
        let (mut most, mut took) = (before, Vec::new());
        // A client that does not sign its logins has a number of them, and a fast machine uses that up within the ten seconds.
        let mut pace = interval(Duration::from_millis(10));
        while edge.sockets()?.len() >= with_silent {
            pace.tick().await;
            took.push(bystander.served().await?);
            most = most.max(edge.resident()?);
        }
        let (undisturbed, afterwards) = (bystander.undisturbed(), p90_of(took)?);
        eprintln!("served in {undisturbed:?} undisturbed, in {afterwards:?} from then on");
        ensure!(Bystander::is_as_before(undisturbed, afterwards), "served in {afterwards:?} from then on");
        eprintln!("{} KiB before, {} KiB at most", before >> 10, most >> 10);
        ensure!(most <= before + GROWTH, "client-edge grew from {before} to {most} bytes");
        bystander.scene.gateway.expect_counted(&[("client-edge", "unwritten_timeouts", 1)]).await
    })
    .await
}
