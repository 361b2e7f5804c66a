//! `client-edge` in the hands of an attacker: born, lent its descriptors and jailed as the real one, it serves no client, but
//! does what is asked of it on the clients' port. One connection at a time, one order per connection: see [`tests::rogue`].

use std::{fs, io, net::SocketAddr, process::ExitCode};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use proto::{
    ipc::{Role, control::Grant},
    link::worker::{self, Birth, Ending},
};
use sandbox::{Jail, close, descriptors::close_inherited, policy::Policy};
use tests::rogue::Order;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixStream},
    sync::mpsc,
};

fn main() -> ExitCode {
    worker::run(Role::ClientEdge, close_inherited(), |birth| live(birth).map_err(|error| format!("{error:#}")))
}

fn live(birth: &Birth) -> Result<Ending> {
    let (start, mut grants) = birth.receive_start()?;
    let listener = std::net::TcpListener::from(grants.take(Grant::ClientListener)?);
    let store = std::os::unix::net::UnixStream::from(grants.take(Grant::Link(Role::Store))?);
    let closed = close(Jail { policy: Policy::of(Role::ClientEdge), order: &start.jail, directories: &[] })?;
    birth.report_jail(closed.held());

    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        listener.set_nonblocking(true)?;
        store.set_nonblocking(true)?;
        // Nobody is accused, and the channel stays open.
        let (_accuse, accusations) = mpsc::channel(1);
        tokio::select! {
            ending = birth.orders()?.follow(accusations) => Ok(ending),
            outcome = obey(TcpListener::from_std(listener)?, UnixStream::from_std(store)?) => outcome,
        }
    })
}

async fn obey(listener: TcpListener, mut store: UnixStream) -> Result<Ending> {
    loop {
        let (mut master, _) = listener.accept().await?;
        let outcome = match next_order(&mut master).await? {
            Order::LendLink => {
                // However it ends: the master sees it.
                let _ = copy_bidirectional(&mut master, &mut store).await;
                continue;
            }
            Order::Read { path } => fs::read(path).map(drop),
            Order::Write { path } => fs::write(path, "the rogue was here"),
            Order::Connect { to } => connect(to),
            Order::Kill { process } => kill(Pid::from_raw(process), Signal::SIGKILL).map_err(io::Error::from),
        };
        let answer = outcome.map_or_else(|error| error.to_string(), |()| "done".to_owned());
        master.write_all(answer.as_bytes()).await?;
    }
}

async fn next_order(master: &mut TcpStream) -> Result<Order> {
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
