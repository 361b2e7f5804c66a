//! `gatewayd support-bundle`: secrets, addresses and names are planted, and the bundle is searched for them.

use std::{fs, os::unix::fs::MetadataExt as _};

use anyhow::{Context, Result, ensure};
use harness::{
    client::{Client, Era, Identity},
    deadline::bounded,
    gateway::IPV4,
    home::Home,
    scene::Scene,
};
use nix::sys::signal::Signal;

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_has_nothing_that_was_planted() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let clients = scene.gateway.clients;
        let client = Client::register_in(Era::TODAY, &Identity::random(), clients, &scene.gateway.identity).await?;
        let address = client.address();
        let mail = scene.send_many(address, 3).await?;
        scene.mixnode.wait_for_acks(&mail).await?;
        let home = &scene.gateway.home;
        // What an operator may have written there.
        for (key, value) in [
            ("hostname", "'secrethost.example'"),
            ("moniker", "'Alice of Wonderland'"),
            ("security_contact", "'0791234567'"),
            ("details", "'10s'"),
        ] {
            home.set_config("node", key, value)?;
        }
        let config = fs::read_to_string(home.config_file())?;
        fs::write(home.config_file(), format!("# ask bob at 198.51.100.77\n{config}"))?;

        let mut planted = vec![
            address.to_string(),
            hex::encode(address.as_bytes()),
            "127.0.0.1".to_owned(),
            "secrethost".to_owned(),
            "Wonderland".to_owned(),
            "198.51.100.77".to_owned(),
            "0791234567".to_owned(),
            "details = '10s'".to_owned(),
            home.root().display().to_string(),
            bs58::encode(scene.gateway.identity).into_string(),
            fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned(),
        ];
        for key in ["private_identity.pem", "public_identity.pem", "private_sphinx.pem", "public_sphinx.pem"] {
            let text = fs::read_to_string(home.data().join(key))?;
            planted.push(text.lines().nth(1).context("no key in the file")?.to_owned());
        }
        planted.retain(|text| text.len() > 3);

        let folder = tempfile::tempdir()?;
        let file = folder.path().join("bundle.txt");
        let path = file.to_str().context("a path that is no text")?;
        let outcome = home.gatewayd("support-bundle", &[path]).await?;
        ensure!(outcome.code == Some(0) && outcome.stdout.contains("It holds:"), "{outcome:?}");
        ensure!(fs::metadata(&file)?.mode() & 0o7777 == 0o600);
        let bundle = fs::read_to_string(&file)?;
        for part in [
            "kernel ",
            "store: ",
            "seccomp",
            "open files",
            "[limits]",
            "inbox_messages = ",
            "inboxes: ",
            "free on the disk",
        ] {
            ensure!(bundle.contains(part), "{part} is missing: {bundle}");
        }
        let printed = home.gatewayd("support-bundle", &[]).await?;
        ensure!(printed.code == Some(0) && printed.stdout.contains("The bundle above holds:"), "{printed:?}");
        for text in &planted {
            for bundle in [&bundle, &printed.stdout] {
                ensure!(!bundle.contains(text.as_str()), "{text} is in the bundle: {bundle}");
            }
        }
        let again = home.gatewayd("support-bundle", &[path]).await?;
        ensure!(again.code == Some(73) && again.stderr.contains("exists already"), "{again:?}");

        drop(client);
        scene.gateway.stop(Signal::SIGTERM).await?;
        let outcome = scene.gateway.home.gatewayd("support-bundle", &[]).await?;
        ensure!(outcome.code == Some(0) && outcome.stdout.contains("the gateway does not run"), "{outcome:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_gateway_that_is_broken_has_a_bundle_too() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        fs::remove_file(home.data().join("public_sphinx.pem"))?;
        fs::write(home.data().join("public_identity.pem"), "alice")?;
        let outcome = home.gatewayd("support-bundle", &[]).await?;
        ensure!(outcome.code == Some(0), "{outcome:?}");
        for words in [
            "public Sphinx key: cannot be read: entity not found",
            "private Sphinx key: can be opened, mode 600",
            "public_identity_key_file has something else than a key in it",
            "[limits]",
        ] {
            ensure!(outcome.stdout.contains(words), "{words} is missing: {outcome:?}");
        }

        home.set_config("limits", "inbox_messages", "'alice'")?;
        home.set_config("node", "moniker", "'bob'")?;
        let outcome = home.gatewayd("support-bundle", &[]).await?;
        ensure!(outcome.code == Some(0) && outcome.stdout.contains("something is wrong in line "), "{outcome:?}");
        ensure!(outcome.stdout.contains("inbox_messages = <set>"), "{outcome:?}");

        let config = fs::read_to_string(home.config_file())?;
        fs::write(home.config_file(), format!("{config}\n[[carol 'dave\n"))?;
        let broken = home.gatewayd("support-bundle", &[]).await?;
        ensure!(broken.code == Some(0) && broken.stdout.contains("it is no TOML"), "{broken:?}");
        fs::remove_file(home.config_file())?;
        let missing = home.gatewayd("support-bundle", &[]).await?;
        ensure!(missing.code == Some(0), "{missing:?}");
        ensure!(missing.stdout.contains("it cannot be read: entity not found"), "{missing:?}");
        for name in ["alice", "bob", "carol", "dave"] {
            for outcome in [&outcome, &broken, &missing] {
                ensure!(!outcome.stdout.contains(name) && !outcome.stderr.contains(name), "{name}: {outcome:?}");
            }
        }
        ensure!(broken.stdout.contains("inboxes: ") && broken.stdout.contains("kernel "), "{broken:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_gateway_that_is_not_there_has_no_bundle() -> Result<()> {
    let outcome = Home::empty()?.gatewayd("support-bundle", &[]).await?;
    ensure!(outcome.code == Some(1) && outcome.stderr.contains("correct --id or --home"), "{outcome:?}");
    Ok(())
}
