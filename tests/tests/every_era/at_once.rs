//! One client on eight connections at once, before the ledger has committed anything: one is let in, and every other is told no.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use client_wire::control::answer::GatewayResponse;
use futures_util::future::try_join_all;
use harness::{
    account::{Account, Registration},
    connection::Connection,
    deadline::bounded,
    era::{Era, handshake_data},
    scene::Scene,
    trace::Tracer,
};

use crate::register;

/// Named in SPECIFICATION.md.
const PROMISE: u8 = 18;
const CONNECTIONS: usize = 8;
/// How much longer a commit takes, so that all eight come before its end.
const COMMIT: Duration = Duration::from_millis(300);

/// Every version, those included in which nothing has changed.
fn eras() -> impl Iterator<Item = Era> {
    [Era::Of2021].into_iter().chain((1..=6).map(Era::Version))
}

async fn open(scene: &Scene) -> Result<Vec<Connection>> {
    try_join_all((0..CONNECTIONS).map(|_| scene.connection())).await
}

async fn send_at_once(connections: &[Connection], texts: &[String]) -> Result<()> {
    for (connection, text) in connections.iter().zip(texts) {
        connection.send_text(text).await?;
    }
    Ok(())
}

/// Takes an answer on each connection, and returns the indexes of those that were let in.
async fn let_in(connections: &mut [Connection]) -> Result<Vec<usize>> {
    let mut indexes = Vec::new();
    for (index, connection) in connections.iter_mut().enumerate() {
        let answer = connection.next_text().await.with_context(|| format!("connection {index} was not answered"))?;
        let answer = match handshake_data(&answer) {
            Ok(_) => connection.next_text().await?,
            Err(_) => answer,
        };
        let yes = matches!(
            answer.parse(),
            Ok(GatewayResponse::Register { status: true, .. } | GatewayResponse::Authenticate { status: true, .. })
        );
        indexes.extend(yes.then_some(index));
    }
    Ok(indexes)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_login_on_eight_connections_lets_one_in() -> Result<()> {
    if !need::strace(PROMISE) {
        return Ok(());
    }
    bounded(async {
        let scene = Scene::start().await?;
        for era in eras() {
            let account = register(&scene, era).await?.leave().await?;
            let texts = vec![account.login_text(); CONNECTIONS];
            let slow = Tracer::attach_slow_disk(scene.gateway.worker("store")?, COMMIT).await?;
            let mut connections = open(&scene).await?;
            send_at_once(&connections, &texts).await?;
            let yes = let_in(&mut connections).await?;
            ensure!(yes.len() == 1, "{era}: {yes:?} were let in with one login");

            scene.gateway.kill_worker("store").await?;
            drop((slow, connections));
            let mut connections = open(&scene).await?;
            send_at_once(&connections, &texts).await?;
            let yes = let_in(&mut connections).await?;
            ensure!(yes.is_empty(), "{era}: {yes:?} were let in with a login of before the store was killed");
        }
        Ok(())
    })
    .await
}

/// A client that is connected and gone without a word.
async fn half_open(scene: &Scene, era: Era) -> Result<(Account, Connection)> {
    let client = register(scene, era).await?;
    client.connection.read_socket(false);
    Ok((client.credentials, client.connection))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_logins_at_once_one_takes_over_from_the_dead() -> Result<()> {
    bounded(async {
        let scene = Scene::start().await?;
        for era in eras() {
            let (account, _dead) = half_open(&scene, era).await?;
            let mut connections = Vec::new();
            // Most come when the first is in the ledger and the dead session is being probed.
            for _ in 0..CONNECTIONS {
                let connection = scene.connection().await?;
                connection.send_text(account.login_text()).await?;
                connections.push(connection);
            }
            let yes = let_in(&mut connections).await.with_context(|| format!("{era}"))?;
            ensure!(yes.len() == 1, "{era}: {yes:?} were let in");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_registrations_at_once_one_takes_over_from_the_dead() -> Result<()> {
    bounded(async {
        let scene = Scene::start().await?;
        for era in eras() {
            let (account, _dead) = half_open(&scene, era).await?;
            let mut connections = open(&scene).await?;
            let (mut keys, mut texts) = (Vec::new(), Vec::new());
            for connection in &mut connections {
                let registration = Registration::of(era, account.identity.clone());
                connection.send_text(registration.init_text()).await?;
                let answer = handshake_data(&connection.next_text().await?)?;
                let (account, finish) = registration.finish(&answer, &scene.gateway.identity)?;
                keys.push(account);
                texts.push(era.handshake_text(&finish));
            }
            send_at_once(&connections, &texts).await?;
            let yes = let_in(&mut connections).await.with_context(|| format!("{era}"))?;
            ensure!(yes.len() == 1, "{era}: {yes:?} were registered");
            for connection in connections {
                connection.vanish().await?;
            }
            // The key that is good is that of the registration that was confirmed.
            for (index, account) in keys.iter().enumerate() {
                let opens = account.log_in(scene.gateway.clients).await.is_ok();
                ensure!(opens == yes.contains(&index), "{era}: the key of connection {index} opens: {opens}");
            }
        }
        Ok(())
    })
    .await
}
