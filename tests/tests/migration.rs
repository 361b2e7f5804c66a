//! A gateway that nym-gateway 0.10.1 has run until now: its configuration, its keys, its ledger and its inboxes are used as
//! they are, and its clients notice nothing.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use client_wire::key::CtrHmacKey;
use harness::{
    client::{Credentials, Identity},
    deadline::{self, bounded},
    gateway::{Gateway, IPV4},
    home::Home,
    packet::unique,
    scene::Scene,
    validator::Validator,
};
use nix::sys::signal::Signal;
use pem::KeyTag;
use rand::{RngExt, distr::Alphanumeric};
use sphinx_01::crypto::{PrivateKey, PublicKey};
use wire::{address::ClientAddress, packet::PacketSize};

/// What 0.10.1 leaves behind, and the keys of its clients.
struct Former {
    home: Home,
    client: Credentials,
    inbox: PathBuf,
    messages: BTreeSet<Vec<u8>>,
}

fn write_key(path: &Path, tag: KeyTag, key: &[u8; 32]) -> Result<()> {
    fs::write(path, pem::encode(tag, key).as_bytes())?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
}

fn random_name() -> String {
    rand::rng().sample_iter(Alphanumeric).take(16).map(char::from).collect()
}

fn former_gateway(validator: &Validator) -> Result<Former> {
    let home = Home::empty()?;
    let data = home.data();
    fs::create_dir_all(&data)?;
    fs::create_dir_all(home.config_file().parent().context("no folder for the configuration")?)?;
    // The file as 0.10.1 wrote it, but for the folder, the validator, and the ports, which must be free.
    let config = include_str!("../vectors/2021/config.toml")
        .replace("/home/nym/.nym/gateways/demo", &home.path().to_string_lossy())
        .replace("/home/nym/.nym/gateways", &home.root().to_string_lossy())
        .replace("id = 'demo'", "id = 'test'")
        .replace("http://127.0.0.1:21317", &validator.url())
        .replace("listening_address = '127.0.0.1:21789'", "listening_address = '127.0.0.1:0'")
        .replace("listening_address = '127.0.0.1:29000'", "listening_address = '127.0.0.1:0'");
    fs::write(home.config_file(), config)?;

    let seed: [u8; 32] = rand::random();
    let identity = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes();
    let sphinx = PrivateKey::new();
    let sphinx_public = *PublicKey::from(&sphinx).as_bytes();
    write_key(&data.join("private_identity.pem"), KeyTag::Ed25519Private, &seed)?;
    write_key(&data.join("public_identity.pem"), KeyTag::Ed25519Public, &identity)?;
    write_key(&data.join("private_sphinx.pem"), KeyTag::X25519Private, &sphinx.to_bytes())?;
    write_key(&data.join("public_sphinx.pem"), KeyTag::X25519Public, &sphinx_public)?;

    let client = Credentials { identity: Identity::random(), key: CtrHmacKey::from_bytes(rand::random()) };
    let ledger = sled::open(data.join("client_ledger.sled"))?;
    ledger.insert(client.address().as_bytes(), client.key.to_bytes().as_slice())?;
    // A client without mail.
    ledger.insert(rand::random::<[u8; 32]>(), &rand::random::<[u8; 32]>())?;
    ledger.flush()?;
    drop(ledger);

    let inbox = data.join("inboxes").join(client.address().to_string());
    fs::create_dir_all(&inbox)?;
    let messages: BTreeSet<Vec<u8>> = [1643, 1643, 1643, 21, 32363, 1643].into_iter().map(unique).collect();
    for message in &messages {
        fs::write(inbox.join(random_name()), message)?;
    }
    // A client of 2021 crashes on an empty message; 0.10.1 left such files behind when it died.
    fs::write(inbox.join(random_name()), [])?;
    Ok(Former { home, client, inbox, messages })
}

fn files_in(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_0_10_1_gateway_goes_on_where_it_stopped() -> Result<()> {
    bounded(async {
        let validator = Validator::start().await?;
        let Former { home, client, inbox, messages } = former_gateway(&validator)?;
        let config = fs::read(home.config_file())?;
        let gateway = Gateway::start_in(home, &[]).await?;
        let mut scene = Scene::around(gateway, IPV4).await?;

        // The files go once what they held is durable elsewhere.
        deadline::until(deadline::SOON, "the old inbox files to go", || files_in(&inbox) == 0).await?;
        let newer = scene.send_many(client.address(), 5).await?;
        scene.mixnode.wait_for_acks(&newer).await?;

        let mut online = client.authenticate(scene.gateway.clients).await?;
        let old: BTreeSet<Vec<u8>> = online.next_messages(messages.len()).await?.into_iter().collect();
        ensure!(old == messages, "the old mail came as something else");
        for packet in &newer {
            ensure!(online.next_message().await? == packet.message, "newer mail does not follow in order");
        }
        let live = scene.send(client.address(), PacketSize::Regular).await?;
        ensure!(online.next_message().await? == live.message, "an empty file became mail");
        online.connection.expect_quiet_and_open().await?;
        online.leave().await?;

        // An operator can go back: the configuration and the ledger's old entries are as they were.
        ensure!(fs::read(scene.gateway.home.config_file())? == config, "the configuration was rewritten");
        scene.gateway.stop(Signal::SIGTERM).await?;
        let ledger = sled::open(scene.gateway.home.data().join("client_ledger.sled"))?;
        let entry = ledger.get(client.address().as_bytes())?.context("the old entry is gone")?;
        ensure!(entry == client.key.to_bytes().as_slice(), "the old entry was changed");
        ensure!(ledger.len() == 2, "{} entries instead of 2", ledger.len());
        drop(ledger);

        scene.start_again().await?;
        let mut again = client.authenticate(scene.gateway.clients).await?;
        let live = scene.send(client.address(), PacketSize::Regular).await?;
        ensure!(again.next_message().await? == live.message, "old mail came again");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_registration_is_where_0_10_1_would_look_for_it() -> Result<()> {
    bounded(async {
        let mut gateway = Gateway::start().await?;
        let client = harness::client::Client::register(gateway.clients, &gateway.identity).await?.leave().await?;
        gateway.stop(Signal::SIGTERM).await?;
        let ledger = sled::open(gateway.home.data().join("client_ledger.sled"))?;
        let ClientAddress(address) = client.address();
        let entry = ledger.get(address)?.context("no entry in the tree that 0.10.1 reads")?;
        ensure!(entry == client.key.to_bytes().as_slice());
        Ok(())
    })
    .await
}
