//! The real binary, started as the supervisor starts it.

use std::{
    fs::File,
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::{AsFd, OwnedFd},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ipc::{
    Role, codec,
    control::{Grant, Start, WorkerCommand, WorkerConfig, WorkerReport},
    jail::{JailSpec, Layer, LayerSettings},
    log::LogSettings,
};
use link::descriptor::{control_pair, link_pair, receive, send};
use pem::KeyTag;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wire::{framing::Framing, packet::PacketSize};

use crate::{
    packets::{made, secret},
    peers::{Egress, Store, soon},
    rig::CONFIG,
};

struct Worker {
    child: Child,
    control: OwnedFd,
    address: SocketAddr,
    store: Store,
    egress: Egress,
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An open file with that text and without a path.
fn file_with(text: &str) -> OwnedFd {
    let path = std::env::temp_dir().join(format!("mix-ingress-test-{}-{:p}", std::process::id(), text));
    let mut file = File::create_new(&path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let readable = File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    readable.into()
}

fn start(key_file: &str, open_files: u64) -> Worker {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (store, far_store) = link_pair().unwrap();
    let (egress, far_egress) = link_pair().unwrap();
    let (control, far_control) = control_pair().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_mix-ingress")).stdin(Stdio::from(far_control)).spawn().unwrap();
    let order = WorkerCommand::StartWorker(Box::new(Start {
        grants: vec![
            Grant::MixListener,
            Grant::SphinxKey,
            Grant::Link(Role::Store),
            Grant::Link(Role::MixEgress),
            Grant::FiguresPage,
        ],
        log: LogSettings { filter: "debug".into(), ..LogSettings::default() },
        threads: 2,
        jail: JailSpec {
            supervisor: std::process::id(),
            open_files,
            layers: Some(LayerSettings { account: None, required: vec![Layer::Seccomp], connect_ports: vec![] }),
        },
        config: WorkerConfig::MixIngress(CONFIG),
        newcomers: true,
        probe: None,
    }));
    let key = file_with(key_file);
    let page = sandbox::page::create(figures::Page::Worker(Role::MixIngress).bytes()).unwrap();
    send(
        control.as_fd(),
        &codec::encode_one(&order).unwrap(),
        &[listener.as_fd(), key.as_fd(), store.as_fd(), egress.as_fd(), page.as_fd()],
    )
    .unwrap();
    Worker { child, control, address, store: Store::at(far_store), egress: Egress::at(far_egress) }
}

fn good_key() -> String {
    pem::encode(KeyTag::X25519Private, &secret()).to_string()
}

impl Worker {
    fn report(&self) -> WorkerReport {
        codec::decode_one(&receive(self.control.as_fd()).unwrap().0).unwrap()
    }

    fn closed_its_jail(&self) -> bool {
        matches!(self.report(), WorkerReport::JailClosed(layers) if layers.active.contains(&Layer::Seccomp))
    }

    fn names_its_public_key(&self) {
        let secret = *pem::decode(KeyTag::X25519Private, good_key().as_bytes()).unwrap();
        let public = x25519_dalek::x25519(secret, x25519_dalek::X25519_BASEPOINT_BYTES);
        assert_eq!(self.report(), WorkerReport::PublicKey(public));
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

#[tokio::test]
async fn the_worker_is_born_works_and_ends() {
    let mut worker = start(&good_key(), 1_024);
    assert!(worker.closed_its_jail());
    worker.names_its_public_key();
    assert_eq!(worker.report(), WorkerReport::WorkerReady);
    let mut node = soon(TcpStream::connect(worker.address)).await.unwrap();
    let sample = made(0, PacketSize::Regular);
    node.write_all(&sample.frame(Framing::V7)).await.unwrap();
    let delivered = worker.store.next().await;
    delivered.assert_is(&sample);
    worker.store.accept(delivered.id).await;
    assert_eq!(worker.egress.next().await, sample.paid(Framing::V7));
    send(worker.control.as_fd(), &codec::encode_one(&WorkerCommand::DrainWorker).unwrap(), &[]).unwrap();
    // The marks are saved, and the link ends.
    assert_eq!(worker.store.next_or_end().await, None);
    assert_eq!(worker.exit_code(), Some(0));
}

#[tokio::test]
async fn a_key_file_that_is_none_is_reported() {
    for text in [String::new(), "x".repeat(2_000), good_key().replace("X25519", "ED25519")] {
        let mut worker = start(&text, 1_024);
        let WorkerReport::StartFailed { what } = worker.report() else { panic!("it started") };
        assert!(what.contains("Sphinx private key"), "{what}");
        assert_eq!(worker.exit_code(), Some(1));
    }
}

/// Whether the worker serves the connection: it delivers the packet, or closes the connection.
async fn is_served(worker: &mut Worker, node: &mut TcpStream, number: u32) -> bool {
    let sample = made(number, PacketSize::Ack);
    // The write may fail on a closed connection; the read below tells as well.
    let _ = node.write_all(&sample.frame(Framing::V7)).await;
    let mut nothing = [0; 1];
    tokio::select! {
        delivered = worker.store.next() => {
            delivered.assert_is(&sample);
            true
        }
        read = node.read(&mut nothing) => {
            assert!(matches!(read, Ok(0) | Err(_)), "the gateway said something");
            false
        }
    }
}

#[tokio::test]
async fn without_descriptors_newcomers_are_rejected_and_others_served() {
    let mut worker = start(&good_key(), 24);
    assert!(worker.closed_its_jail());
    worker.names_its_public_key();
    assert_eq!(worker.report(), WorkerReport::WorkerReady);
    let mut served = Vec::new();
    for number in 0.. {
        let mut node = soon(TcpStream::connect(worker.address)).await.unwrap();
        if !is_served(&mut worker, &mut node, number).await {
            break;
        }
        served.push(node);
    }
    assert!((1..24).contains(&served.len()), "{}", served.len());
    assert!(is_served(&mut worker, &mut served[0], 100).await);
    // A descriptor that becomes free is used.
    served.pop();
    let before = Instant::now();
    for number in 200.. {
        assert!(before.elapsed() < Duration::from_secs(20), "nobody is served any more");
        let mut node = soon(TcpStream::connect(worker.address)).await.unwrap();
        if is_served(&mut worker, &mut node, number).await {
            break;
        }
    }
}
