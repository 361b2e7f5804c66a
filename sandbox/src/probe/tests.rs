//! Outside of a jail every attempt must work: otherwise a finding of "denied" would prove nothing.

use std::{
    io::{Seek, Write},
    net::{TcpListener, UdpSocket},
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
};

use ipc::probe::Inode;

use super::*;

fn found(what: &Attempt) -> Finding {
    let mut last = None;
    attempt(what, &mut |finding| last = Some(finding));
    last.unwrap()
}

fn denied(errno: i32) -> Finding {
    Finding::Denied { errno }
}

fn inode_of(path: &std::path::Path) -> Inode {
    let metadata = path.metadata().unwrap();
    Inode { device: metadata.dev(), number: metadata.ino() }
}

#[test]
fn files_are_opened_by_path_and_by_descriptor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let bytes = |path: &std::path::Path| path.as_os_str().as_bytes().to_vec();
    assert_eq!(found(&Attempt::OpenFile { path: bytes(&path) }), denied(libc::ENOENT));
    let other = tempfile::tempdir().unwrap();
    let held = std::fs::File::open(folder.path()).unwrap();
    assert!(held.as_raw_fd() < 64);
    // Without a database and with one.
    for _ in 0..2 {
        for directory in [folder.path(), other.path()] {
            let expected = if directory == folder.path() { Finding::Allowed } else { denied(libc::EBADF) };
            let directory = inode_of(directory);
            assert_eq!(found(&Attempt::ReadDatabase { directory }), expected);
            assert_eq!(found(&Attempt::WriteDatabase { directory }), expected);
        }
        std::fs::write(&path, "text of a database").unwrap();
    }
    assert_eq!(found(&Attempt::OpenFile { path: bytes(&path) }), Finding::Allowed);
    assert_eq!(found(&Attempt::CreateFile { directory: bytes(folder.path()) }), Finding::Allowed);
    let name = folder.path().file_name().unwrap();
    assert_eq!(found(&Attempt::OpenBeneath { path: [b"../", name.as_bytes(), b"/db"].concat() }), Finding::Allowed);
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}

#[test]
fn a_key_is_found_in_an_open_descriptor() {
    let mut key = tempfile::tempfile().unwrap();
    let begin = b"----- a key that only this test has".to_vec();
    for attempt in [Attempt::FindByPosition { begin: begin.clone() }, Attempt::FindByRewinding { begin: begin.clone() }]
    {
        assert_ne!(found(&attempt), Finding::Allowed);
    }
    key.write_all(&begin).unwrap();
    assert_eq!(found(&Attempt::FindByPosition { begin: begin.clone() }), Finding::Allowed);
    assert_eq!(found(&Attempt::FindByRewinding { begin: begin.clone() }), Finding::Allowed);
    key.rewind().unwrap();
    assert_eq!(found(&Attempt::FindByReading { begin }), Finding::Allowed);
}

#[test]
fn the_network_is_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    assert_eq!(found(&Attempt::Connect { to }), Finding::Allowed);
    drop(listener);
    assert_eq!(found(&Attempt::Connect { to }), Finding::Allowed, "a refusal comes from there");
    let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(found(&Attempt::SendDatagram { to: listener.local_addr().unwrap() }), Finding::Allowed);
    assert_eq!(found(&Attempt::BindPort { at: "127.0.0.1:0".parse().unwrap() }), Finding::Allowed);
    assert_eq!(found(&Attempt::ListenUnbound), Finding::Allowed);
    assert_eq!(found(&Attempt::ConnectUnix { path: b"/nowhere".to_vec() }), Finding::Allowed);
    assert_eq!(found(&Attempt::ConnectUnix { path: vec![b'x'; 4096] }), Finding::Allowed);
}

#[test]
fn other_processes_are_reached() {
    let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let pid = other.id();
    let attempts = [
        Attempt::Signal { pid },
        Attempt::SignalThread { pid },
        Attempt::QueueSignal { pid },
        Attempt::LookAt { pid },
        Attempt::HoldProcess { pid },
        Attempt::AskAffinity { pid },
        Attempt::ReadClock { pid },
        Attempt::AskClock { pid },
        Attempt::SleepByClock { pid },
        Attempt::TakeLock { pid },
        Attempt::ReadMemory { pid },
        Attempt::Trace { pid },
    ];
    let tried = attempts.map(|attempt| (attempt.clone(), found(&attempt)));
    other.kill().unwrap();
    other.wait().unwrap();
    for (attempt, finding) in tried {
        assert_eq!(finding, Finding::Allowed, "{attempt:?}");
        assert_ne!(found(&attempt), Finding::Allowed, "{attempt:?} of nobody");
    }
}

#[test]
fn children_are_made_and_bytes_become_code() {
    for attempt in [Attempt::Fork, Attempt::ForkByClone3, Attempt::MapExecutable, Attempt::ProtectExecutable] {
        assert_eq!(found(&attempt), Finding::Allowed, "{attempt:?}");
    }
    let uid = std::fs::metadata("/proc/self").unwrap().uid();
    assert_eq!(found(&Attempt::BecomeUser { uid }), Finding::Allowed);
    let path = b"/nowhere".to_vec();
    assert_eq!(found(&Attempt::Execute { path: path.clone() }), denied(libc::ENOENT));
    assert_eq!(found(&Attempt::ExecuteAt { path }), denied(libc::ENOENT));
}
