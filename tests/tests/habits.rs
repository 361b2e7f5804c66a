//! What operators do by habit does no harm: logs whose reader goes away, signals of other daemons, programs replaced while they
//! run, backups that mix two gateways.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::{
    fs::{self, File},
    io::Read,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    process::Stdio,
    time::Duration,
};

use anyhow::Result;
use harness::{
    deadline,
    gateway::{Gateway, IPV4},
    home::Home,
    process::Process,
    scene::Scene,
};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::signal::Signal,
    unistd::pipe2,
};

/// What an order brings about is no error: with clients, mail and next hops, as on any day.
#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_end_logs_no_error() -> Result<()> {
    let mut scene = Scene::start().await?;
    let mut client = scene.client().await?;
    let sent = scene.send_many(client.address(), 20).await?;
    client.next_messages(sent.len()).await?;
    scene.mixnode.wait_for_acks(&sent).await?;
    let before = scene.gateway.log().lines().len();
    assert!(scene.gateway.stop(Signal::SIGTERM).await?.success());
    let lines = scene.gateway.log().lines();
    assert!(lines[before..].iter().any(|line| line.contains("link down")), "{lines:?}");
    for line in &lines[before..] {
        assert!(!line.contains("error=") && !line.contains("ERROR") && !line.contains("WARN"), "{line}");
    }
    Ok(())
}

/// More than the minute after which a worker hangs, and a look.
const HANG: Duration = Duration::from_secs(90);

/// The living child of `parent` with this name.
fn child(parent: Process, name: &str) -> Option<Process> {
    let is_it = |process: &Process| {
        process.status("PPid").is_ok_and(|pid| pid == parent.0.to_string())
            && process.status("Name").is_ok_and(|found| found == name)
            && process.runs()
    };
    Process::all().unwrap().into_iter().find(is_it)
}

/// Kills the worker of this name, and waits for its successor, of whom no log tells.
async fn replace(supervisor: Process, name: &str) -> Result<()> {
    let before = child(supervisor, name).expect("the worker runs");
    before.signal(Signal::SIGKILL)?;
    let another = || child(supervisor, name).is_some_and(|process| process != before);
    deadline::until(deadline::SOON, "another worker", another).await
}

/// A log whose reader is gone, as after `run 2>&1 | tee log` and Ctrl-C.
#[tokio::test]
async fn a_log_without_a_reader_ends_nobody() -> Result<()> {
    let mut gateway = Gateway::start().await?;
    gateway.log().stop_reading();
    replace(gateway.supervisor(), "mix-egress").await?;
    replace(gateway.supervisor(), "store").await?;
    assert!(gateway.stop(Signal::SIGTERM).await?.success());
    Ok(())
}

/// A pipe of one page, `/dev/full`, and a reader that is stopped: as `run 2>&1 | less`.
#[tokio::test]
async fn a_log_that_nobody_reads_stops_nobody() -> Result<()> {
    let home = Home::init(IPV4).await?;
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(read.as_fd(), FcntlArg::F_SETPIPE_SZ(4096))?;
    let mut command = home.command("run", &[])?;
    let mut gateway = command.stdout(Stdio::null()).stderr(write).spawn()?;
    drop(command);
    let supervisor = Process(gateway.id().expect("it has just been started"));
    let read = tokio::task::spawn_blocking(move || read_until_started(read)).await??;
    for _ in 0..12 {
        replace(supervisor, "mix-egress").await?;
    }
    supervisor.signal(Signal::SIGTERM)?;
    let status = deadline::soon("the gateway to end", gateway.wait()).await??;
    assert!(status.success(), "{status}");
    drop(read);
    Ok(())
}

/// Reads no further than to the end of the start.
fn read_until_started(pipe: OwnedFd) -> Result<File> {
    let mut pipe = File::from(pipe);
    let mut text = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&text).contains("Finished nym gateway startup procedure") {
        pipe.read_exact(&mut byte)?;
        if byte == *b"\n" {
            text.clear();
        }
        text.extend_from_slice(&byte);
    }
    Ok(pipe)
}

#[tokio::test]
async fn a_full_device_as_log_ends_nobody() -> Result<()> {
    let home = Home::init(IPV4).await?;
    let full = File::options().write(true).open("/dev/full")?;
    let mut gateway = home.command("run", &[])?.stdout(Stdio::null()).stderr(full).spawn()?;
    let supervisor = Process(gateway.id().expect("it has just been started"));
    for name in harness::gateway::WORKERS {
        deadline::until(deadline::SOON, "a worker", || child(supervisor, name).is_some()).await?;
    }
    replace(supervisor, "mix-ingress").await?;
    supervisor.signal(Signal::SIGTERM)?;
    assert!(deadline::soon("the gateway to end", gateway.wait()).await??.success());
    Ok(())
}

/// Signals that other daemons take for a reload or a rotation of logs, and signals that mean nothing.
#[tokio::test]
async fn no_signal_but_an_order_to_end_ends_the_gateway() -> Result<()> {
    use Signal::{
        SIGALRM, SIGHUP, SIGIO, SIGPROF, SIGPWR, SIGQUIT, SIGSTKFLT, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU, SIGXFSZ,
    };
    let mut gateway = Gateway::start().await?;
    for signal in [SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, SIGSTKFLT, SIGXCPU, SIGXFSZ] {
        gateway.supervisor().signal(signal)?;
        let said = |line: &str| line.contains(&format!("{signal} ")).then_some(());
        gateway.log().wait_for(&format!("{signal} changes nothing"), said).await?;
        // A terminal sends some of them to all processes.
        for worker in gateway.workers()? {
            if [SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT].contains(&signal) {
                worker.signal(signal)?;
            }
        }
    }
    assert!(gateway.workers()?.into_iter().all(Process::runs));
    assert!(gateway.stop(SIGQUIT).await?.success());
    assert!(gateway.log().lines().iter().any(|line| line.contains("Received SIGQUIT")));
    Ok(())
}

#[tokio::test]
async fn a_worker_that_hangs_is_replaced() -> Result<()> {
    let gateway = Gateway::start().await?;
    let hung = [gateway.worker("store")?, gateway.worker("client-edge")?];
    for worker in hung {
        worker.signal(Signal::SIGSTOP)?;
    }
    for worker in hung {
        deadline::until(HANG, "the end of a worker that hangs", || !worker.runs()).await?;
    }
    gateway.wait_for_successor("store", hung[0]).await?;
    gateway.wait_for_successor("client-edge", hung[1]).await?;
    let said = |line: &str| (line.contains("has not turned") && line.contains("T (stopped)")).then_some(());
    gateway.log().wait_for("in which state the worker was", said).await?;
    Ok(())
}

#[tokio::test]
async fn replaced_programs_do_not_matter_to_a_running_gateway() -> Result<()> {
    let gateway = Gateway::start_in(Home::init(IPV4).await?.with_own_programs()?, &[]).await?;
    let program = gateway.home.root().join("bin/client-edge");
    fs::remove_file(&program)?;
    fs::write(&program, "#!/bin/sh\nexit 3\n")?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    gateway.kill_worker("client-edge").await?;
    Ok(())
}

/// A restored backup mixes two gateways.
#[tokio::test]
async fn public_keys_of_another_gateway_are_never_printed() -> Result<()> {
    let (home, other) = (Home::init(IPV4).await?, Home::init(IPV4).await?);
    for name in ["public_identity.pem", "public_sphinx.pem"] {
        fs::copy(other.data().join(name), home.data().join(name))?;
    }
    let run = home.gatewayd("run", &[]).await?;
    assert_eq!(run.code, Some(78), "{run:?}");
    let init = home.gatewayd("init", &["--mix-host", "127.0.0.1", "--clients-host", "127.0.0.1"]).await?;
    assert_eq!(init.code, Some(1), "{init:?}");
    for outcome in [run, init] {
        assert!(outcome.stderr.contains("/data/public_") && outcome.stderr.contains("/data/private_"), "{outcome:?}");
        assert!(outcome.stderr.contains("of another gateway"), "{outcome:?}");
        assert!(!outcome.stdout.contains("ey: "), "{outcome:?}");
        // The start ends with one reason, and not with what follows from it.
        assert!(!outcome.stderr.contains("worker is killed"), "{outcome:?}");
    }
    Ok(())
}

/// An account that may lock 64 KiB, as on kernels before 5.16. Root may lock any amount, so the gateway is given to another user.
#[tokio::test]
async fn with_64_kib_to_lock_as_many_clients_as_fit_are_served() -> Result<()> {
    let home = Home::init(IPV4).await?;
    let home = if nix::unistd::geteuid().is_root() { home.given_to(4_242)? } else { home };
    let mut gateway = Gateway::start_in(home.with_locked_memory(64 * 1024), &[]).await?;
    let said = |line: &str| (line.contains("possible=504") && line.contains("LimitMEMLOCK=")).then_some(());
    gateway.log().wait_for("how many clients fit", said).await?;
    assert!(gateway.stop(Signal::SIGTERM).await?.success());
    Ok(())
}

#[tokio::test]
async fn few_descriptors_are_one_warning_with_all_numbers() -> Result<()> {
    let mut gateway = Gateway::start_in(Home::init(IPV4).await?.limited_to(256), &[]).await?;
    assert!(gateway.stop(Signal::SIGTERM).await?.success());
    let lines = gateway.log().lines();
    let warnings: Vec<_> = lines.iter().filter(|line| line.contains("WARN") && line.contains("open")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("256") && warnings[0].contains("210 is used for max_client_connections = 20000"));
    Ok(())
}
