//! `gatewayd backup` of a running gateway, and what a gateway that is restored from it takes and refuses.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use client_wire::control::answer::GatewayResponse;
use harness::{
    account::now,
    client::{Account, Client, Era, Identity},
    connection::Connection,
    deadline::{self, bounded},
    disk::{Disk, with_disks},
    gateway::{Gateway, IPV4},
    home::{Home, Outcome},
    packet::FinalHopPacket,
    scene::Scene,
};
use nix::sys::signal::Signal;
use wire::packet::PacketSize;

async fn register(scene: &Scene, era: Era) -> Result<Client<Account>> {
    Client::register_in(era, &Identity::random(), scene.gateway.clients, &scene.gateway.identity).await
}

async fn back_up(home: &Home, file: &Path) -> Result<Outcome> {
    home.gatewayd("backup", &[file.to_str().context("a path that is no text")?]).await
}

/// The gateway of a backup, in a place of its own, and its neighbour.
async fn restore(file: &Path) -> Result<Scene> {
    let home = Home::empty()?;
    let outcome = home.gatewayd("restore", &[file.to_str().context("a path that is no text")?]).await?;
    ensure!(outcome.code == Some(0) && outcome.stdout.contains("What it means"), "{outcome:?}");
    Scene::around(Gateway::start_in(home, &[]).await?, IPV4).await
}

/// The answer to the text of a login.
async fn answer_to(scene: &Scene, text: String) -> Result<bool> {
    let mut connection = Connection::open(scene.gateway.clients).await?;
    connection.send_text(text).await?;
    Ok(matches!(connection.next_text().await?.parse(), Ok(GatewayResponse::Authenticate { status: true, .. })))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_has_every_acknowledged_message() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("backup.tar");
        let mut accounts = Vec::new();
        for era in [Era::Of2021, Era::Version(3), Era::TODAY] {
            accounts.push(register(&scene, era).await?.leave().await?);
        }
        // Something to read while mail goes on.
        let mut acknowledged: Vec<Vec<FinalHopPacket>> = Vec::new();
        for account in &accounts {
            let mail = scene.send_many(account.address(), 400).await?;
            scene.mixnode.wait_for_acks(&mail).await?;
            acknowledged.push(mail);
        }
        let quiet = send_for(&mut scene, &accounts, 8).await?;
        let home = &scene.gateway.home;
        let backup = back_up(home, &file);
        let mut packets = Vec::new();
        for account in &accounts {
            packets.extend(scene.packets().make_many(account.address(), 100)?);
        }
        let load = async {
            let mut slowest = Duration::ZERO;
            for part in packets.chunks(30) {
                let begun = Instant::now();
                scene.sender.send_all(part).await?;
                scene.mixnode.wait_for_acks(part).await?;
                slowest = slowest.max(begun.elapsed());
            }
            anyhow::Ok(slowest)
        };
        let (outcome, busy) = tokio::join!(backup, load);
        let (outcome, busy) = (outcome?, busy?);
        ensure!(outcome.code == Some(0), "{outcome:?}");
        eprintln!("thirty acknowledgements took {quiet:?} at the most before the backup, and {busy:?} during it");
        ensure!(busy < Duration::from_secs(3), "mail waited {busy:?} for a backup");
        ensure!(fs::metadata(&file)?.mode() & 0o7777 == 0o600, "others may read it");
        let listed = std::process::Command::new("tar").arg("-tf").arg(&file).output()?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        for name in ["config/config.toml", "data/private_sphinx.pem", "data/inboxes/mail.restored", "MANIFEST"] {
            ensure!(listed.contains(name), "{name} is not in {listed}");
        }
        scene.gateway.stop(Signal::SIGTERM).await?;

        let restored = restore(&file).await?;
        ensure!(restored.gateway.identity == scene.gateway.identity && restored.gateway.sphinx == scene.gateway.sphinx);
        for (account, mail) in accounts.iter().zip(&acknowledged) {
            // Each registers again, as clients do whose login is refused; their mail is kept.
            let (clients, identity) = (restored.gateway.clients, restored.gateway.identity);
            let mut client = Client::register_in(account.era, &account.identity, clients, &identity).await?;
            let got = client.next_messages(mail.len()).await?;
            ensure!(got.iter().eq(mail.iter().map(|packet| &packet.message)), "a client of {}", account.era);
        }
        Ok(())
    })
    .await
}

/// Sends so many batches and waits for their acknowledgements; returns how long the slowest took.
async fn send_for(scene: &mut Scene, accounts: &[Account], batches: usize) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for account in accounts.iter().cycle().take(batches) {
        let packets = scene.packets().make_many(account.address(), 30)?;
        let begun = Instant::now();
        scene.sender.send_all(&packets).await?;
        scene.mixnode.wait_for_acks(&packets).await?;
        slowest = slowest.max(begun.elapsed());
    }
    Ok(slowest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_gateway_takes_no_login_from_before() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("backup.tar");
        let mut accounts = Vec::new();
        for era in [Era::Of2021, Era::Version(3), Era::TODAY] {
            accounts.push(register(&scene, era).await?.leave().await?);
        }
        let outcome = back_up(&scene.gateway.home, &file).await?;
        ensure!(outcome.code == Some(0), "{outcome:?}");
        // Used after the backup, and overheard.
        let mut overheard = Vec::new();
        for account in &accounts {
            let text = account.login_text();
            ensure!(answer_to(&scene, text.clone()).await?, "a client of {} is refused", account.era);
            overheard.push(text);
        }
        scene.gateway.stop(Signal::SIGTERM).await?;

        let mut restored = restore(&file).await?;
        for _ in ["first start", "second start"] {
            for (account, text) in accounts.iter().zip(&overheard) {
                ensure!(!answer_to(&restored, text.clone()).await?, "a used login of {} is taken", account.era);
                let is_signed = account.era == Era::TODAY;
                let fresh = if is_signed {
                    account.signed_login(now() + 30)?.to_request().to_string()
                } else {
                    account.login_text()
                };
                // A token may have been used, whatever it is. What was signed after the first start was not.
                let taken = answer_to(&restored, fresh).await?;
                ensure!(taken == is_signed, "a fresh login of {}: {taken}", account.era);
            }
            restored.gateway.stop(Signal::SIGTERM).await?;
            restored.start_again().await?;
            // Signed logins must be later than the last.
            accounts.truncate(2);
            overheard.truncate(2);
        }
        // With a new key a client logs in as ever.
        let (clients, identity) = (restored.gateway.clients, restored.gateway.identity);
        for account in &accounts {
            let client = Client::register_in(account.era, &account.identity, clients, &identity).await?;
            let account = client.leave().await?;
            Client::log_in(&account, clients).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_takes_what_the_gateway_runs_with() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        let (usual, other) = (home.path().join("config/config.toml"), home.path().join("config/other.toml"));
        fs::write(&other, fs::read_to_string(&usual)? + "\n# The other one.\n")?;
        let other_path = other.to_str().context("a path that is no text")?.to_owned();
        let gateway = Gateway::start_in(home, &["--config", &other_path]).await?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("backup.tar");
        let outcome = back_up(&gateway.home, &file).await?;
        ensure!(outcome.code == Some(0), "{outcome:?}");
        let listed =
            tokio::process::Command::new("tar").arg("-xOf").arg(&file).arg("config/config.toml").output().await?;
        ensure!(listed.stdout == fs::read(&other)?, "the backup has another configuration than the gateway");

        // Nobody has shown yet that a gateway starts with what is edited now.
        fs::write(&other, fs::read_to_string(&other)?.replace("inbox_messages = 50000", "inbox_messages = 4321"))?;
        let outcome = back_up(&gateway.home, &folder.path().join("second.tar")).await?;
        ensure!(outcome.code == Some(1) && outcome.stderr.contains("inbox_messages"), "{outcome:?}");
        ensure!(outcome.stderr.contains("gatewayd reload"), "{outcome:?}");
        // What a reload refuses, it is no remedy for.
        let metrics = format!("\nlisten = '{}'", gateway.home.root().join("metrics.sock").display());
        fs::write(&other, fs::read_to_string(&other)?.replace("\nlisten = ''", &metrics))?;
        let outcome = back_up(&gateway.home, &folder.path().join("second.tar")).await?;
        ensure!(outcome.code == Some(1) && outcome.stderr.contains("[metrics] listen"), "{outcome:?}");
        ensure!(outcome.stderr.contains("restart the gateway"), "{outcome:?}");
        ensure!(!outcome.stderr.contains("gatewayd reload"), "{outcome:?}");
        ensure!(fs::read_dir(folder.path())?.count() == 1, "something was left");
        Ok(())
    })
    .await
}

/// Whether a process has a file in this folder that has no name yet.
fn has_unnamed_file(folder: &Path) -> bool {
    let begin = format!("{}/#", folder.display());
    let is_one = |file: fs::DirEntry| {
        fs::read_link(file.path()).is_ok_and(|target| target.to_string_lossy().starts_with(&begin))
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| fs::read_dir(process.path().join("fd")).ok())
        .any(|files| files.flatten().any(is_one))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_fails_leaves_no_file() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("backup.tar");
        let is_empty = || -> Result<bool> { Ok(fs::read_dir(folder.path())?.next().is_none()) };
        let home = &scene.gateway.home;
        let outcome = back_up(home, &folder.path().join("nowhere/backup.tar")).await?;
        ensure!(outcome.code == Some(73) && outcome.stderr.contains("no backup was made"), "{outcome:?}");

        // The store dies before it has written anything.
        let store = scene.gateway.worker("store")?;
        store.signal(Signal::SIGSTOP)?;
        let kill = async {
            // The file is begun when the store has the question.
            deadline::until(deadline::SOON, "a file to be begun", || has_unnamed_file(folder.path())).await?;
            store.signal(Signal::SIGKILL)
        };
        let (outcome, killed) = tokio::join!(back_up(home, &file), kill);
        killed?;
        let outcome = outcome?;
        ensure!(matches!(outcome.code, Some(1 | 69)) && outcome.stderr.contains("again"), "{outcome:?}");
        ensure!(is_empty()?, "something is left of it");
        scene.gateway.wait_for_successor("store", store).await?;

        fs::write(&file, "precious")?;
        let outcome = back_up(home, &file).await?;
        ensure!(outcome.code == Some(73) && outcome.stderr.contains("exists already"), "{outcome:?}");
        ensure!(fs::read(&file)? == b"precious");
        fs::remove_file(&file)?;

        // A gateway that is made from it would not start.
        let public = scene.gateway.home.path().join("data/public_sphinx.pem");
        let kept = fs::read(&public)?;
        fs::write(&public, pem::encode(pem::KeyTag::X25519Public, &[7; 32]))?;
        let outcome = back_up(&scene.gateway.home, &file).await?;
        ensure!(outcome.code == Some(1) && outcome.stderr.contains("of another gateway"), "{outcome:?}");
        ensure!(is_empty()?, "something is left of it");
        fs::write(&public, kept)?;

        scene.gateway.stop(Signal::SIGTERM).await?;
        let outcome = back_up(&scene.gateway.home, &file).await?;
        ensure!(outcome.code == Some(69) && outcome.stderr.contains("can be copied as a folder"), "{outcome:?}");
        ensure!(is_empty()?, "something is left of it");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_replaces_nothing_and_takes_nothing_damaged() -> Result<()> {
    bounded(async {
        let scene = Scene::start().await?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("backup.tar");
        let outcome = back_up(&scene.gateway.home, &file).await?;
        ensure!(outcome.code == Some(0), "{outcome:?}");
        let text = file.to_str().context("a path that is no text")?;
        let outcome = scene.gateway.home.gatewayd("restore", &[text]).await?;
        ensure!(outcome.code == Some(73) && outcome.stderr.contains("exists already"), "{outcome:?}");

        let whole = fs::read(&file)?;
        let place = whole.windows(7).position(|bytes| bytes == b"PRIVATE").context("there is no key in it")?;
        let mut changed = whole.clone();
        changed[place] ^= 1;
        for (bytes, why) in [(&changed[..], "not as it was written"), (&whole[..whole.len() / 2], ""), (b"x", "")] {
            fs::write(&file, bytes)?;
            let home = Home::empty()?;
            let outcome = home.gatewayd("restore", &[text]).await?;
            ensure!(outcome.code == Some(1) && outcome.stderr.contains("nothing was written"), "{outcome:?}");
            ensure!(outcome.stderr.contains(why), "{outcome:?}");
            ensure!(fs::read_dir(home.root())?.next().is_none(), "something is left of it");
        }
        Ok(())
    })
    .await
}

#[test]
fn a_full_disk_leaves_no_backup() -> Result<()> {
    with_disks(121, async {
        let mut scene = Scene::start().await?;
        let account = register(&scene, Era::TODAY).await?.leave().await?;
        for _ in 0..4 {
            let mail = scene.send_many(account.address(), 500).await?;
            scene.mixnode.wait_for_acks(&mail).await?;
        }
        let folder = tempfile::tempdir()?;
        // The mail alone has more bytes.
        let _disk = Disk::mount(folder.path(), 1)?;
        let file = folder.path().join("backup.tar");
        let outcome = back_up(&scene.gateway.home, &file).await?;
        ensure!(outcome.code == Some(73) && outcome.stderr.contains("free space"), "{outcome:?}");
        ensure!(fs::read_dir(folder.path())?.next().is_none(), "something is left of it");
        let live = scene.send(account.address(), PacketSize::Regular).await?;
        scene.mixnode.wait_for_acks(&[live]).await?;
        Ok(())
    })
}
