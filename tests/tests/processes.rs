//! What each process holds and may do, as the kernel sees it; and one gateway per id and per port.

use std::{collections::HashSet, fs, io, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::{
    account::Identity,
    client::Client,
    deadline::{self, bounded},
    era::Era,
    gateway::{Gateway, IPV4, WORKERS},
    home::Home,
    key_forms::{Found, HMAC_FORM, KeyForms},
    process::{PrivateMemory, Process, TcpSocket, tcp_sockets},
    scene::Scene,
};
use nix::sys::signal::Signal;
use pem::KeyTag;
use tokio::net::TcpListener;
use wire::packet::PacketSize;

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

/// Each private key of the gateway, its file, and the worker that has it.
fn private_keys(home: &Home) -> Result<Vec<(&'static str, &'static str, KeyForms)>> {
    let mut keys = Vec::new();
    for (tag, file, keeper) in [
        (KeyTag::Ed25519Private, "private_identity.pem", "store"),
        (KeyTag::X25519Private, "private_sphinx.pem", "mix-ingress"),
    ] {
        let key = pem::decode(tag, &fs::read(home.data().join(file))?)?;
        keys.push((file, keeper, KeyForms::of_private_key(&key)));
    }
    Ok(keys)
}

/// A process has no key in any form, but for the one that is its keeper, which may have it in locked memory.
fn expect_no_key_elsewhere(name: &str, memory: &PrivateMemory, home: &Home) -> Result<()> {
    for (file, keeper, forms) in private_keys(home)? {
        let Found { locked, unlocked, in_other_forms, unlocked_in_other_forms } = forms.found_in(memory);
        let is_elsewhere = unlocked || !unlocked_in_other_forms.is_empty();
        let is_there = locked != [false; 2] || !in_other_forms.is_empty();
        ensure!(!is_elsewhere, "{name} has {file} in memory that is not locked: {unlocked_in_other_forms:?}");
        ensure!(name == keeper || !is_there, "{name} has {file}: {in_other_forms:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_private_key_is_only_in_locked_memory_of_one_process() -> Result<()> {
    bounded(async {
        if !need::root(42) {
            return Ok(());
        }
        let scene = exercised().await?;
        let workers = WORKERS.into_iter().zip(scene.gateway.workers()?);
        for (name, process) in workers.chain([("gatewayd", scene.gateway.supervisor())]) {
            let memory = process.private_memory()?;
            expect_no_key_elsewhere(name, &memory, &scene.gateway.home)?;
            for (file, _, forms) in private_keys(&scene.gateway.home)?.iter().filter(|(_, keeper, _)| *keeper == name) {
                ensure!(forms.found_in(&memory).locked == [true; 2], "{name} has no {file} in locked memory");
            }
        }
        Ok(())
    })
    .await
}

/// Probes of the supervisor that are in their jail and that were not seen before; stopped, since they live for less than a second. On
/// the way there a key is read from its file.
fn stop_probes(gateway: &Gateway, seen: &mut HashSet<Process>) -> Result<Vec<(String, Process)>> {
    /// Of system calls, at the least: one to begin with, and that of the jail.
    const FILTERS: usize = 2;
    let mut probes = Vec::new();
    for process in Process::all()? {
        // A process that has ended is no child.
        let is_child = process.status("PPid").is_ok_and(|parent| parent == gateway.supervisor().0.to_string());
        let filters = process.status("Seccomp_filters").ok().and_then(|filters| filters.parse::<usize>().ok());
        if is_child && filters >= Some(FILTERS) && seen.insert(process) && process.signal(Signal::SIGSTOP).is_ok() {
            probes.extend(process.status("Name").ok().map(|name| (name, process)));
        }
    }
    Ok(probes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_has_no_key_that_its_role_has_not() -> Result<()> {
    bounded(async {
        if !need::root(42) {
            return Ok(());
        }
        let gateway = Gateway::start().await?;
        let mut seen: HashSet<Process> = gateway.workers()?.into_iter().collect();
        for role in WORKERS {
            let mut looks = 0_usize;
            // Most live for so short that they come and go unseen.
            while looks == 0 {
                let mut audit = gateway.home.command("audit", &["--json", "--role", role])?;
                let mut audit = audit.stdout(Stdio::null()).kill_on_drop(true).spawn()?;
                while audit.try_wait()?.is_none() {
                    for (name, probe) in stop_probes(&gateway, &mut seen)? {
                        let memory = probe.private_memory();
                        // It may have been killed meanwhile.
                        let (Ok(()), Ok(memory)) = (probe.signal(Signal::SIGCONT), memory) else { continue };
                        expect_no_key_elsewhere(&name, &memory, &gateway.home).context("a probe")?;
                        looks += usize::from(name == role);
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            eprintln!("looked at {looks} probes of {role}");
        }
        Ok(())
    })
    .await
}

/// How a session comes to its end without a word of its client.
#[derive(Clone, Copy, Debug)]
enum End {
    Leaves,
    Vanishes,
    IsSuperseded,
    TimesOut,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_key_is_in_locked_memory_only_during_its_session() -> Result<()> {
    bounded(async {
        if !need::root(42) {
            return Ok(());
        }
        let home = Home::init(IPV4).await?;
        home.set_config("delivery", "receipt_timeout", "'1s'")?;
        let mut scene = Scene::around(Gateway::start_in(home, &[]).await?, IPV4).await?;
        let edge = scene.gateway.worker("client-edge")?;
        let mut is_first = true;
        for era in [Era::Of2021, Era::Version(3), Era::TODAY] {
            for end in [End::Leaves, End::Vanishes, End::IsSuperseded, End::TimesOut] {
                let register = async |identity: &Identity| {
                    Client::register_in(era, identity, scene.gateway.clients, &scene.gateway.identity).await
                };
                let mut client = register(&Identity::random()).await?;
                let account = client.credentials.clone();
                let forms = KeyForms::of_session_key(&account.key);
                let found = || Ok::<_, io::Error>(forms.found_in(&edge.private_memory()?));
                // On its way a key goes over the stack, and so does what HMAC makes of it, and the stack is not wiped. Of the first one
                // nothing is there.
                let is_clean = |found: &Found| match is_first {
                    true => found.in_other_forms.is_empty() && !found.unlocked,
                    false => found.in_other_forms.iter().all(|form| *form == HMAC_FORM),
                };
                let attached = found()?;
                ensure!(attached.locked == [true; 2] && is_clean(&attached), "{era}, {end:?}: {attached:?}");
                let mut successor = None;
                match end {
                    End::Leaves => drop(client.leave().await?),
                    End::Vanishes => client.connection.vanish().await?,
                    End::IsSuperseded => {
                        client.connection.read_socket(false);
                        successor = Some((register(&account.identity).await?, client));
                    }
                    End::TimesOut => {
                        client.connection.answer_pings(false);
                        scene.send(account.address(), PacketSize::Regular).await?;
                        client.next_message().await?;
                        client.connection.wait_for_end().await?;
                    }
                }
                let is_gone = || found().is_ok_and(|found| found.locked == [false; 2] && is_clean(&found));
                let what = format!("the key of a client of {era} that {end:?} to be wiped");
                deadline::until(deadline::SOON, &what, is_gone).await?;
                drop(successor);
                is_first = false;
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_the_validators_has_nothing_left_to_lose() -> Result<()> {
    bounded(async {
        // A slow validator, so that the process that asks it can be looked at.
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
        if need::root(42) {
            expect_no_key_elsewhere("validator-query", &query.private_memory()?, &home)?;
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
async fn no_worker_keeps_a_key_file_and_only_the_store_touches_data() -> Result<()> {
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
    /// A control link, and a pair with which tokio wakes itself for signals.
    const LOCAL_SOCKETS: usize = 3;

    bounded(async {
        if !need::root(43) {
            return Ok(());
        }
        let scene = exercised().await?;
        let gateway = &scene.gateway;
        for (name, listens_on, connections, links) in [
            // The mix node's connection, which is still open.
            ("mix-ingress", Some(gateway.mix.port()), 1, 2),
            // The client has left.
            ("client-edge", Some(gateway.clients.port()), 0, 2),
            // To the mix node.
            ("mix-egress", None, 1, 2),
            ("store", None, 0, 3),
            ("http-api", Some(gateway.http()?.port()), 0, 1),
        ] {
            let held = gateway.worker(name)?.sockets()?;
            let tcp: Vec<TcpSocket> = tcp_sockets()?.into_iter().filter(|tcp| held.contains(&tcp.inode)).collect();
            let (listeners, connected): (Vec<TcpSocket>, Vec<_>) = tcp.iter().partition(|tcp| tcp.listens);
            let ports: Vec<u16> = listeners.iter().map(|tcp| tcp.port).collect();
            ensure!(ports == Vec::from_iter(listens_on), "{name} listens on {ports:?} instead of {listens_on:?}");
            ensure!(connected.len() == connections, "{name} has {} connections", connected.len());
            let local = held.len() - tcp.len();
            ensure!(local <= LOCAL_SOCKETS + links, "{name} holds {local} sockets that are no TCP sockets");
        }
        let listeners: Vec<_> = tcp_sockets()?.into_iter().filter(|tcp| tcp.listens).collect();
        let supervisor = gateway.supervisor().sockets()?;
        for port in [gateway.mix.port(), gateway.clients.port(), gateway.http()?.port()] {
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
