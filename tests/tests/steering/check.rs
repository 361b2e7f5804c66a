//! `gatewayd check` and `gatewayd run --dry-run`.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, chown},
};

use anyhow::{Context, Result, ensure};
use harness::{
    audit::part,
    deadline::bounded,
    gateway::{Gateway, IPV4},
    home::{Home, Outcome},
    inventory::inventory,
};
use serde_json::Value;

use super::told;

/// What is wrong, each with its remedy.
fn wrong(outcome: &Outcome) -> Result<Vec<(String, String)>> {
    let findings: Value = serde_json::from_str(&outcome.stdout).with_context(|| format!("no JSON: {outcome:?}"))?;
    let mut wrong = Vec::new();
    for group in ["configuration", "machine"] {
        for line in part(&findings, group).as_array().context("no findings")? {
            let text = |name| part(line, name).as_str().unwrap_or_default().to_owned();
            ensure!(text("verdict") == "good" || !text("remedy").is_empty(), "no remedy: {line}");
            if text("verdict") == "bad" {
                wrong.push((text("what"), text("remedy")));
            }
        }
    }
    Ok(wrong)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_gateway_is_fit_and_a_check_changes_nothing() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        let before = inventory(home.root())?;
        let said = told(&home, "check", &[]).await?.stdout;
        for words in
            ["config.toml can be used", "the keys are there, and belong together", "ports are free", "MiB free"]
        {
            ensure!(said.contains(words), "{words} is missing in {said}");
        }
        ensure!(inventory(home.root())? == before, "a check has changed something");
        let said = told(&home, "run", &["--dry-run"]).await?.stdout;
        ensure!(said.contains("the ports, the keys and the data can be opened"), "{said}");
        ensure!(said.contains("the jail of store is complete"), "{said}");
        ensure!(inventory(home.root())? == before, "a dry run has changed something");

        // Everything is free again.
        let gateway = Gateway::start_in(home, &[]).await?;
        let said = told(&gateway.home, "check", &[]).await?.stdout;
        ensure!(said.contains("the gateway is running"), "{said}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_wrong_is_named_at_once_with_a_remedy() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        let taken = TcpListener::bind("127.0.0.1:0")?;
        home.set_config("mixnet_endpoint", "listening_address", &format!("'{}'", taken.local_addr()?))?;
        let outcome = home.gatewayd("check", &["--json"]).await?;
        ensure!(outcome.code == Some(1), "{outcome:?}");
        let found = wrong(&outcome)?;
        ensure!(found.len() == 1 && found.iter().all(|(what, _)| what.contains("is in use")), "{found:?}");

        fs::remove_file(home.data().join("private_sphinx.pem"))?;
        let not_a_folder = home.path().join("config/config.toml/inboxes");
        home.set_config("clients_endpoint", "inboxes_directory", &format!("'{}'", not_a_folder.display()))?;
        let outcome = home.gatewayd("check", &["--json"]).await?;
        ensure!(outcome.code == Some(78), "{outcome:?}");
        let found = wrong(&outcome)?;
        for words in ["is in use", "private_sphinx.pem", "inboxes_directory"] {
            ensure!(found.iter().any(|(what, _)| what.contains(words)), "{words} is missing in {found:?}");
        }
        let dry = home.gatewayd("run", &["--dry-run"]).await?;
        ensure!(dry.code == Some(78) && dry.stdout.contains("WRONG"), "{dry:?}");

        home.set_config("limits", "inbox_messages", "0")?;
        home.set_config("timeouts", "keepalive", "'soon'")?;
        let outcome = home.gatewayd("check", &["--json"]).await?;
        ensure!(outcome.code == Some(78) && wrong(&outcome)?.len() == 2, "{outcome:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn check_run_and_reload_say_the_same_of_another_id() -> Result<()> {
    bounded(async {
        const WORDS: &str = "[gateway] id is 'q' in config.toml, and the folder is that of gateway test";
        let home = Home::init(IPV4).await?;
        let good = fs::read_to_string(home.config_file())?;
        home.set_config("gateway", "id", "'q'")?;
        ensure!(told(&home, "check", &[]).await?.stdout.contains(WORDS));
        let gateway = Gateway::start_in(home, &[]).await?;
        gateway.log().wait_for("the warning", |line| line.contains(WORDS).then_some(())).await?;
        fs::write(gateway.home.config_file(), good)?;
        let said = told(&gateway.home, "reload", &[]).await?.stdout;
        ensure!(!said.contains(WORDS) && said.contains("[gateway] id: \"q\" -> \"test\""), "{said}");
        gateway.home.set_config("gateway", "id", "'q'")?;
        let said = told(&gateway.home, "reload", &["--dry-run"]).await?.stdout;
        ensure!(said.contains(WORDS), "{said}");
        ensure!(told(&gateway.home, "check", &[]).await?.stdout.contains(WORDS));
        Ok(())
    })
    .await
}

/// What a start would fail with is found while the gateway still runs with something else.
#[tokio::test(flavor = "multi_thread")]
async fn places_edited_beside_a_running_gateway_are_tried() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let home = &gateway.home;
        let good = fs::read_to_string(home.config_file())?;
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let taken = format!("'{}'", taken.local_addr()?);
        let not_a_folder = format!("'{}'", home.config_file().join("ledger").display());
        for (section, key, value, words) in [
            ("mixnet_endpoint", "listening_address", &*taken, "is in use by another process"),
            ("mixnet_endpoint", "listening_address", "'192.0.2.1:33789'", "no address 192.0.2.1"),
            ("metrics", "listen", "'/nonexist/m.sock'", "/nonexist/m.sock"),
            ("metrics", "listen", &*taken, "is in use by another process"),
            ("clients_endpoint", "ledger_path", &*not_a_folder, "ledger_path"),
        ] {
            home.set_config(section, key, value)?;
            let outcome = home.gatewayd("check", &["--json"]).await?;
            ensure!(outcome.code == Some(1), "{key} = {value}: {outcome:?}");
            let found = wrong(&outcome)?;
            ensure!(found.len() == 1 && found.iter().all(|(what, _)| what.contains(words)), "{words}: {found:?}");
            ensure!(outcome.stdout.contains("the gateway is running"), "{outcome:?}");
            fs::write(home.config_file(), &good)?;
        }
        told(home, "check", &[]).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_missing_program_and_a_key_for_others_are_found() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?.with_own_programs()?;
        let key = home.data().join("private_identity.pem");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
        let outcome = home.gatewayd("check", &["--json"]).await?;
        ensure!(outcome.code == Some(0), "{outcome:?}");
        let findings: Value = serde_json::from_str(&outcome.stdout)?;
        let lines = part(&findings, "configuration").as_array().context("no findings")?;
        let of_key =
            lines.iter().find(|line| line.to_string().contains("other users may read")).context("not found")?;
        ensure!(part(of_key, "verdict") == "doubtful" && of_key.to_string().contains("chmod 600"), "{of_key}");

        fs::remove_file(home.root().join("bin/store"))?;
        fs::set_permissions(home.root().join("bin/mix-egress"), fs::Permissions::from_mode(0o644))?;
        let outcome = home.gatewayd("check", &["--json"]).await?;
        ensure!(outcome.code == Some(1), "{outcome:?}");
        let found = wrong(&outcome)?;
        ensure!(found.len() == 2, "{found:?}");
        for program in ["`store`", "`mix-egress`"] {
            let is_it = |(what, remedy): &(String, String)| what.contains(program) && remedy.contains("install all");
            ensure!(found.iter().any(is_it), "{program} is missing in {found:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn metrics_at_a_place_of_the_gateway_are_found() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        // Free, and nobody else is given it soon.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        home.set_config("clients_endpoint", "listening_address", &format!("'{address}'"))?;
        let admin = home.path().join("run/admin.sock");
        let places = [
            (format!("'{address}'"), "[clients_endpoint] listening_address and [metrics] listen are both"),
            (format!("'{}'", admin.display()), "[metrics] listen and the admin socket are both"),
        ];
        for (place, words) in places {
            home.set_config("metrics", "listen", &place)?;
            let outcome = home.gatewayd("check", &["--json"]).await?;
            ensure!(outcome.code == Some(78), "{outcome:?}");
            ensure!(wrong(&outcome)?.iter().any(|(what, _)| what.contains(words)), "{words}: {outcome:?}");
            let run = home.gatewayd("run", &[]).await?;
            ensure!(run.code == Some(78) && run.stderr.contains(words), "{words}: {run:?}");
        }
        Ok(())
    })
    .await
}

/// `check`, `run` and `reload` end with 78 and say these words.
async fn ensure_refused_by_all(home: &Home, words: &[&str]) -> Result<()> {
    for command in ["check", "run", "reload"] {
        let refused = home.gatewayd(command, &[]).await?;
        let said = format!("{}{}", refused.stdout, refused.stderr);
        for words in words {
            ensure!(refused.code == Some(78) && said.contains(words), "{command}, {words}: {refused:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_others_may_write_is_refused() -> Result<()> {
    bounded(async {
        if !need::root(142) {
            return Ok(());
        }
        let gateway = Gateway::start().await?;
        let file = gateway.home.path().join("config/config.toml");
        for (mode, group) in [(0o666, 0), (0o664, 70_009)] {
            chown(&file, None, Some(group))?;
            fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
            ensure_refused_by_all(&gateway.home, &[&format!("chmod go-w {}", file.display())]).await?;
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
        told(&gateway.home, "reload", &[]).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_in_the_inboxes_is_refused() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let inboxes = gateway.home.data().join("inboxes");
        for ledger in [inboxes.clone(), inboxes.join("ledger")] {
            gateway.home.set_config("clients_endpoint", "ledger_path", &format!("'{}'", ledger.display()))?;
            let words = ["ledger_path and inboxes_directory are the same folder", "of its own"];
            ensure_refused_by_all(&gateway.home, &words).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_missing_gateway_is_told_about_init() -> Result<()> {
    let home = Home::empty()?;
    let outcome = home.gatewayd("check", &[]).await?;
    ensure!(outcome.code == Some(78) && outcome.stdout.contains("run `init` before"), "{outcome:?}");
    Ok(())
}
