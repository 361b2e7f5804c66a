//! A worker in the hands of an attacker: born, given its descriptors and jailed as the real one whose name it has, it does nothing
//! of its work, but what it is told. See [`harness::rogue`].

use std::{
    cell::RefCell,
    collections::HashMap,
    fs, io,
    io::Write as _,
    net::SocketAddr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream as BlockingStream,
    },
    path::Path,
    process::ExitCode,
    rc::Rc,
};

use anyhow::{Context, Result, bail};
use harness::{
    impostor,
    rogue::{ORDERS, Order, SOCKET},
};
use ipc::{Role, control::Grant};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sandbox::{Jail, close, policy::Policy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::UnixStream,
    sync::mpsc,
    task::LocalSet,
};
use worker::{birth::Birth, control_link::Ending};

fn main() -> ExitCode {
    impostor::run(live)
}

fn live(role: Role, folder: &Path, birth: &Birth) -> Result<Ending> {
    let (start, mut grants) = birth.receive_start()?;
    let lines = (0..ORDERS).map(|_| report(folder)).collect::<Result<Vec<_>>>()?;
    let links: HashMap<Role, OwnedFd> =
        Role::ALL.into_iter().filter_map(|peer| Some((peer, grants.take(Grant::Link(peer)).ok()?))).collect();
    let directories = [Grant::LedgerDirectory, Grant::InboxDirectory, Grant::ReplayDirectory];
    let directories: Vec<OwnedFd> = directories.into_iter().filter_map(|grant| grants.take(grant).ok()).collect();
    drop(grants);
    let granted: Vec<_> = directories.iter().map(AsFd::as_fd).collect();
    let closed = close(Jail { policy: Policy::of(role), spec: &start.jail, directories: &granted })?;
    birth.report_jail(closed.layers());

    let links = Rc::new(RefCell::new(links));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    LocalSet::new().block_on(&runtime, async {
        for line in lines {
            let (line, links) = (UnixStream::from_std(line)?, Rc::clone(&links));
            tokio::task::spawn_local(async move {
                // The master sees how the connection ends.
                let _ = obey(line, &links).await;
            });
        }
        // The rogue reports no peer, and keeps the channel open.
        let (_accuse, accusations) = mpsc::channel(1);
        Ok(birth.control_link()?.follow(accusations).await)
    })
}

/// A connection to the master, who is told whose it is.
fn report(folder: &Path) -> Result<BlockingStream> {
    let mut line = BlockingStream::connect(folder.join(SOCKET))?;
    line.write_all(&std::process::id().to_be_bytes())?;
    line.set_nonblocking(true)?;
    Ok(line)
}

async fn obey(mut master: UnixStream, links: &RefCell<HashMap<Role, OwnedFd>>) -> Result<()> {
    let outcome = match next_order(&mut master).await? {
        Order::LendLink { peer } => {
            let link = links.borrow_mut().remove(&peer).context("there is no such link")?;
            let link = BlockingStream::from(link);
            link.set_nonblocking(true)?;
            let mut link = UnixStream::from_std(link)?;
            let ((mut from_master, mut to_master), (mut from_peer, mut to_peer)) = (master.split(), link.split());
            // When one side ends, both are closed.
            tokio::select! {
                copied = copy(&mut from_master, &mut to_peer) => copied?,
                copied = copy(&mut from_peer, &mut to_master) => copied?,
            };
            return Ok(());
        }
        Order::Read { path } => fs::read(path).map(drop),
        Order::Write { path } => fs::write(path, "the rogue was here"),
        Order::Connect { to } => connect(to),
        Order::Kill { process } => kill(Pid::from_raw(process), Signal::SIGKILL).map_err(io::Error::from),
    };
    let answer = outcome.map_or_else(|error| error.to_string(), |()| "done".to_owned());
    Ok(master.write_all(answer.as_bytes()).await?)
}

async fn next_order(master: &mut UnixStream) -> Result<Order> {
    let mut line = Vec::new();
    loop {
        match master.read_u8().await.context("an order that does not end")? {
            b'\n' => return Order::from_line(&line),
            byte if line.len() < 1_024 => line.push(byte),
            _ => bail!("an order that does not end"),
        }
    }
}

fn connect(to: SocketAddr) -> io::Result<()> {
    std::net::TcpStream::connect(to).map(drop)
}
