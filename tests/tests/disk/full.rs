//! A disk of the gateway's own, mounted for the test.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::{
    client::{Client, Era},
    deadline,
    disk::{Disk, FileSystem, with_disks},
    gateway::{Gateway, IPV4},
    home::Home,
    mixnode::MixSender,
    packet::expect_in_order,
    scene::Scene,
};
use need::Need;
use nix::sys::signal::Signal;
use wire::packet::PacketSize;

use super::{count, expect_acked, expect_refused_registration, log_in, register, until_acked};

/// A gateway whose data is on a disk of this size.
async fn on_small_disk(mib: u32) -> Result<(Disk, Scene)> {
    let home = Home::empty()?;
    let disk = Disk::mount(&home.data(), mib)?;
    let gateway = Gateway::start_in(home.initialised(IPV4).await?, &[]).await?;
    Ok((disk, Scene::around(gateway, IPV4).await?))
}

/// How storage is doing, as the log says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Storage {
    Sound,
    Full,
    Broken,
}

/// Each line about storage says something else than the one before, and the last one that all is well.
fn expect_each_change_to_be_told_once(scene: &Scene) -> Result<()> {
    use Storage::{Broken, Full, Sound};
    let mut storage = Sound;
    for line in scene.gateway.log().lines() {
        let changes: &[(&str, &[Storage], Storage)] = &[
            ("new mail and new clients are refused", &[Sound], Full),
            ("storage failed; new mail is refused", &[Sound, Full], Broken),
            ("storage is open again, but", &[Broken], Full),
            ("storage works again", &[Full, Broken], Sound),
        ];
        if let Some((_, from, to)) = changes.iter().find(|(words, ..)| line.contains(words)) {
            ensure!(from.contains(&storage), "the log said when storage was {storage:?}: {line}");
            storage = *to;
        }
    }
    ensure!(storage == Sound, "the log ends with {storage:?}");
    Ok(())
}

#[test]
fn a_full_disk_stops_only_what_is_new_until_there_is_space() -> Result<()> {
    with_disks(29, async {
        let (disk, mut scene) = on_small_disk(192).await?;
        let away = register(&scene, Era::TODAY).await?.leave().await?;
        let mut reader = register(&scene, Era::Of2021).await?.leave().await?;
        let (mut to_away, mut to_reader) = (Vec::new(), Vec::new());
        for round in 1..=3 {
            let stored = scene.send_many(reader.address(), 300).await?;
            scene.mixnode.wait_for_acks(&stored).await?;
            to_reader.extend(stored);
            disk.fill()?;

            let refused = scene.send_many(away.address(), 200).await?;
            let noticed =
                || count(&scene, "new mail and new clients are refused") + count(&scene, "new mail is refused") > 0;
            deadline::until(deadline::SOON, "the full disk to be noticed", noticed).await?;
            for era in [Era::Of2021, Era::Version(2), Era::TODAY] {
                expect_refused_registration(&scene, era).await?;
            }
            // What is stored is fetched, and live mail flows.
            let mut client = log_in(&scene, &reader).await?;
            expect_acked(&scene, &mut client, &to_reader).await?;
            let live = scene.send_many(reader.address(), 5).await?;
            expect_in_order(&client.next_messages(5).await?, &live)?;
            scene.mixnode.wait_for_acks(&live).await?;
            ensure!(scene.mixnode.count_acked(&refused) == 0, "mail was acknowledged that could not be written");
            reader = client.leave().await?;
            to_reader.clear();

            disk.free()?;
            to_away.extend(refused);
            until_acked(&mut scene, &away, &mut to_away).await?;
            register(&scene, Era::TODAY).await?.leave().await?;
            ensure!(count(&scene, "storage works again") == round, "not once for each time that it did");
        }
        expect_each_change_to_be_told_once(&scene)?;
        // A login, a receipt or what is left of a commit may find no byte left, and only then is the reserve given away.
        for once_a_round in ["new mail and new clients are refused", "storage failed", "storage is open again"] {
            ensure!(count(&scene, once_a_round) <= 3, "{once_a_round}, {} times", count(&scene, once_a_round));
        }

        scene.gateway.kill_supervisor().await?;
        scene.start_again().await?;
        let mut client = log_in(&scene, &away).await?;
        expect_acked(&scene, &mut client, &to_away).await?;
        // What was fetched and removed while the disk was full does not come again.
        let last = scene.send(reader.address(), PacketSize::Regular).await?;
        let mut client = log_in(&scene, &reader).await?;
        let again = client.messages_until(&last.message).await?.len();
        ensure!(again <= 6, "{again} messages came that had been received");
        Ok(())
    })
}

#[test]
fn logins_and_a_start_work_on_a_full_disk() -> Result<()> {
    with_disks(29, logins_on_a_full_disk(FileSystem::Tmpfs, 64))
}

#[test]
fn logins_and_a_start_work_on_a_full_ext4() -> Result<()> {
    with_disks(29, async {
        if !Disk::may_loop() {
            need::missing(Need::LoopDevice, 29);
            return Ok(());
        }
        logins_on_a_full_disk(FileSystem::Ext4, 96).await
    })
}

/// Of the logins on a full disk, 95 % succeed at first try.
async fn logins_on_a_full_disk(file_system: FileSystem, mib: u32) -> Result<()> {
    const LOGINS: usize = 30;
    let home = Home::empty()?;
    // Of the ledger alone: nothing but what is held in reserve for it can help.
    let disk = Disk::mount_as(file_system, &home.data().join("client_ledger.sled"), mib)?;
    let mut at_first_try = 0;
    let gateway = Gateway::start_in(home.initialised(IPV4).await?, &[]).await?;
    let mut scene = Scene::around(gateway, IPV4).await?;
    let mut reader = register(&scene, Era::Of2021).await?.leave().await?;
    disk.fill()?;
    for restart in [false, true] {
        if restart {
            scene.gateway.kill_supervisor().await?;
            scene.start_again().await?;
        }
        for _ in 0..LOGINS {
            reader = match Client::log_in(&reader, scene.gateway.clients).await {
                Ok(client) => {
                    at_first_try += 1;
                    client
                }
                Err(_) => log_in(&scene, &reader).await?,
            }
            .leave()
            .await?;
        }
        expect_refused_registration(&scene, Era::TODAY).await?;
    }
    ensure!(at_first_try >= 2 * LOGINS * 95 / 100, "{at_first_try} of {} logins at first try", 2 * LOGINS);
    Ok(())
}

#[test]
fn a_store_that_starts_on_a_full_disk_serves_what_is_stored() -> Result<()> {
    with_disks(29, async {
        let (disk, mut scene) = on_small_disk(192).await?;
        let (mut reader, mut sent) = (register(&scene, Era::TODAY).await?.leave().await?, Vec::new());
        for whole_gateway in [false, true] {
            let stored = scene.send_many(reader.address(), 300).await?;
            scene.mixnode.wait_for_acks(&stored).await?;
            sent.extend(stored);
            disk.fill()?;
            if whole_gateway {
                scene.gateway.kill_supervisor().await?;
                scene.start_again().await?;
            } else {
                let store = scene.gateway.worker("store")?;
                store.signal(Signal::SIGKILL)?;
                scene.gateway.wait_for_successor("store", store).await?;
            }
            let mut client = log_in(&scene, &reader).await?;
            expect_acked(&scene, &mut client, &sent).await?;
            expect_refused_registration(&scene, Era::TODAY).await?;
            reader = client.leave().await?;

            disk.free()?;
            sent.clear();
            until_acked(&mut scene, &reader, &mut sent).await?;
            let mut client = log_in(&scene, &reader).await?;
            expect_acked(&scene, &mut client, &sent).await?;
            reader = client.leave().await?;
            sent.clear();
        }
        Ok(())
    })
}

#[test]
fn a_start_on_a_full_disk_claims_no_more_than_is_so() -> Result<()> {
    with_disks(29, async {
        let (disk, mut scene) = on_small_disk(192).await?;
        let able = "it should now be able to receive";
        ensure!(count(&scene, able) == 1, "the start with room did not say so");
        scene.gateway.stop(Signal::SIGTERM).await?;
        disk.fill()?;
        scene.start_again().await?;
        let full =
            |line: &str| (line.contains("ERROR") && line.contains("MiB are free, and nothing new")).then_some(());
        scene.gateway.log().wait_for("what is full, with numbers", full).await?;
        ensure!(count(&scene, "but the storage is full") == 1, "the end of the start says nothing");
        ensure!(count(&scene, able) == 0, "it claims to take what it refuses");
        disk.free()?;
        let works = |line: &str| line.contains("storage works again").then_some(());
        scene.gateway.log().wait_for("room again", works).await
    })
}

/// As a unit shows all folders but its own.
#[test]
fn a_folder_that_is_read_only_is_told_with_the_remedy() -> Result<()> {
    with_disks(29, async {
        let home = Home::init(IPV4).await?;
        let disk = Disk::mount(&home.path().join("big"), 64)?;
        let inboxes = home.path().join("big/inboxes");
        fs::create_dir(&inboxes)?;
        home.set_config("clients_endpoint", "inboxes_directory", &format!("'{}'", inboxes.display()))?;
        disk.set_read_only(true)?;
        let outcome = home.gatewayd("run", &[]).await?;
        let inboxes = inboxes.to_str().context("path")?;
        for part in [inboxes, "inboxes_directory", "Read-only file system", "ReadWritePaths=", "systemctl edit"] {
            ensure!(outcome.code == Some(1) && outcome.stderr.contains(part), "{part} is missing in {outcome:?}");
        }
        Ok(())
    })
}

/// The cap lets go when mail is fetched.
#[test]
fn the_cap_on_the_data_acts_before_the_disk_is_full() -> Result<()> {
    with_disks(29, async {
        const CAP: u64 = 160 << 20;
        let (_disk, mut scene) = on_small_disk(512).await?;
        scene.gateway.stop(Signal::SIGTERM).await?;
        scene.gateway.home.set_config("limits", "data_bytes", &CAP.to_string())?;
        scene.start_again().await?;
        let account = register(&scene, Era::TODAY).await?.leave().await?;
        let data = scene.gateway.home.data();
        let mut sent = Vec::new();
        while count(&scene, "new mail is refused") == count(&scene, "storage works again") {
            for _ in 0..20 {
                sent.push(scene.send(account.address(), PacketSize::Extended32).await?);
            }
            ensure!(sent.len() < 6_000, "the cap does not act");
            let last = sent.last().context("nothing was sent")?.clone();
            // Refused, if the cap acts now; then the log says so soon.
            let _ = deadline::until(Duration::from_secs(1), "an ack", || scene.mixnode.has_ack(&last)).await;
        }
        // Registrations have a share of the disk that mail never takes.
        register(&scene, Era::TODAY).await?.leave().await?;
        let mut used = fs::metadata(data.join("client_ledger.sled/db"))?.len();
        for file in fs::read_dir(data.join("inboxes/mail"))? {
            used += file?.metadata()?.len();
        }
        ensure!(used < CAP, "{used} bytes are used");
        let mut client = log_in(&scene, &account).await?;
        expect_acked(&scene, &mut client, &sent).await?;
        let mut later = Vec::new();
        let account = client.leave().await?;
        until_acked(&mut scene, &account, &mut later).await?;
        let mut client = log_in(&scene, &account).await?;
        expect_acked(&scene, &mut client, &later).await?;
        Ok(())
    })
}

#[test]
fn a_disk_that_turned_read_only_is_waited_for() -> Result<()> {
    with_disks(29, async {
        let (disk, mut scene) = on_small_disk(256).await?;
        let account = register(&scene, Era::TODAY).await?.leave().await?;
        let mut sent = scene.send_many(account.address(), 100).await?;
        scene.mixnode.wait_for_acks(&sent).await?;

        // As long as a file is open for writing, only the kernel itself may do this to a disk.
        let (supervisor, store) = (scene.gateway.supervisor(), scene.gateway.worker("store")?);
        supervisor.signal(Signal::SIGSTOP)?;
        store.signal(Signal::SIGKILL)?;
        let turned = || disk.set_read_only(true).is_ok();
        deadline::until(deadline::SOON, "the disk to be read-only", turned).await?;
        supervisor.signal(Signal::SIGCONT)?;
        let refused = scene.send_many(account.address(), 100).await?;
        let complains = |line: &str| (line.contains("cannot start") && line.contains("ead-only")).then_some(());
        scene.gateway.log().wait_for("a store that cannot start", complains).await?;
        ensure!(scene.mixnode.count_acked(&refused) == 0, "mail was acknowledged that cannot be written");
        ensure!(supervisor.runs(), "the gateway has given up");

        disk.set_read_only(false)?;
        scene.gateway.wait_for_successor("store", store).await?;
        sent.extend(refused);
        until_acked(&mut scene, &account, &mut sent).await?;
        let mut client = log_in(&scene, &account).await?;
        expect_acked(&scene, &mut client, &sent).await?;

        // Nor does a gateway start there: it says why.
        client.leave().await?;
        scene.gateway.stop(Signal::SIGTERM).await?;
        disk.set_read_only(true)?;
        let outcome = scene.gateway.home.gatewayd("run", &[]).await?;
        ensure!(outcome.code != Some(0) && outcome.stderr.contains("ead-only"), "{outcome:?}");
        Ok(())
    })
}

/// Whether the new programs have filled it or somebody else: the old ones are those of which the operator knows how they did.
#[test]
fn a_disk_that_fills_up_on_probation_undoes_the_upgrade() -> Result<()> {
    with_disks(128, async {
        let (disk, mut scene) = on_small_disk(192).await?;
        let away = register(&scene, Era::TODAY).await?.leave().await?;
        let next = scene.gateway.home.root().join("next");
        scene.gateway.home.install(&next)?;
        let from = next.to_str().context("a path that is no text")?;
        let arguments = ["--probation", "10s", "--from", from];
        let upgrade = scene.gateway.home.command("upgrade-binary", &arguments)?.output();
        let meanwhile = async {
            let watched = |line: &str| line.contains("of the upgrade are ready, and are watched").then_some(());
            scene.gateway.log().wait_for("the probation", watched).await?;
            disk.fill()?;
            scene.sender = MixSender::connect(scene.gateway.mix).await?;
            let refused = scene.send_many(away.address(), 200).await?;
            anyhow::Ok(refused)
        };
        let (undone, refused) = tokio::join!(upgrade, meanwhile);
        let (undone, mut sent) = (undone?, refused?);
        let said = String::from_utf8_lossy(&undone.stderr);
        ensure!(undone.status.code() == Some(1) && said.contains("which was not so before"), "{undone:?}");

        disk.free()?;
        scene.sender = MixSender::connect(scene.gateway.mix).await?;
        until_acked(&mut scene, &away, &mut sent).await?;
        let mut client = log_in(&scene, &away).await?;
        expect_acked(&scene, &mut client, &sent).await
    })
}
