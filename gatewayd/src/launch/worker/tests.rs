//! Workers that are shell scripts. Their control link is their standard input, and a shell can write to it.

use std::path::Path;

use ipc::log::LogSettings;

use super::*;
use crate::{
    launch::fixtures::{config, config_of, jail, program, resources},
    path_guard::PathGuard,
    supervisor::RunLock,
};
use std::path::PathBuf;

fn start() -> Start {
    let home = tempfile::tempdir().unwrap();
    Start {
        grants: vec![],
        log: LogSettings::default(),
        threads: 1,
        jail: jail(64),
        config: config_of(&config(home.path()), Role::Store),
        newcomers: true,
        probe: None,
    }
}

fn spawn(script: &str) -> (Worker, mpsc::Receiver<WorkerEvent>) {
    let folder = tempfile::tempdir().unwrap();
    let (events, heard) = mpsc::channel(8);
    let binary = program(folder.path(), "store", &format!("rm -r '{}'\n{script}", folder.path().display()));
    let _kept_for_the_script = folder.keep();
    (Worker::spawn(Role::Store, &Program::script(Role::Store, binary), start(), &[], events).unwrap(), heard)
}

async fn next(heard: &mut mpsc::Receiver<WorkerEvent>) -> EventKind {
    tokio::time::timeout(Duration::from_secs(20), heard.recv()).await.unwrap().unwrap().kind
}

/// Descriptors above standard error that a program started by this process would inherit.
fn inheritable() -> Vec<String> {
    let survives_exec = |number: &str| {
        // None for the descriptor that listed the directory.
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        Some(i64::from_str_radix(flags.trim(), 8).unwrap() & i64::from(nix::libc::O_CLOEXEC) == 0)
    };
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let mut numbers: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    numbers.retain(|number| survives_exec(number).unwrap_or(false));
    numbers
}

#[tokio::test]
async fn a_worker_inherits_three_descriptors_and_nothing_else() {
    // Descriptors that the test runner left open do not count. A worker closes them first.
    let before = inheritable();
    let home = tempfile::tempdir().unwrap();
    let _holdings = resources(&config(home.path())).unwrap();
    let _link = descriptor::link_pair().unwrap();
    let _lock = RunLock::take(home.path(), "demo", &PathGuard::new(home.path())).unwrap();
    assert_eq!(inheritable(), before);

    // In a subshell, because the redirections would be open files of the shell that is examined.
    let script = "(ls -l /proc/$$/fd > fds; cat /proc/$$/environ > environ; readlink /proc/$$/cwd > cwd); exit";
    let script = script.replace("> ", &format!("> {}/", home.path().display()));
    let (_worker, mut heard) = spawn(&script);
    while !matches!(next(&mut heard).await, EventKind::Ended(_)) {}
    let seen = |name| std::fs::read_to_string(home.path().join(name)).unwrap();
    assert_eq!(seen("environ"), "");
    assert_eq!(seen("cwd"), "/\n");
    let stderr = std::fs::read_link("/proc/self/fd/2").unwrap();
    let fds = seen("fds");
    let lines: Vec<_> = fds.lines().filter_map(|line| line.split_once(" -> ")).collect();
    for (number, target) in &lines {
        match number.rsplit(' ').next().unwrap() {
            "0" => assert!(target.starts_with("socket:["), "{fds}"),
            "1" => assert_eq!(*target, "/dev/null"),
            "2" => assert_eq!(Path::new(target), stderr),
            // The shell has the script open.
            _ if target.ends_with("/store (deleted)") => {}
            number => assert!(before.iter().any(|known| known == number), "{number} in {fds}"),
        }
    }
    assert!(lines.len() > 3);
}

#[tokio::test]
async fn standard_output_goes_nowhere() {
    let (_worker, mut heard) = spawn("test \"$(readlink /proc/$$/fd/1)\" = /dev/null && exit 7");
    assert!(matches!(next(&mut heard).await, EventKind::Ended(Death::Exit(status)) if status.code() == Some(7)));
}

#[tokio::test]
async fn last_words_come_before_the_death() {
    let (_worker, mut heard) = spawn(r"printf '\000' >&0; printf '\001\004no\033!' >&0; exit 3");
    assert!(matches!(next(&mut heard).await, EventKind::Report(WorkerReport::WorkerReady)));
    match next(&mut heard).await {
        EventKind::Report(WorkerReport::StartFailed { what }) => assert_eq!(what, "no !"),
        other => panic!("{other:?}"),
    }
    match next(&mut heard).await {
        EventKind::LinkClosed => assert!(matches!(next(&mut heard).await, EventKind::Ended(_))),
        EventKind::Ended(Death::Exit(status)) => assert_eq!(status.code(), Some(3)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn bytes_that_are_no_report_are_noticed_and_a_kill_is_a_death() {
    let (worker, mut heard) = spawn(r"printf 'hello' >&0; exec sleep 600");
    assert!(matches!(next(&mut heard).await, EventKind::Garbled));
    worker.kill();
    match next(&mut heard).await {
        EventKind::Ended(death) => {
            assert!(!death.is_orderly());
            assert!(death.to_string().contains('9'), "{death}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn orders_arrive_and_a_dropped_worker_dies() {
    let drain = "dd bs=65536 count=1 >/dev/null 2>&1";
    let (worker, mut heard) = spawn(&format!("{drain}; {drain}; exit 0"));
    worker.send(&WorkerCommand::DrainWorker, &[]).unwrap();
    loop {
        match next(&mut heard).await {
            EventKind::LinkClosed => {}
            EventKind::Ended(death) => break assert!(death.is_orderly(), "{death}"),
            other => panic!("{other:?}"),
        }
    }

    let (worker, mut heard) = spawn("exec sleep 600");
    let stat = PathBuf::from(format!("/proc/{}", worker.pid()));
    assert!(stat.exists());
    drop(worker);
    assert!(heard.recv().await.is_none());
    for _ in 0..200 {
        if std::fs::read_to_string(stat.join("stat")).map_or(true, |stat| stat.contains(") Z ")) {
            return;
        }
        tokio::task::yield_now().await;
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("still alive");
}
