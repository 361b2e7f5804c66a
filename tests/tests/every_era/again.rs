//! Clients that register again, with a key of the same kind or of another one, while the store is killed: they have one key, the
//! other one is refused, and their mail is there.

use anyhow::{Context, Result, ensure};
use harness::{
    account::{Account, Registration},
    client::Client,
    deadline::bounded,
    era::{Era, handshake_data},
    packet::FinalHopPacket,
    scene::Scene,
    trace::Tracer,
};
use nix::sys::signal::Signal;
use wire::packet::PacketSize;

use crate::{register, send_today, words::wrong_key};

/// Named in SPECIFICATION.md.
const PROMISE: u8 = 19;

/// Before and after: keys of one kind, and of both kinds in both directions.
const PAIRS: [(Era, Era); 6] = [
    (Era::Of2021, Era::Version(2)),
    (Era::Of2021, Era::TODAY),
    (Era::TODAY, Era::Of2021),
    (Era::Version(3), Era::Version(2)),
    (Era::Version(2), Era::Version(3)),
    (Era::Version(4), Era::TODAY),
];

/// At which call of the commit the store dies: before anything is written, or synced. Without one it dies after its answer.
const DEATHS: [Option<&str>; 3] = [Some("pwrite64"), Some("fdatasync"), None];

/// A client with a key and stored mail registers again, and the store dies of it. Returns the new account. The gateway is
/// restarted: a worker that dies so often would come back after a pause only.
async fn register_again(scene: &mut Scene, before: &Account, era: Era, death: Option<&str>) -> Result<Account> {
    let mut connection = scene.connection().await?;
    // The mail that comes behind the answer is not received.
    connection.answer_pings(false);
    let registration = Registration::of(era, before.identity.clone());
    connection.send_text(registration.init_text()).await?;
    let answer = handshake_data(&connection.next_text().await?)?;
    let (after, finish) = registration.finish(&answer, &scene.gateway.identity)?;
    let store = scene.gateway.worker("store")?;
    let tracer = match death {
        Some(call) => Some(Tracer::attach_killing(store, call).await?),
        None => None,
    };
    connection.send_text(era.handshake_text(&finish)).await?;
    if death.is_none() {
        connection.next_text().await?;
        store.signal(Signal::SIGKILL)?;
    }
    store.wait_until_gone().await?;
    drop(tracer);
    scene.gateway.kill_supervisor().await?;
    scene.start_again().await?;
    Ok(after)
}

async fn log_in(scene: &Scene, account: &Account) -> Result<Option<Client<Account>>> {
    let mut connection = scene.connection().await?;
    connection.send_text(account.login_text()).await?;
    let answer = connection.next_text().await?;
    if account.expect_yes(&answer).is_ok() {
        return Ok(Some(Client::new(account.clone(), connection)));
    }
    ensure!(answer == wrong_key(account.era), "a key of {} that is not valid any more gets {answer}", account.era);
    Ok(None)
}

/// One of the keys opens, and there is the mail. Says whether it is the new one.
async fn is_new_key_valid(scene: &Scene, keys: [&Account; 2], stored: &FinalHopPacket) -> Result<bool> {
    let mut opens = Vec::new();
    for key in keys {
        let client = log_in(scene, key).await?;
        opens.push(client.is_some());
        if let Some(mut client) = client {
            ensure!(client.next_message().await? == stored.message, "other mail came");
            client.connection.answer_pings(false);
            client.connection.vanish().await?;
        }
    }
    ensure!(opens == [true, false] || opens == [false, true], "of the old and the new key these open: {opens:?}");
    Ok(opens == [false, true])
}

#[tokio::test(flavor = "multi_thread")]
async fn who_registers_again_has_one_key_wherever_the_store_dies() -> Result<()> {
    if !need::strace(PROMISE) {
        return Ok(());
    }
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut addresses = Vec::new();
        for (before, after) in PAIRS {
            for death in DEATHS {
                let context = || format!("from {before} to {after}, death at {death:?}");
                let old = register(&scene, before).await?.leave().await?;
                let stored = send_today(&mut scene, &old, PacketSize::Regular).await?;
                scene.mixnode.wait_for_acks(std::slice::from_ref(&stored)).await?;
                let new = register_again(&mut scene, &old, after, death).await.with_context(context)?;
                let is_new = is_new_key_valid(&scene, [&old, &new], &stored).await.with_context(context)?;
                ensure!(is_new || death.is_some(), "{}: it was answered, and the old key is valid", context());
                addresses.push(old.address());
            }
        }
        scene.gateway.stop(Signal::SIGTERM).await?;
        let ledger = scene.gateway.home.ledger()?;
        let later = ledger.open_tree("clients")?;
        for address in addresses {
            let places = [&*ledger, &later].map(|tree| tree.contains_key(address.as_bytes()));
            let [of_2021, later] = places;
            ensure!(of_2021? != later?, "a client is in both trees, or in none");
        }
        Ok(())
    })
    .await
}
