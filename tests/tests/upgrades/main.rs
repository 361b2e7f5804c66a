//! `gatewayd upgrade-binary`: the running gateway becomes other programs, and its own again if the others are no good.

mod probation;

use std::{
    collections::HashSet,
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::try_join_all;
use harness::{
    account::{Account, Identity, now},
    client::{Client, Era},
    connection::Connection,
    deadline::{self, within},
    gateway::{Gateway, IPV4},
    home::{Home, Outcome, program},
    mixnode::{FRAMING_2021, MixSender},
    packet::{FinalHopPacket, PacketMaker},
    process::Process,
    scene::Scene,
};
use nix::sys::signal::Signal;
use tokio::time::sleep;

/// For an upgrade with all that comes with it.
const UPGRADE: Duration = Duration::from_secs(120);
/// For one of these tests: some make three upgrades.
const TEST: Duration = Duration::from_secs(400);

async fn bounded(test: impl Future<Output = Result<()>>) -> Result<()> {
    within(TEST, "the end of the test", test).await?
}

/// A gateway that runs programs of its own, and its neighbour.
async fn scene() -> Result<Scene> {
    let home = Home::init(IPV4).await?.with_own_programs()?;
    Scene::around(Gateway::start_in(home, &[]).await?, IPV4).await
}

/// The programs of the next build, in a folder of their own.
fn next(home: &Home) -> Result<PathBuf> {
    let folder = home.root().join("next");
    home.install(&folder)?;
    Ok(folder)
}

/// Puts a worker in this place that works, and dies some seconds after its start.
fn make_mortal(folder: &Path, name: &str) -> Result<()> {
    fs::create_dir_all(folder.join("real"))?;
    fs::rename(folder.join(name), folder.join("real").join(name))?;
    fs::copy(program("mortal")?, folder.join(name))?;
    Ok(())
}

async fn upgrade(home: &Home, arguments: &[&str]) -> Result<Outcome> {
    let output = home.command("upgrade-binary", arguments)?.output();
    let output = within(UPGRADE, "an upgrade", output).await??;
    Ok(Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

async fn upgrade_from(home: &Home, folder: &Path, probation: &str) -> Result<Outcome> {
    let folder = folder.to_str().context("a path that is no text")?;
    upgrade(home, &["--from", folder, "--probation", probation]).await
}

fn runs_from(process: Process) -> Result<String> {
    Ok(fs::read_link(format!("/proc/{}/exe", process.0))?.to_string_lossy().into_owned())
}

/// Checks that supervisor and workers run programs of this folder, and that the process is still the same.
fn all_run_from(gateway: &Gateway, folder: &Path) -> Result<()> {
    for process in gateway.workers()?.into_iter().chain([gateway.supervisor()]) {
        let path = runs_from(process)?;
        ensure!(Path::new(&path).starts_with(folder), "{path} is not in {}", folder.display());
    }
    Ok(())
}

/// Stores mail for a client that is away. Returns the client and its mail.
async fn mail_for_one(scene: &mut Scene) -> Result<(Account, Vec<FinalHopPacket>)> {
    let (clients, identity) = (scene.gateway.clients, scene.gateway.identity);
    let client = Client::register_in(Era::TODAY, &Identity::random(), clients, &identity).await?;
    let account = client.leave().await?;
    let mail = scene.send_many(account.address(), 20).await?;
    scene.mixnode.wait_for_acks(&mail).await?;
    Ok((account, mail))
}

async fn expect_mail(scene: &Scene, account: &Account, mail: &[FinalHopPacket]) -> Result<()> {
    let mut client = Client::log_in(account, scene.gateway.clients).await?;
    let last = mail.last().context("there is no mail")?;
    // Some of it may have come before.
    let got = client.messages_until(&last.message).await?;
    ensure!(mail.iter().all(|packet| got.contains(&packet.message)), "mail is missing");
    client.leave().await.map(drop)
}

/// What everybody outside does and sees during an upgrade.
#[derive(Default)]
struct Outside {
    is_over: AtomicBool,
    /// Connections that were taken.
    taken: AtomicU64,
    /// Connections that were refused.
    refused: AtomicU64,
    /// Logins that were answered with yes.
    logins: AtomicU64,
    /// Connections that ended before their login was answered.
    cut: AtomicU64,
    /// Logins that were answered with no.
    denied: AtomicU64,
}

impl Outside {
    /// Connects again and again, with blocking calls.
    fn knock(&self, address: SocketAddr) {
        while !self.is_over.load(Relaxed) {
            match TcpStream::connect(address) {
                Ok(_) => self.taken.fetch_add(1, Relaxed),
                Err(_) => self.refused.fetch_add(1, Relaxed),
            };
            // The pace.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    async fn connect(&self, address: SocketAddr) -> Result<tokio::net::TcpStream> {
        let stream = tokio::net::TcpStream::connect(address).await;
        match &stream {
            Ok(_) => self.taken.fetch_add(1, Relaxed),
            Err(_) => self.refused.fetch_add(1, Relaxed),
        };
        Ok(stream?)
    }
}

/// A client that comes and goes, and what it has been pushed.
struct Visitor {
    account: Account,
    last_login: u64,
    got: Arc<Mutex<HashSet<Vec<u8>>>>,
}

impl Visitor {
    fn has(&self, message: &[u8]) -> bool {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).contains(message)
    }

    /// A login as of its era, later than its last.
    fn login_text(&mut self) -> Result<String> {
        if self.account.era != Era::TODAY {
            return Ok(self.account.login_text());
        }
        self.last_login = now().max(self.last_login + 1);
        Ok(self.account.signed_login(self.last_login)?.to_request().to_string())
    }

    /// Logs in once; none if the connection ended before.
    async fn log_in(&mut self, clients: SocketAddr, outside: &Outside) -> Result<Option<Client<Account>>> {
        let stream = outside.connect(clients).await?;
        let text = self.login_text()?;
        let answered = async {
            let mut connection = Connection::upgrade(stream).await?;
            connection.send_text(text).await?;
            let answer = connection.next_text().await?;
            anyhow::Ok((connection, answer))
        };
        let Ok((connection, answer)) = answered.await else {
            outside.cut.fetch_add(1, Relaxed);
            return Ok(None);
        };
        if self.account.expect_yes(&answer).is_err() {
            outside.denied.fetch_add(1, Relaxed);
            return Ok(None);
        }
        outside.logins.fetch_add(1, Relaxed);
        Ok(Some(Client::new(self.account.clone(), connection)))
    }

    /// Comes, takes its mail for a while, and goes, again and again.
    async fn come_and_go(mut self, clients: SocketAddr, outside: Arc<Outside>) -> Result<Self> {
        while !outside.is_over.load(Relaxed) {
            if let Some(mut client) = self.log_in(clients, &outside).await? {
                // Logins of today have times in seconds, so that a client logs in once a second.
                let _ = tokio::time::timeout(Duration::from_millis(1_500), self.take_mail(&mut client)).await;
            } else {
                sleep(Duration::from_millis(200)).await;
            }
        }
        Ok(self)
    }

    async fn take_mail(&self, client: &mut Client<Account>) -> Result<()> {
        while let Some(message) = client.next_message_or_end().await? {
            self.got.lock().unwrap_or_else(PoisonError::into_inner).insert(message);
        }
        Ok(())
    }
}

/// Sends packets to all of these clients in turn, over connections that it makes again when they end.
async fn send_mail(
    packets: PacketMaker,
    mix: SocketAddr,
    accounts: Vec<Account>,
    outside: Arc<Outside>,
) -> Result<Vec<(usize, FinalHopPacket)>> {
    let mut sent = Vec::new();
    let mut sender = None;
    for (index, account) in accounts.iter().enumerate().cycle() {
        if outside.is_over.load(Relaxed) {
            break;
        }
        let packet = packets.make(account.address(), wire::packet::PacketSize::Regular)?;
        let connection = match sender.take() {
            Some(connection) => connection,
            None => MixSender::on(outside.connect(mix).await?),
        };
        let mut connection: MixSender = connection;
        // On an error the connection has ended, and the packet is lost without an acknowledgement, as on any network.
        if connection.send(&packet).await.is_ok() {
            sender = Some(connection);
        }
        sent.push((index, packet));
        // The pace.
        sleep(Duration::from_millis(5)).await;
    }
    Ok(sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_refuses_nobody_and_loses_nothing_acknowledged() -> Result<()> {
    const CLIENTS: usize = 100;
    bounded(async {
        let scene = scene().await?;
        let (gateway, home) = (&scene.gateway, &scene.gateway.home);
        let folder = next(home)?;
        let mut visitors = Vec::new();
        for index in 0..CLIENTS {
            let era = if index % 2 == 0 { Era::Of2021 } else { Era::TODAY };
            let client = Client::register_in(era, &Identity::random(), gateway.clients, &gateway.identity).await?;
            let account = client.leave().await?;
            visitors.push(Visitor { account, last_login: now(), got: Arc::default() });
        }
        let outside = Arc::new(Outside::default());
        let accounts: Vec<Account> = visitors.iter().map(|visitor| visitor.account.clone()).collect();
        let knocking: Vec<_> = [gateway.mix, gateway.clients]
            .map(|address| {
                let outside = Arc::clone(&outside);
                std::thread::spawn(move || outside.knock(address))
            })
            .into();
        let sending = tokio::spawn(send_mail(scene.packets(), gateway.mix, accounts, Arc::clone(&outside)));
        let visiting: Vec<_> = visitors
            .into_iter()
            .map(|visitor| tokio::spawn(visitor.come_and_go(gateway.clients, Arc::clone(&outside))))
            .collect();
        let all_have_come = || outside.logins.load(Relaxed) >= 2 * CLIENTS as u64;
        deadline::until(UPGRADE, "all clients to have come twice", all_have_come).await?;

        let before = (gateway.supervisor(), gateway.workers()?);
        let outcome = upgrade_from(home, &folder, "10s").await?;
        ensure!(outcome.code == Some(0) && outcome.stdout.contains("The new programs stay"), "{outcome:?}");
        all_run_from(gateway, &folder)?;
        ensure!(before.0 == gateway.supervisor() && before.1.iter().all(|worker| !worker.runs()));

        let after = outside.logins.load(Relaxed);
        let come_again = || outside.logins.load(Relaxed) >= after + CLIENTS as u64;
        deadline::until(UPGRADE, "all clients to have come once more", come_again).await?;
        outside.is_over.store(true, Relaxed);
        for thread in knocking {
            thread.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))?;
        }
        let sent = sending.await??;
        let mut visitors = try_join_all(visiting).await?.into_iter().collect::<Result<Vec<Visitor>>>()?;
        let acknowledged: Vec<_> = sent.iter().filter(|(_, packet)| scene.mixnode.has_ack(packet)).collect();
        let count = |of: &AtomicU64| of.load(Relaxed);
        eprintln!(
            "connections: {} taken, {} refused; logins: {} yes, {} no, {} cut off; packets: {} sent, {} acknowledged",
            count(&outside.taken),
            count(&outside.refused),
            count(&outside.logins),
            count(&outside.denied),
            count(&outside.cut),
            sent.len(),
            acknowledged.len()
        );
        for (index, visitor) in visitors.iter_mut().enumerate() {
            let of_it = acknowledged.iter().filter(|(of, _)| *of == index).map(|(_, packet)| packet);
            let missing: Vec<&[u8]> = of_it.map(|packet| &packet.message[..]).filter(|m| !visitor.has(m)).collect();
            if missing.is_empty() {
                continue;
            }
            let Some(mut client) = visitor.log_in(gateway.clients, &outside).await? else { bail!("a login failed") };
            let all = async {
                while missing.iter().any(|message| !visitor.has(message)) {
                    let message = client.next_message().await?;
                    visitor.got.lock().unwrap_or_else(PoisonError::into_inner).insert(message);
                }
                anyhow::Ok(())
            };
            all.await.with_context(|| format!("acknowledged messages of client {index} are lost"))?;
        }
        ensure!(acknowledged.len() * 2 > sent.len(), "hardly a packet was acknowledged");
        ensure!(count(&outside.refused) == 0, "{} connections were refused", count(&outside.refused));
        ensure!(count(&outside.denied) == 0, "{} logins were denied", count(&outside.denied));
        Ok(())
    })
    .await
}

/// How programs are spoiled, and what is said of it.
type Case<'a> = (&'a dyn Fn() -> Result<()>, &'a [&'a str]);

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_cannot_be_used_change_nothing() -> Result<()> {
    bounded(async {
        let mut scene = scene().await?;
        let (account, mail) = mail_for_one(&mut scene).await?;
        let (gateway, home) = (&scene.gateway, &scene.gateway.home);
        let (before, folder) = (gateway.workers()?, next(home)?);
        let script = |name: &str, text: &str| -> Result<()> {
            fs::remove_file(folder.join(name))?;
            fs::write(folder.join(name), format!("#!/bin/sh\n{text}\n"))?;
            Ok(fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755))?)
        };
        let cut = |name: &str| -> Result<()> {
            let file = fs::File::options().write(true).open(folder.join(name))?;
            Ok(file.set_len(64 * 1024)?)
        };
        let open = |name: &str| -> Result<()> {
            Ok(fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o757))?)
        };
        let cases: [Case<'_>; 8] = [
            (&|| Ok(fs::remove_file(folder.join("signer"))?), &["`signer` is neither in"]),
            (&|| script("store", "exit 0"), &["store does not say which build it is of"]),
            (&|| script("mix-egress", "echo 0123456789abcdef"), &["mix-egress is of another build"]),
            (&|| cut("client-edge"), &["client-edge does not say which build it is of"]),
            (&|| script("gatewayd", "exit 2"), &["is no gatewayd that could take over"]),
            (&|| Ok(fs::remove_file(folder.join("gatewayd"))?), &["there is no gatewayd in", "--from"]),
            (&|| open("gatewayd"), &["other accounts may write to", "next/gatewayd", "chmod go-w"]),
            (&|| open("http-api"), &["other accounts may write to", "next/http-api", "chmod go-w"]),
        ];
        for (spoil, words) in cases {
            home.install(&folder)?;
            spoil()?;
            let refused = upgrade_from(home, &folder, "1s").await?;
            ensure!(refused.code == Some(1) && refused.stderr.contains("nothing was changed"), "{refused:?}");
            for word in words {
                ensure!(refused.stderr.contains(word), "{word}: {refused:?}");
            }
        }
        home.install(&folder)?;
        script("gatewayd", "exit 0")?;
        let path = folder.to_str().context("a path that is no text")?;
        let refused = upgrade(home, &["--from", path, "--json"]).await?;
        let report: serde_json::Value = serde_json::from_str(&refused.stdout)?;
        ensure!(report.get("verdict") == Some(&serde_json::json!("refused")), "{refused:?}");

        // Nor does a configuration that is edited and not taken over.
        home.install(&folder)?;
        home.set_config("timeouts", "keepalive", "'26s'")?;
        let refused = upgrade_from(home, &folder, "1s").await?;
        ensure!(refused.code == Some(1) && refused.stderr.contains("gatewayd reload"), "{refused:?}");
        // What a reload refuses, it is no remedy for.
        home.set_config("metrics", "listen", &format!("'{}'", home.root().join("metrics.sock").display()))?;
        let refused = upgrade_from(home, &folder, "1s").await?;
        ensure!(refused.code == Some(1) && refused.stderr.contains("[metrics] listen"), "{refused:?}");
        ensure!(refused.stderr.contains("restart the gateway"), "{refused:?}");
        ensure!(!refused.stderr.contains("gatewayd reload"), "{refused:?}");
        ensure!(gateway.workers()? == before && before.iter().all(|worker| worker.runs()), "a worker was replaced");
        all_run_from(gateway, &home.programs())?;
        expect_mail(&scene, &account, &mail).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_on_probation_brings_the_old_ones_back() -> Result<()> {
    bounded(async {
        let mut scene = scene().await?;
        let (account, mail) = mail_for_one(&mut scene).await?;
        let home = &scene.gateway.home;
        let folder = next(home)?;
        make_mortal(&folder, "client-edge")?;
        let undone = upgrade_from(home, &folder, "30s").await?;
        ensure!(undone.code == Some(1), "{undone:?}");
        for words in ["the old programs run again", "client-edge ended with signal: 14"] {
            ensure!(undone.stderr.contains(words), "{undone:?}");
        }
        all_run_from(&scene.gateway, &home.programs())?;
        expect_mail(&scene, &account, &mail).await?;

        // One that closes its jail as the self-test wants it, and does nothing else.
        fs::remove_dir_all(&folder)?;
        home.install(&folder)?;
        fs::copy(program("weak_jail")?, folder.join("store"))?;
        fs::write(folder.join("weaknesses"), "")?;
        let undone = upgrade_from(home, &folder, "30s").await?;
        ensure!(undone.code == Some(1) && undone.stderr.contains("it does nothing but probe"), "{undone:?}");
        all_run_from(&scene.gateway, &home.programs())?;
        scene.sender = MixSender::connect(scene.gateway.mix).await?;
        let live = scene.send_many(account.address(), 5).await?;
        scene.mixnode.wait_for_acks(&live).await?;
        expect_mail(&scene, &account, &live).await
    })
    .await
}

/// The old programs might not start with it, and then there would be no gateway.
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_edited_on_probation_closes_the_way_back() -> Result<()> {
    bounded(async {
        let mut scene = scene().await?;
        let (account, mail) = mail_for_one(&mut scene).await?;
        let (gateway, home) = (&scene.gateway, &scene.gateway.home);
        let folder = next(home)?;
        let failed = upgrade_from(home, &folder, "1m");
        let meanwhile = async {
            let watched = |line: &str| line.contains("of the upgrade are ready, and are watched").then_some(());
            gateway.log().wait_for("the probation", watched).await?;
            home.set_config("timeouts", "keepalive", "'soon'")?;
            gateway.kill_worker("client-edge").await
        };
        let (failed, meanwhile) = tokio::join!(failed, meanwhile);
        meanwhile?;
        let failed = failed?;
        ensure!(failed.code == Some(1) && failed.stderr.contains("no safe way back"), "{failed:?}");
        all_run_from(gateway, &folder)?;
        expect_mail(&scene, &account, &mail).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_replaced_in_place_are_taken_and_undone() -> Result<()> {
    bounded(async {
        let mut scene = scene().await?;
        let (account, mail) = mail_for_one(&mut scene).await?;
        let (gateway, home) = (&scene.gateway, &scene.gateway.home);
        let folder = home.programs();
        // As a package does: the files of the running programs are gone.
        home.install(&folder)?;
        ensure!(runs_from(gateway.supervisor())?.ends_with("(deleted)"));
        ensure!(home.gatewayd("drain", &[]).await?.code == Some(0));
        let kept = upgrade(home, &["--probation", "2s", "--json"]).await?;
        let report: serde_json::Value = serde_json::from_str(&kept.stdout)?;
        ensure!(kept.code == Some(0) && report.get("verdict") == Some(&serde_json::json!("kept")), "{kept:?}");
        let is_of_files = |process: Process| anyhow::Ok(!runs_from(process)?.ends_with("(deleted)"));
        for process in gateway.workers()?.into_iter().chain([gateway.supervisor()]) {
            ensure!(is_of_files(process)?, "{} is an old program", runs_from(process)?);
        }
        // What the operator has said holds on.
        ensure!(scene.client().await.is_err(), "a newcomer was let in");
        ensure!(home.gatewayd("resume", &[]).await?.code == Some(0));

        home.install(&folder)?;
        make_mortal(&folder, "mix-ingress")?;
        let undone = upgrade(home, &["--probation", "30s"]).await?;
        ensure!(undone.code == Some(1) && undone.stderr.contains("the old programs run again"), "{undone:?}");
        for process in gateway.workers()?.into_iter().chain([gateway.supervisor()]) {
            ensure!(!is_of_files(process)?, "{} is a new program", runs_from(process)?);
        }
        expect_mail(&scene, &account, &mail).await?;

        // From the old programs, whose files are gone, another upgrade can be made, and the gateway can be stopped meanwhile.
        fs::remove_dir_all(folder.join("real"))?;
        home.install(&folder)?;
        let arguments = ["--probation", "1m"];
        let third = upgrade(home, &arguments);
        let meanwhile = async {
            let watched = |line: &str| line.contains("program=").then_some(());
            gateway.log().wait_for("an upgrade", watched).await?;
            let watched = || {
                let lines = gateway.log().lines();
                lines.iter().filter(|line| line.contains("of the upgrade are ready, and are watched")).count() == 3
            };
            deadline::until(UPGRADE, "the third probation", watched).await?;
            let busy = upgrade(home, &arguments).await?;
            ensure!(busy.code == Some(69) && busy.stderr.contains("on probation for"), "{busy:?}");
            gateway.supervisor().signal(Signal::SIGTERM)?;
            gateway.supervisor().wait_until_gone().await
        };
        let (third, meanwhile) = tokio::join!(third, meanwhile);
        meanwhile?;
        let third = third?;
        ensure!(third.code == Some(1) && third.stderr.contains("the gateway has ended before"), "{third:?}");
        let ended = |line: &str| line.contains("ended in good order").then_some(());
        gateway.log().wait_for("an end in good order", ended).await
    })
    .await
}
