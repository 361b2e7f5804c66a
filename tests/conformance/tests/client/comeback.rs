//! A client comes back by itself after anything that may happen to its gateway, and finds its mail.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use conformance::{client::Client, deadline::bounded, gateway::Gateway};
use nix::sys::signal::Signal;
use nym_sphinx::params::PacketSize;

/// Between two packets of cover traffic, more or less. They are what tells a client that its connection is dead.
const COVER_TRAFFIC: Duration = Duration::from_millis(200);

/// Between two packets of a client that has much to say.
const TRAFFIC: Duration = Duration::from_millis(20);

/// So many packets in a row that cannot be sent end a program that is built on the client.
const PATIENCE: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_comes_back_when_the_gateway_was_stopped_and_started() -> Result<()> {
    bounded(async {
        let mut gateway = Gateway::start().await?;
        let mut client = Client::registered(&gateway).await?;
        client.prove_working().await?;
        gateway.stop(Signal::SIGTERM).await?;
        gateway.start_again().await?;
        comes_back(&mut client).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_comes_back_when_the_gateway_was_killed_and_started() -> Result<()> {
    bounded(async {
        let mut gateway = Gateway::start().await?;
        let mut client = Client::registered(&gateway).await?;
        client.prove_working().await?;
        gateway.stop(Signal::SIGKILL).await?;
        gateway.start_again().await?;
        comes_back(&mut client).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_goes_on_trying_while_the_gateway_is_gone() -> Result<()> {
    bounded(async {
        let mut gateway = Gateway::start().await?;
        let mut client = Client::registered(&gateway).await?;
        client.prove_working().await?;
        gateway.stop(Signal::SIGTERM).await?;
        let start_later = async {
            // Long enough for several attempts of the client to fail.
            tokio::time::sleep(Duration::from_secs(2)).await;
            gateway.start_again().await
        };
        tokio::try_join!(start_later, comes_back(&mut client))?;
        Ok(())
    })
    .await
}

// Only of a stop in good order. When a connection is reset under a packet, as by SIGKILL, it depends on the client's luck: if
// its sending half learns of it before its reading half, it goes on with the dead connection for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_all_the_time_comes_back() -> Result<()> {
    bounded(async {
        let mut gateway = Gateway::start().await?;
        let mut client = Client::registered(&gateway).await?;
        client.prove_working().await?;
        let restarted = Cell::new(false);
        let restart = async {
            gateway.stop(Signal::SIGTERM).await?;
            gateway.start_again().await?;
            restarted.set(true);
            anyhow::Ok(())
        };
        let send = async {
            let me = client.address();
            while !restarted.get() {
                // It may fail; what follows shows whether the client comes back.
                if let Err(error) = client.send(&me, b"meanwhile", PacketSize::RegularPacket).await {
                    eprintln!("the client could not send: {error:#}");
                }
                tokio::time::sleep(TRAFFIC).await;
            }
            anyhow::Ok(())
        };
        tokio::try_join!(restart, send)?;
        comes_back(&mut client).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_comes_back_after_the_death_of_any_worker() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let mut client = Client::registered(&gateway).await?;
        for worker in ["mix-ingress", "mix-egress", "client-edge", "store"] {
            // The client may have just logged in, and it cannot do that twice in one second.
            tokio::time::sleep(Duration::from_secs(1)).await;
            gateway.kill_worker(worker)?;
            comes_back(&mut client).await.with_context(|| format!("{worker} was killed"))?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_was_acknowledged_outlives_the_gateway() -> Result<()> {
    bounded(async {
        let mut gateway = Gateway::start().await?;
        let mut sender = Client::registered(&gateway).await?;
        let mut receiver = Client::registered(&gateway).await?;
        receiver.inner().disconnect().await?;
        let acks = sender.send(&receiver.address(), b"for later", PacketSize::ExtendedPacket32).await?;
        sender.expect_acks(&acks).await?;
        gateway.stop(Signal::SIGKILL).await?;
        gateway.start_again().await?;
        let mut receiver = receiver.again(&gateway)?;
        receiver.log_in().await?;
        receiver.expect(b"for later").await
    })
    .await
}

/// The client goes on sending to itself, as its cover traffic does, until something of that comes. A packet that met a dead
/// connection is lost: its sender would send it again.
async fn comes_back(client: &mut Client) -> Result<()> {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let text = format!("call {}", CALLS.fetch_add(1, Ordering::Relaxed)).into_bytes();
    let me = client.address();
    let mut failures = 0;
    for _ in 0..300 {
        match client.send(&me, &text, PacketSize::RegularPacket).await {
            Ok(_) => failures = 0,
            Err(error) => {
                failures += 1;
                eprintln!("the client could not send: {error:#}");
                ensure!(failures < PATIENCE, "the client did not come back: {error:#}");
            }
        }
        let mut received = async || -> Result<()> {
            while client.message().await?.into_inner_data() != text {}
            Ok(())
        };
        if let Ok(received) = tokio::time::timeout(COVER_TRAFFIC, received()).await {
            return received;
        }
    }
    bail!("the client can send, but receives nothing")
}
