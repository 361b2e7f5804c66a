//! What happens to new programs while they are watched, and what an operator can ask meanwhile.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::*;

/// As many as the gateway would judge by, if it judged by them.
const RUBBISH: usize = 24;

async fn watched(gateway: &Gateway) -> Result<()> {
    let watched = |line: &str| line.contains("of the upgrade are ready, and are watched").then_some(());
    gateway.log().wait_for("the probation", watched).await
}

/// Packets and logins that nobody can take.
async fn send_rubbish(gateway: &Gateway) -> Result<()> {
    let mut sender = MixSender::connect(gateway.mix).await?;
    for _ in 0..RUBBISH {
        let size = wire::packet::PacketSize::Regular;
        // A mix node that sends only rubbish is cut off.
        if sender.send_framed(FRAMING_2021, size, &vec![7; size.packet_len()]).await.is_err() {
            sender = MixSender::connect(gateway.mix).await?;
        }
        let mut connection = Connection::open(gateway.clients).await?;
        connection.send_text("{\"type\":\"authenticate\"}").await?;
        connection.next_text().await?;
    }
    Ok(())
}

/// Nobody else uses the gateway in that minute.
#[tokio::test(flavor = "multi_thread")]
async fn rubbish_of_strangers_undoes_no_upgrade() -> Result<()> {
    bounded(async {
        let mut scene = scene().await?;
        let (account, mail) = mail_for_one(&mut scene).await?;
        let (gateway, home) = (&scene.gateway, &scene.gateway.home);
        let folder = next(home)?;
        let kept = upgrade_from(home, &folder, "10s");
        let meanwhile = async {
            watched(gateway).await?;
            send_rubbish(gateway).await
        };
        let (kept, meanwhile) = tokio::join!(kept, meanwhile);
        meanwhile?;
        let kept = kept?;
        ensure!(kept.code == Some(0), "{kept:?}");
        all_run_from(gateway, &folder)?;
        expect_mail(&scene, &account, &mail).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_can_ask_about_a_probation_and_stop_it() -> Result<()> {
    bounded(async {
        let scene = scene().await?;
        let (gateway, home) = (&scene.gateway, &scene.gateway.home);
        let folder = next(home)?;
        let stopped = upgrade_from(home, &folder, "1h");
        let meanwhile = async {
            watched(gateway).await?;
            for command in ["upgrade-binary", "reload"] {
                let busy = home.gatewayd(command, &[]).await?;
                ensure!(busy.code == Some(69), "{command}: {busy:?}");
                for words in ["on probation for 59m", "`gatewayd status --id test"] {
                    ensure!(busy.stderr.contains(words), "{command}: {busy:?}");
                }
            }
            // It changes nothing.
            let dry = home.gatewayd("reload", &["--dry-run"]).await?;
            ensure!(
                dry.code == Some(0) && dry.stdout.starts_with("Nothing in the configuration has changed"),
                "{dry:?}"
            );
            let status = home.gatewayd("status", &[]).await?;
            ensure!(status.code == Some(0) && status.stdout.contains("on probation for 35"), "{status:?}");
            gateway.supervisor().signal(Signal::SIGTERM)?;
            gateway.supervisor().wait_until_gone().await
        };
        let (stopped, meanwhile) = tokio::join!(stopped, meanwhile);
        meanwhile?;
        let stopped = stopped?;
        ensure!(stopped.code == Some(1) && stopped.stderr.contains("the gateway has ended before"), "{stopped:?}");
        let ended = |line: &str| line.contains("ended in good order").then_some(());
        gateway.log().wait_for("an end in good order", ended).await
    })
    .await
}

/// Replaces a text in programs by another of the same length.
fn replace_in(programs: &[PathBuf], text: &str, other: &str) -> Result<()> {
    ensure!(text.len() == other.len(), "{other} has another length");
    let mut sed = std::process::Command::new("sed");
    sed.env("LC_ALL", "C").args(["-i", &format!("s/{text}/{other}/g")]).args(programs);
    ensure!(sed.status()?.success(), "the programs cannot be changed");
    Ok(())
}

/// From outside this is the same as programs that refuse everybody.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_after_which_nobody_is_served_is_undone() -> Result<()> {
    bounded(async {
        let scene = scene().await?;
        let (gateway, home) = (&scene.gateway, &scene.gateway.home);
        // As many as the gateway judges by.
        let mut clients = Vec::new();
        for _ in 0..8 {
            let identity = Identity::random();
            clients.push(Client::register_in(Era::TODAY, &identity, gateway.clients, &gateway.identity).await?);
        }
        let folder = next(home)?;
        let undone = upgrade_from(home, &folder, "10s");
        let meanwhile = async {
            watched(gateway).await?;
            // The clients that were logged in do not come back.
            send_rubbish(gateway).await
        };
        let (undone, meanwhile) = tokio::join!(undone, meanwhile);
        meanwhile?;
        let undone = undone?;
        ensure!(undone.code == Some(1) && undone.stderr.contains("no client could log in"), "{undone:?}");
        all_run_from(gateway, &home.programs())?;
        let account = clients.pop().context("there is no client")?.credentials;
        Client::log_in(&account, gateway.clients).await.map(drop)
    })
    .await
}

/// Gives the programs in this folder another build, of which they all are.
fn make_another_build(folder: &Path) -> Result<()> {
    let asked = std::process::Command::new(folder.join("store")).arg(ipc::ASK_BUILD).output()?;
    let ours = String::from_utf8(asked.stdout)?.trim().to_owned();
    let theirs: String = ours.bytes().map(|digit| if digit == b'0' { '1' } else { '0' }).collect();
    let programs = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    replace_in(&programs, &ours, &theirs)?;
    let asked = std::process::Command::new(folder.join("store")).arg(ipc::ASK_BUILD).output()?;
    ensure!(String::from_utf8(asked.stdout)?.trim() == theirs, "store is of the same build");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_of_another_build_take_over_and_go_back() -> Result<()> {
    bounded(async {
        let mut scene = scene().await?;
        let (account, mail) = mail_for_one(&mut scene).await?;
        let (gateway, home) = (&scene.gateway, &scene.gateway.home);
        let folder = next(home)?;
        make_another_build(&folder)?;
        let undone = upgrade_from(home, &folder, "1m");
        let meanwhile = async {
            watched(gateway).await?;
            all_run_from(gateway, &folder)?;
            gateway.kill_worker("client-edge").await
        };
        let (undone, meanwhile) = tokio::join!(undone, meanwhile);
        meanwhile?;
        let undone = undone?;
        ensure!(undone.code == Some(1) && undone.stderr.contains("the old programs run again"), "{undone:?}");
        let restarted = gateway.log().lines().iter().any(|line| line.contains("GWD-G032"));
        ensure!(!restarted, "the log promises that the worker will be restarted");
        all_run_from(gateway, &home.programs())?;

        let kept = upgrade_from(home, &folder, "2s").await?;
        ensure!(kept.code == Some(0), "{kept:?}");
        all_run_from(gateway, &folder)?;
        expect_mail(&scene, &account, &mail).await
    })
    .await
}

/// The programs are there when they are tried, and not when the new supervisor starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_supervisor_that_cannot_begin_goes_back() -> Result<()> {
    bounded(async {
        let mut scene = scene().await?;
        let (account, mail) = mail_for_one(&mut scene).await?;
        let (gateway, home) = (&scene.gateway, &scene.gateway.home);
        let folder = next(home)?;
        // It does not end before it goes on.
        let slow = gateway.worker("mix-egress")?;
        slow.signal(Signal::SIGSTOP)?;
        let undone = upgrade_from(home, &folder, "1m");
        let meanwhile = async {
            let begins = |line: &str| line.contains("an upgrade begins").then_some(());
            gateway.log().wait_for("the old workers to end", begins).await?;
            fs::remove_file(folder.join("store"))?;
            slow.signal(Signal::SIGCONT)
        };
        let (undone, meanwhile) = tokio::join!(undone, meanwhile);
        meanwhile?;
        let undone = undone?;
        ensure!(undone.code == Some(1) && undone.stderr.contains("`store` is neither in"), "{undone:?}");
        all_run_from(gateway, &home.programs())?;
        expect_mail(&scene, &account, &mail).await
    })
    .await
}

/// What is said of the gateway's health at the port for metrics, where there are none before the first whole minute.
fn health_at(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_for_metrics_goes_along_with_an_upgrade() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?.with_own_programs()?;
        home.set_config("metrics", "listen", "'127.0.0.1:0'")?;
        let gateway = Gateway::start_in(home, &[]).await?;
        let served = |line: &str| line.split_once("Serving metrics at ")?.1.trim().parse().ok();
        let address: SocketAddr = gateway.log().wait_for("the address of metrics", served).await?;
        let folder = next(&gateway.home)?;
        for _ in 0..2 {
            let health = health_at(address)?;
            ensure!(health.starts_with("HTTP/1.1 200"), "{health}");
            let kept = upgrade_from(&gateway.home, &folder, "1s").await?;
            ensure!(kept.code == Some(0), "{kept:?}");
        }
        all_run_from(&gateway, &folder)?;
        let health = health_at(address)?;
        ensure!(health.starts_with("HTTP/1.1 200"), "{health}");
        Ok(())
    })
    .await
}
