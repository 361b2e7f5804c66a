//! `gatewayd client`: what an operator is told about clients, and how one is removed.

use anyhow::{Context, Result, ensure};
use harness::{
    client::{Account, Client, Era, Identity},
    deadline::bounded,
    gateway::IPV4,
    home::{Home, Outcome},
    scene::Scene,
};
use serde_json::Value;
use wire::packet::PacketSize;

async fn register(scene: &Scene, era: Era) -> Result<Client<Account>> {
    Client::register_in(era, &Identity::random(), scene.gateway.clients, &scene.gateway.identity).await
}

async fn ask(scene: &Scene, command: &str, arguments: &[&str]) -> Result<Outcome> {
    scene.gateway.home.gatewayd(&format!("client {command}"), arguments).await
}

async fn ask_json(scene: &Scene, command: &str, arguments: &[&str]) -> Result<Value> {
    let outcome = ask(scene, command, &[arguments, &["--json"]].concat()).await?;
    ensure!(outcome.code == Some(0), "{outcome:?}");
    Ok(serde_json::from_str(&outcome.stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_counted_and_shown_and_one_is_forgotten() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let mut accounts = Vec::new();
        for era in [Era::Of2021, Era::Version(3), Era::TODAY] {
            accounts.push(register(&scene, era).await?.leave().await?);
        }
        let count = ask_json(&scene, "count", &[]).await?;
        ensure!(count == serde_json::json!({ "clients": 3, "of_2021": 1, "token": 1, "signed": 1 }), "{count}");
        let [_, _, today] = accounts.as_slice() else { anyhow::bail!("not three accounts") };
        let stored = scene.send_many(today.address(), 5).await?;
        scene.mixnode.wait_for_acks(&stored).await?;
        let address = today.address().to_string();
        let shown = ask_json(&scene, "show", &[&address]).await?;
        ensure!(shown["kind"] == "signed" && shown["mail"]["messages"] == 5 && shown["connected"] == false, "{shown}");
        let seen = shown["last_seen"].as_str().context("no day")?;
        ensure!(seen.len() == 10, "{seen} is more than a day");
        let text = ask(&scene, "show", &[&address]).await?;
        ensure!(text.stdout.contains("5 messages") && text.stdout.contains("Last seen:"), "{text:?}");

        // It is connected, and its session ends.
        let mut client = Client::log_in(today, scene.gateway.clients).await?;
        client.next_messages(5).await?;
        ensure!(ask_json(&scene, "show", &[&address]).await?["connected"] == true);
        let outcome = ask(&scene, "forget", &[&address]).await?;
        ensure!(outcome.code == Some(0) && outcome.stdout.contains("forgotten"), "{outcome:?}");
        ensure!(client.next_message_or_end().await?.is_none(), "its session goes on");
        ensure!(Client::log_in(today, scene.gateway.clients).await.is_err(), "it can still log in");
        let again = ask(&scene, "forget", &[&address]).await?;
        ensure!(again.code == Some(1) && again.stderr.contains("no client of address"), "{again:?}");
        ensure!(ask_json(&scene, "count", &[]).await?["clients"] == 2);

        // The order is logged, and names nobody.
        let lines = scene.gateway.log().lines();
        ensure!(lines.iter().any(|line| line.contains("forgotten by order of the operator")));
        ensure!(!lines.iter().any(|line| line.contains(&address)), "the log names the client");

        // It can come back as a new one.
        let mut client =
            Client::register_in(Era::TODAY, &today.identity, scene.gateway.clients, &scene.gateway.identity).await?;
        let first = scene.send(client.address(), PacketSize::Regular).await?;
        ensure!(client.next_message().await? == first.message, "old mail came");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_about_clients_hold_no_mail_up() -> Result<()> {
    bounded(async {
        let mut scene = Scene::start().await?;
        let account = register(&scene, Era::TODAY).await?.leave().await?;
        let address = account.address().to_string();
        let one = [address.as_str()];
        let questions = (0..40).map(|number| {
            let (command, arguments): (_, &[&str]) =
                if number % 2 == 0 { ("client count", &[]) } else { ("client show", &one) };
            scene.gateway.home.gatewayd(command, arguments)
        });
        let questions = futures_util::future::join_all(questions);
        let packets = scene.packets().make_many(account.address(), 200)?;
        let mail = async {
            scene.sender.send_all(&packets).await?;
            scene.mixnode.wait_for_acks(&packets).await
        };
        let (outcomes, mail) = tokio::join!(questions, mail);
        mail?;
        let mut answered = 0;
        for outcome in outcomes {
            let outcome = outcome?;
            // Whoever comes while too many ask is told so.
            let is_told = outcome.stderr.contains("try again");
            ensure!(outcome.code == Some(0) || is_told, "{outcome:?}");
            answered += usize::from(outcome.code == Some(0));
        }
        ensure!(answered > 0, "nobody got an answer");
        ensure!(ask(&scene, "count", &[]).await?.code == Some(0));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_client_command_says_what_is_wrong() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        for address in ["", "abc", "0OIl", "1thX6LZfHDZZKUs92febYZhYRcXddmzfzF2NvTkPNEaa"] {
            let outcome = home.gatewayd("client show", &[address]).await?;
            ensure!(outcome.code == Some(2), "{outcome:?}");
            ensure!(outcome.stderr.contains("base58 form of 32 bytes"), "{outcome:?}");
        }
        let outcome = home.gatewayd("client count", &[]).await?;
        ensure!(outcome.code == Some(69) && outcome.stderr.contains("gatewayd run --id"), "{outcome:?}");
        Ok(())
    })
    .await
}
