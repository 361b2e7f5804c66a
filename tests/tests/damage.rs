//! Records of the databases that are not what they should be: one is set aside or refused, and everything else goes on.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use proto::wire::packet::PacketSize;
use tests::{
    client::{Account, Client, Era, Identity},
    deadline::bounded,
    packet::expect_in_order,
    scene::Scene,
};

async fn registered(scene: &Scene, era: Era) -> Result<Account> {
    let (clients, gateway) = (scene.gateway.clients, &scene.gateway.identity);
    Client::register_in(era, &Identity::random(), clients, gateway).await?.leave().await
}

/// The place of a message in the inboxes database.
fn place(account: &Account, sequence: u64) -> Vec<u8> {
    [account.address().as_bytes().as_slice(), &sequence.to_be_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_record_is_set_aside_and_the_rest_served_in_order() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        for era in [Era::Of2021, Era::TODAY] {
            let account = registered(&scene, era).await?;
            let mut sent = scene.send_many(account.address(), 300).await?;
            scene.mixnode.wait_for_acks(&sent).await?;
            scene.gateway.stop(Signal::SIGTERM).await?;
            let inboxes = scene.gateway.home.inboxes()?;
            // The first, one in the middle, and the last: empty, of an unknown version, cut off.
            for (sequence, value) in [(0, &[][..]), (150, &[9; 1_700]), (299, &[1, 0, 0])] {
                inboxes.insert(place(&account, sequence), value)?.context("there was no record")?;
            }
            drop(inboxes);
            for number in [299, 150, 0] {
                sent.remove(number);
            }
            scene.start_again().await?;
            let mut client = Client::log_in(&account, scene.gateway.clients).await?;
            let messages = client.next_messages(sent.len()).await?;
            expect_in_order(&messages, &sent)?;
            let next = scene.send(account.address(), PacketSize::Regular).await?;
            ensure!(client.next_message().await? == next.message);
            client.leave().await?;
            scene.gateway.stop(Signal::SIGTERM).await?;

            let told: Vec<_> =
                scene.gateway.log().lines().into_iter().filter(|line| line.contains("set aside")).collect();
            ensure!(told.iter().all(|line| line.contains(&account.address().to_string())), "{told:?}");
            let inboxes = scene.gateway.home.inboxes()?;
            let set_aside = inboxes.open_tree("set_aside")?;
            ensure!(set_aside.get(place(&account, 150))?.is_some_and(|value| *value == [9; 1_700]));
            ensure!(set_aside.scan_prefix(account.address().as_bytes()).count() == 3);
            for sequence in [0, 150, 299] {
                ensure!(inboxes.get(place(&account, sequence))?.is_none(), "record {sequence} is still in the inbox");
            }
            drop((inboxes, set_aside));
            scene.start_again().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_ledger_entry_stops_one_client_until_it_registers_again() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut torn = Vec::new();
        for era in [Era::Of2021, Era::Version(3), Era::TODAY] {
            torn.push(registered(&scene, era).await?);
        }
        let unhurt = registered(&scene, Era::TODAY).await?;
        let mut mail = Vec::new();
        for account in torn.iter().chain([&unhurt]) {
            let sent = scene.send_many(account.address(), 3).await?;
            scene.mixnode.wait_for_acks(&sent).await?;
            mail.push(sent);
        }
        scene.gateway.stop(Signal::SIGTERM).await?;
        let ledger = scene.gateway.home.ledger()?;
        let clients = ledger.open_tree("clients")?;
        for account in &torn {
            let tree = if account.era == Era::Of2021 { &*ledger } else { &clients };
            let address = account.address();
            let entry = tree.get(address.as_bytes())?.context("no entry")?;
            tree.insert(address.as_bytes(), entry.get(..20).context("a short entry")?)?;
        }
        drop((ledger, clients));
        scene.start_again().await?;

        for account in &torn {
            let mut connection = scene.connection().await?;
            connection.send_text(account.login_text()).await?;
            let answer = connection.next_text().await?;
            ensure!(answer.contains("register again"), "{account:?} was answered {answer}");
            let refused = scene.send(account.address(), PacketSize::Regular).await?;
            let kept = scene.send_many(unhurt.address(), 1).await?;
            scene.mixnode.wait_for_acks(&kept).await?;
            ensure!(!scene.mixnode.has_ack(&refused), "mail for nobody was acknowledged");
            mail.last_mut().context("no mail")?.extend(kept);
        }
        let mut client = Client::log_in(&unhurt, scene.gateway.clients).await?;
        let sent = mail.last().context("no mail")?;
        expect_in_order(&client.next_messages(sent.len()).await?, sent)?;

        for (account, sent) in torn.iter().zip(&mail) {
            let (clients, gateway) = (scene.gateway.clients, &scene.gateway.identity);
            let mut client = Client::register_in(account.era, &account.identity, clients, gateway).await?;
            expect_in_order(&client.next_messages(sent.len()).await?, sent)?;
            let next = scene.send(account.address(), PacketSize::Regular).await?;
            ensure!(client.next_message().await? == next.message);
        }
        let told = scene.gateway.log().lines().into_iter().filter(|line| line.contains("a client cannot be served"));
        ensure!(told.count() == torn.len(), "each is named once");
        Ok(())
    })
    .await
}
