//! A packet that comes a second time is dropped, whatever has happened to the gateway in between.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::{
    client::{Client, Identity},
    deadline::{self, bounded},
    gateway::{Gateway, IPV4},
    home::Home,
    mixnode::MixSender,
    packet::FinalHopPacket,
    scene::Scene,
};
use nix::sys::signal::Signal;
use wire::packet::PacketSize;

/// One client, and one packet that is sent again and again.
struct Play {
    scene: Scene,
    client: Client,
    packet: FinalHopPacket,
}

impl Play {
    /// The packet has been delivered and acknowledged.
    async fn start(snapshot_interval: &str) -> Result<Self> {
        let home = Home::init(IPV4).await?;
        home.set_config("replay", "snapshot_interval", snapshot_interval)?;
        Self::start_in(home).await
    }

    async fn start_in(home: Home) -> Result<Self> {
        let gateway = Gateway::start_in(home, &[]).await?;
        let mut scene = Scene::around(gateway, IPV4).await?;
        let mut client = scene.client().await?;
        let packet = scene.send(client.address(), PacketSize::Regular).await?;
        ensure!(client.next_message().await? == packet.message);
        scene.mixnode.wait_for_acks(std::slice::from_ref(&packet)).await?;
        Ok(Self { scene, client, packet })
    }

    /// Sends the packet again, and then a new one; says whether anything came of the first.
    async fn replay_passes(&mut self) -> Result<bool> {
        let acks_before = self.scene.mixnode.times_acked(&self.packet);
        self.scene.sender.send(&self.packet).await?;
        let new = self.scene.send(self.client.address(), PacketSize::Regular).await?;
        let first = self.client.next_message().await?;
        let passed = first == self.packet.message;
        if passed {
            ensure!(self.client.next_message().await? == new.message);
        } else {
            ensure!(first == new.message);
        }
        // Acks of one connection leave in the order of its packets.
        self.scene.mixnode.wait_for_acks(std::slice::from_ref(&new)).await?;
        let acks = self.scene.mixnode.times_acked(&self.packet) - acks_before;
        ensure!(acks == usize::from(passed), "{acks} further acks, but delivered again: {passed}");
        Ok(passed)
    }

    /// The files in which the gateway keeps what it has seen.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let names = fs::read_dir(self.scene.gateway.home.data().join("replay"))?;
        let mut files = Vec::new();
        for entry in names {
            let path = entry?.path();
            if path.extension().is_none() {
                files.push(path);
            }
        }
        Ok(files)
    }

    async fn restart(mut self, meanwhile: impl FnOnce(&Self) -> Result<()>) -> Result<Self> {
        let stop = self.scene.gateway.stop(Signal::SIGTERM);
        let status = deadline::within(Duration::from_secs(10), "the clean stop", stop).await??;
        ensure!(status.code() == Some(0), "{status}");
        meanwhile(&self)?;
        self.scene.start_again().await?;
        self.client = self.client.credentials.authenticate(self.scene.gateway.clients).await?;
        Ok(self)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_packet_twice_is_one_message_and_one_ack() -> Result<()> {
    bounded(async {
        let mut play = Play::start("'1h'").await?;
        ensure!(!play.replay_passes().await?);
        // Over another connection, too.
        play.scene.sender = MixSender::connect(play.scene.gateway.mix).await?;
        ensure!(!play.replay_passes().await?);
        Ok(())
    })
    .await
}

/// All generations together hold fewer packets than come.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_for_nobody_leaves_an_old_packet_old() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        home.set_config("replay", "packets_per_generation", "20")?;
        home.set_config("replay", "memory", "200")?;
        let mut play = Play::start_in(home).await?;
        let nobody = Identity::random().address();
        for _ in 0..300 {
            play.scene.send(nobody, PacketSize::Ack).await?;
        }
        ensure!(!play.replay_passes().await?);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_ingress_forgets_nothing_that_was_saved() -> Result<()> {
    bounded(async {
        let mut play = Play::start("'50ms'").await?;
        let saved = || play.files().is_ok_and(|files| !files.is_empty());
        deadline::until(Duration::from_secs(20), "what was seen to be saved", saved).await?;
        play.scene.gateway.kill_worker("mix-ingress").await?;
        play.scene.sender = MixSender::connect(play.scene.gateway.mix).await?;
        ensure!(!play.replay_passes().await?);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_restart_forgets_nothing() -> Result<()> {
    bounded(async {
        let mut play = Play::start("'1h'").await?;
        for _ in 0..2 {
            play = play.restart(|_| Ok(())).await?;
            ensure!(!play.replay_passes().await?);
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_put_aside_and_the_gateway_works() -> Result<()> {
    bounded(async {
        let play = Play::start("'1h'").await?;
        let mut play = play
            .restart(|play| {
                let file = play.files()?.pop().context("nothing was saved")?;
                let mut bytes = fs::read(&file)?;
                *bytes.get_mut(1_000).context("the file is short")? ^= 1;
                fs::write(file, bytes)?;
                Ok(())
            })
            .await?;
        ensure!(play.replay_passes().await?, "a replay was noticed without a memory");
        ensure!(play.files()?.is_empty(), "the damaged file is still in its place");
        ensure!(!play.replay_passes().await?);
        let said = play.scene.gateway.log().lines().iter().any(|line| line.contains("the file is put aside"));
        ensure!(said, "the log does not say that a file was put aside");
        Ok(())
    })
    .await
}
