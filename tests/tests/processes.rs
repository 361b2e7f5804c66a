//! What each process holds and may do, as the kernel sees it; and one gateway per id and per port.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use proto::{
    pem::{self, KeyTag},
    wire::packet::PacketSize,
};
use tests::{
    deadline::{self, bounded},
    gateway::{Gateway, IPV4, WORKERS},
    home::Home,
    process::{Process, TcpSocket, tcp_sockets},
    scene::Scene,
};
use tokio::net::TcpListener;

/// A gateway that has done everything once: mail, acks, forwarded packets.
async fn exercised() -> Result<Scene> {
    let mut scene = Scene::start().await?;
    let mut client = scene.client().await?;
    let sent = scene.send_many(client.address(), 5).await?;
    client.next_messages(5).await?;
    scene.mixnode.wait_for_acks(&sent).await?;
    let packet = scene.packets().make(client.address(), PacketSize::Ack)?.packet;
    client.forward(scene.mixnode.address, &packet).await?;
    scene.mixnode.wait_for_packet(&packet).await?;
    client.leave().await?;
    Ok(scene)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_worker_has_an_environment_or_can_gain_privileges() -> Result<()> {
    bounded(async {
        let scene = exercised().await?;
        for (name, worker) in WORKERS.into_iter().zip(scene.gateway.workers()?) {
            ensure!(worker.status("NoNewPrivs")? == "1", "{name} can gain privileges");
            ensure!(
                worker.status("PPid")? == scene.gateway.supervisor().0.to_string(),
                "{name} is somebody else's child"
            );
            // The kernel shows a process that cannot be dumped to root only; so in the other tests here.
            if need::root(44) {
                let environment = worker.environment()?;
                ensure!(environment.is_empty(), "{name} has {}", String::from_utf8_lossy(&environment));
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_private_key_is_in_the_locked_memory_of_one_process_and_nowhere_else() -> Result<()> {
    bounded(async {
        if !need::root(42) {
            return Ok(());
        }
        let scene = exercised().await?;
        for (tag, file, keeper) in [
            (KeyTag::Ed25519Private, "private_identity.pem", "store"),
            (KeyTag::X25519Private, "private_sphinx.pem", "mix-ingress"),
        ] {
            let key = pem::decode(tag, &fs::read(scene.gateway.home.data().join(file))?)?;
            // Curve25519 changes the outer bytes of the key that it works with.
            let Some(inner) = key.get(1..31) else { bail!("a key of less than 32 bytes") };
            let workers = WORKERS.into_iter().zip(scene.gateway.workers()?);
            for (name, process) in workers.chain([("gatewayd", scene.gateway.supervisor())]) {
                let memory = process.private_memory()?;
                ensure!(!memory.has_unlocked(inner), "{name} has {file} in memory that is not locked");
                ensure!(memory.has_locked(inner) == (name == keeper), "{file} is in {name}, or is not in {keeper}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_key_is_in_locked_memory_while_its_client_is_attached_and_no_longer() -> Result<()> {
    bounded(async {
        if !need::root(42) {
            return Ok(());
        }
        let scene = Scene::start().await?;
        let client = scene.client().await?;
        let key = client.credentials.key.to_bytes();
        let (encryption, _) = key.split_at(16);
        let edge = scene.gateway.worker("client-edge")?;
        // In locked memory, and elsewhere.
        let seen = || {
            let memory = edge.private_memory()?;
            anyhow::Ok((memory.has_locked(encryption), memory.has_unlocked(encryption)))
        };
        let found = seen()?;
        ensure!(found == (true, false), "the key of an attached client is {found:?}");
        client.leave().await?;
        let is_gone = || matches!(seen(), Ok((false, false)));
        deadline::until(deadline::SOON, "the key to be wiped", is_gone).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_the_validators_has_nothing_left_to_lose() -> Result<()> {
    bounded(async {
        // A validator that takes its time, so that whoever asks it can be looked at.
        let validator = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", validator.local_addr()?);
        let home = Home::init(IPV4).await?;
        let mut gatewayd = home.command("run", &["--validators", &url])?.kill_on_drop(true).spawn()?;
        let (_connection, _) = deadline::soon("a question", validator.accept()).await??;
        let supervisor = gatewayd.id().context("gatewayd has ended")?;
        let asks = |process: &Process| {
            let is = |name, expected: &str| process.status(name).is_ok_and(|value| value == expected);
            is("PPid", &supervisor.to_string()) && is("Name", "validator-query")
        };
        let query = Process::all()?.into_iter().find(asks).context("nobody asks")?;
        ensure!(query.status("NoNewPrivs")? == "1", "it can gain privileges");
        ensure!(query.status("Seccomp")? == "2", "it may make any system call");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            ensure!(query.status(set)? == "0000000000000000", "{set} is {}", query.status(set)?);
        }
        if need::root(45) {
            let user = query.status("Uid")?;
            ensure!(user.split_whitespace().all(|uid| uid != "0"), "it is root: {user}");
            ensure!(query.status("Groups")?.is_empty(), "it has groups");
            ensure!(query.status("CapBnd")? == "0000000000000000", "it could start what has capabilities");
        }
        gatewayd.kill().await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_worker_keeps_a_key_file_open_and_only_the_store_touches_data() -> Result<()> {
    bounded(async {
        if !need::root(42) {
            return Ok(());
        }
        let scene = exercised().await?;
        let data = scene.gateway.home.data().to_string_lossy().into_owned();
        for (name, worker) in WORKERS.into_iter().zip(scene.gateway.workers()?) {
            let descriptors = worker.descriptors()?;
            let mapped = worker.mapped_files()?;
            let files: Vec<&String> = descriptors.iter().chain(&mapped).filter(|path| path.contains(&data)).collect();
            ensure!(files.iter().all(|path| !path.contains(".pem")), "{name} holds a key file open: {files:?}");
            ensure!((name == "store") != files.is_empty(), "{name} has {files:?}");
            // Standard output and error are the test's: nothing, and a pipe.
            for descriptor in descriptors.iter().filter(|path| !path.contains(&data)) {
                let kinds = ["socket:[", "pipe:[", "anon_inode:[event", "/dev/null"];
                ensure!(kinds.iter().any(|kind| descriptor.starts_with(kind)), "{name} holds {descriptor}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_worker_holds_the_sockets_of_its_job_and_no_others() -> Result<()> {
    /// A control link, two links, and a pair with which tokio wakes itself for signals.
    const LOCAL_SOCKETS: usize = 5;

    bounded(async {
        if !need::root(43) {
            return Ok(());
        }
        let scene = exercised().await?;
        let gateway = &scene.gateway;
        for (name, listens_on, connections) in [
            // The mix node's connection, which is still open.
            ("mix-ingress", Some(gateway.mix.port()), 1),
            // The client has left.
            ("client-edge", Some(gateway.clients.port()), 0),
            // To the mix node.
            ("mix-egress", None, 1),
            ("store", None, 0),
        ] {
            let held = gateway.worker(name)?.sockets()?;
            let tcp: Vec<TcpSocket> = tcp_sockets()?.into_iter().filter(|tcp| held.contains(&tcp.inode)).collect();
            let (listeners, connected): (Vec<TcpSocket>, Vec<_>) = tcp.iter().partition(|tcp| tcp.listens);
            let ports: Vec<u16> = listeners.iter().map(|tcp| tcp.port).collect();
            ensure!(ports == Vec::from_iter(listens_on), "{name} listens on {ports:?} instead of {listens_on:?}");
            ensure!(connected.len() == connections, "{name} has {} connections", connected.len());
            let local = held.len() - tcp.len();
            ensure!(local <= LOCAL_SOCKETS, "{name} holds {local} sockets that are no TCP sockets");
        }
        let listeners: Vec<_> = tcp_sockets()?.into_iter().filter(|tcp| tcp.listens).collect();
        let supervisor = gateway.supervisor().sockets()?;
        for port in [gateway.mix.port(), gateway.clients.port()] {
            let kept = listeners.iter().any(|tcp| tcp.port == port && supervisor.contains(&tcp.inode));
            ensure!(kept, "the successor of a dead worker would find no listener on {port}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_of_the_same_id_names_the_first() -> Result<()> {
    bounded(async {
        let mut scene = exercised().await?;
        let second = scene.gateway.home.gatewayd("run", &[]).await?;
        ensure!(second.code == Some(1), "{second:?}");
        let Process(pid) = scene.gateway.supervisor();
        ensure!(second.stderr.contains("already running") && second.stderr.contains(&pid.to_string()), "{second:?}");

        // The first has not noticed.
        let mut client = scene.client().await?;
        let sent = scene.send(client.address(), PacketSize::Regular).await?;
        ensure!(client.next_message().await? == sent.message);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_with_its_setting() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        for (section, setting, address) in
            [("mixnet_endpoint", "--mix-port", gateway.mix), ("clients_endpoint", "--clients-port", gateway.clients)]
        {
            let other = Home::init(address.ip()).await?;
            other.set_config(section, "listening_address", &format!("'{address}'"))?;
            let outcome = other.gatewayd("run", &[]).await?;
            ensure!(outcome.code == Some(1), "{outcome:?}");
            for word in [&address.port().to_string(), setting, &format!("{section}.listening_address")] {
                ensure!(outcome.stderr.contains(word), "{word} is not in {outcome:?}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_was_never_made_says_what_to_do() -> Result<()> {
    bounded(async {
        let home = Home::empty()?;
        let outcome = home.gatewayd("run", &[]).await?;
        ensure!(outcome.code == Some(78), "{outcome:?}");
        ensure!(outcome.stderr.contains("have run `init` before"), "{outcome:?}");
        Ok(())
    })
    .await
}
