//! A worker in the hands of an attacker that does what its jail forbids is killed, and no other worker is.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use harness::{
    deadline::bounded,
    gateway::IPV4,
    home::Home,
    rogue::{Order, Taken},
};
use ipc::Role;
use tokio::net::TcpListener;

/// To open a file for reading does not kill: the C library tries it. It never works.
const ABSENT: &str = "Function not implemented (os error 38)";
const DENIED: &str = "Permission denied (os error 13)";

async fn taken(role: Role) -> Result<Taken> {
    Taken::over(Home::init(IPV4).await?, role).await
}

async fn cannot_read_a_key(taken: &Taken, error: &str) -> Result<()> {
    for key in ["private_identity.pem", "private_sphinx.pem"] {
        let path = taken.gateway.home.data().join(key);
        ensure!(path.is_file());
        let answer = taken.ask(Order::Read { path }).await?;
        ensure!(answer.as_deref() == Some(error), "{key}: {answer:?}");
    }
    Ok(())
}

async fn cannot_kill(taken: &Taken, other: &str) -> Result<()> {
    let process = i32::try_from(taken.gateway.worker(other)?.0)?;
    taken.is_killed_for("kill", Order::Kill { process }).await
}

async fn listener() -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn cannot_write_or_connect(taken: &Taken) -> Result<()> {
    let path = taken.gateway.home.path().join("planted");
    taken.is_killed_for("openat", Order::Write { path: path.clone() }).await?;
    ensure!(!path.exists());
    let (_listener, to) = listener().await?;
    taken.is_killed_for("socket", Order::Connect { to }).await
}

/// Of a role that opens nothing: no key, no file, no connection, and no other process.
async fn expect_nothing_allowed(role: Role) -> Result<()> {
    bounded(async {
        let taken = taken(role).await?;
        cannot_read_a_key(&taken, ABSENT).await?;
        cannot_write_or_connect(&taken).await?;
        cannot_kill(&taken, "store").await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rogue_edge_dies_alone_of_what_its_jail_forbids() -> Result<()> {
    expect_nothing_allowed(Role::ClientEdge).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rogue_ingress_dies_alone_of_what_its_jail_forbids() -> Result<()> {
    expect_nothing_allowed(Role::MixIngress).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rogue_egress_connects_and_dies_of_everything_else() -> Result<()> {
    bounded(async {
        let taken = taken(Role::MixEgress).await?;
        cannot_read_a_key(&taken, ABSENT).await?;
        let (listener, to) = listener().await?;
        ensure!(taken.ask(Order::Connect { to }).await?.as_deref() == Some("done"));
        listener.accept().await?;
        cannot_kill(&taken, "store").await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_few_ports_the_kernel_holds_egress_to_them() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        home.set_config("egress", "ports", "[1789]")?;
        let taken = Taken::over(home, Role::MixEgress).await?;
        let (_listener, to) = listener().await?;
        let answer = taken.ask(Order::Connect { to }).await?;
        ensure!(answer.as_deref() == Some(DENIED), "{answer:?}");
        // The gateway's own mixnet port, which a SURB-ack may name.
        let answer = taken.ask(Order::Connect { to: taken.gateway.mix }).await?;
        ensure!(answer.as_deref() == Some("done"), "{answer:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rogue_store_opens_nothing_but_its_own_and_dies_of_a_socket() -> Result<()> {
    bounded(async {
        let taken = taken(Role::Store).await?;
        cannot_read_a_key(&taken, DENIED).await?;
        let path = taken.gateway.home.path().join("planted");
        let (_listener, to) = listener().await?;
        taken.is_killed_for("socket", Order::Connect { to }).await?;
        let answer = taken.ask(Order::Write { path: path.clone() }).await?;
        ensure!(answer.as_deref() == Some(DENIED) && !path.exists(), "{answer:?}");
        cannot_kill(&taken, "client-edge").await
    })
    .await
}
