//! Records of the databases that are not what they should be: one is set aside or refused, and everything else goes on.

use std::fs;

use anyhow::{Context, Result, ensure};
use harness::{
    client::{Account, Client, Era, Identity},
    counters::counted,
    deadline::bounded,
    log::field,
    packet::expect_in_order,
    scene::Scene,
};
use nix::sys::signal::Signal;
use wire::packet::PacketSize;

async fn registered(scene: &Scene, era: Era) -> Result<Account> {
    let (clients, gateway) = (scene.gateway.clients, &scene.gateway.identity);
    Client::register_in(era, &Identity::random(), clients, gateway).await?.leave().await
}

/// Spoils one byte of a stored message, wherever it is.
fn spoil(scene: &Scene, message: &[u8]) -> Result<()> {
    let mut spoiled = 0;
    for file in scene.gateway.home.mail_segments()? {
        let mut bytes = fs::read(&file)?;
        let places: Vec<_> =
            bytes.windows(message.len()).enumerate().filter(|(_, part)| part == &message).map(|(at, _)| at).collect();
        for at in places {
            *bytes.get_mut(at + message.len() / 2).context("no byte")? ^= 1;
            spoiled += 1;
        }
        fs::write(&file, bytes)?;
    }
    ensure!(spoiled > 0, "the message was not found");
    Ok(())
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
            for number in [0, 150, 299] {
                spoil(&scene, &sent.get(number).context("not so many")?.message)?;
            }
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
            // Two that are set aside by one commit are told in one line. No other record is told or counted, and none twice.
            let records = told.iter().map(|line| Ok(field(line, "records").context("no number")?.parse::<u64>()?));
            let records = records.sum::<Result<u64>>()?;
            let counted = counted(&scene.gateway.log().lines(), "store", "set_aside");
            ensure!((records, counted) == (3, 3), "{records} records were told and {counted} counted: {told:?}");
            let mail = fs::read_dir(scene.gateway.home.data().join("inboxes/mail"))?;
            let names =
                mail.map(|file| Ok(file?.file_name().to_string_lossy().into_owned())).collect::<Result<Vec<_>>>()?;
            let own = format!("{}-", account.address());
            let kept = names.iter().filter(|name| name.starts_with(&own) && name.ends_with(".aside")).count();
            ensure!(kept == 3, "what was damaged is not kept: {names:?}");
            scene.start_again().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_ledger_entry_stops_one_client_until_registration() -> Result<()> {
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
