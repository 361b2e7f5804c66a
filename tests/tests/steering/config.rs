//! `gatewayd config show` and `gatewayd config diff`.

use std::fs;

use anyhow::{Context, Result, ensure};
use harness::{
    audit::part,
    deadline::bounded,
    gateway::{Gateway, IPV4},
    home::Home,
};
use serde_json::Value;

use super::told;

fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).with_context(|| format!("no JSON: {text}"))
}

/// The value and the origin of a setting.
fn shown(config: &Value, section: &str, key: &str) -> Result<(String, String)> {
    let settings = part(config, "settings").as_array().context("no settings")?;
    let is_it = |setting: &&Value| part(setting, "section") == section && part(setting, "key") == key;
    let found = settings.iter().find(is_it).with_context(|| format!("[{section}] {key} is not shown"))?;
    let text = |name| part(found, name).as_str().unwrap_or_default().to_owned();
    Ok((text("value"), text("origin")))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_force_is_shown_with_where_it_comes_from() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start_in(Home::init(IPV4).await?, &["--moniker", "by a flag"]).await?;
        let home = &gateway.home;
        let config = json(&told(home, "config show", &["--json"]).await?.stdout)?;
        ensure!(part(&config, "file") == home.config_file().to_string_lossy().as_ref(), "{config:#}");
        for (section, key, value, origin) in [
            ("limits", "newcomer_share", "1", "file"),
            ("node", "moniker", "\"by a flag\"", "flag"),
            ("debug", "initial_connection_timeout", "\"1s 500ms\"", "default"),
            ("environment", "RUST_LOG", "\"info\"", "default"),
        ] {
            let found = shown(&config, section, key)?;
            ensure!(found == (value.to_owned(), origin.to_owned()), "[{section}] {key}: {found:?}");
        }
        for name in ["private_identity.pem", "private_sphinx.pem"] {
            let key = fs::read_to_string(home.data().join(name))?;
            let secret = key.lines().nth(1).context("no key")?;
            ensure!(!config.to_string().contains(secret), "{name} is shown");
        }
        let text = told(home, "config show", &[]).await?.stdout;
        ensure!(text.contains("\n[limits]\n") && text.contains("newcomer_share = 1  # file\n"), "{text}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_says_otherwise_is_named() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let home = &gateway.home;
        let same = told(home, "config diff", &[]).await?.stdout;
        ensure!(same.starts_with("What is in force is what ") && same.contains("config.toml says"), "{same}");
        home.set_config("limits", "max_client_connections", "123")?;
        // Another spelling of the default.
        home.set_config("replay", "period", "'24h'")?;
        let said = told(home, "config diff", &[]).await?.stdout;
        let first = said.lines().next().unwrap_or_default();
        ensure!(first == "[limits] max_client_connections: 20000 in force; 123 in the file", "{said}");
        ensure!(said.lines().count() == 2, "{said}");
        let listed = json(&told(home, "config diff", &["--json"]).await?.stdout)?;
        ensure!(listed.as_array().is_some_and(|listed| listed.len() == 1), "{listed:#}");

        home.set_config("gateway", "validator_rest_urls", "['http://127.0.0.1:1']")?;
        home.set_config("sandbox", "first_account", "70000")?;
        let said = told(home, "config diff", &[]).await?.stdout;
        for words in ["in the file, from the next start on", "70000 in the file; only a restart changes it"] {
            ensure!(said.contains(words), "{words}: {said}");
        }
        let listed = told(home, "config diff", &["--json"]).await?.stdout;
        for words in ["\"by-reload\"", "\"at-next-start\"", "\"by-start-only\""] {
            ensure!(listed.contains(words), "{words}: {listed}");
        }

        home.set_config("limits", "max_client_connections", "'many'")?;
        let wrong = home.gatewayd("config diff", &[]).await?;
        ensure!(wrong.code == Some(78) && wrong.stderr.contains("max_client_connections"), "{wrong:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reload_refuses_diff_and_check_refuse_too() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start().await?;
        let home = &gateway.home;
        let good = fs::read_to_string(home.config_file())?;
        let refused = async |words: &str, code_of_check: i32| -> Result<String> {
            for (command, code) in [("reload", 78), ("config diff", 78), ("check", code_of_check)] {
                let outcome = home.gatewayd(command, &[]).await?;
                let said = format!("{}{}", outcome.stdout, outcome.stderr);
                ensure!(outcome.code == Some(code) && said.contains(words), "{command}: {words}: {outcome:?}");
            }
            Ok(home.gatewayd("config diff", &[]).await?.stdout)
        };
        home.set_config("gateway", "version", "'0.9.0'")?;
        let said = refused("run `gatewayd upgrade", 78).await?;
        ensure!(said.starts_with("[gateway] version: \"0.10.1\" in force; ") && said.lines().count() == 1, "{said}");

        fs::write(home.config_file(), "")?;
        refused("so that the address to listen on is not known", 78).await?;

        fs::write(home.config_file(), &good)?;
        home.set_config("metrics", "listen", &format!("'{}'", gateway.clients))?;
        home.set_config("clients_endpoint", "listening_address", &format!("'{}'", gateway.clients))?;
        refused("are both", 78).await?;

        fs::write(home.config_file(), &good)?;
        home.set_config("gateway", "public_sphinx_key_file", "'nowhere.pem'")?;
        refused("nowhere.pem", 78).await?;

        fs::write(home.config_file(), &good)?;
        home.set_config("replay", "memory", "'900 GiB'")?;
        refused("and the machine has", 1).await?;

        fs::write(home.config_file(), &good)?;
        // Only a privileged supervisor minds who owns the file.
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(home.config_file(), Some(54_321), None)?;
            refused("54321", 78).await?;
        }
        Ok(())
    })
    .await
}
