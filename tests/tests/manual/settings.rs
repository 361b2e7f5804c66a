//! The settings in the manual are settings.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use harness::{deadline::bounded, gateway::IPV4, home::Home};

use super::pages::{of_operators, root};

/// The configuration with this value, in the place of the one that it has or at the beginning of its section.
fn with_setting(text: &str, section: &str, setting: &str) -> Result<String> {
    let (key, _) = setting.split_once('=').context("no setting")?;
    let (mut in_section, mut found) = (false, false);
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            in_section = line.trim_end() == section;
        }
        if in_section && line.split_once('=').is_some_and(|(name, _)| name.trim() == key.trim()) {
            continue;
        }
        lines.push(line);
        if in_section && line.trim_end() == section {
            found = true;
            lines.push(setting);
        }
    }
    ensure!(found, "there is no section {section}");
    Ok(lines.join("\n") + "\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_the_manual_are_taken() -> Result<()> {
    bounded(async {
        for page in of_operators()? {
            for block in page.blocks()?.iter().filter(|block| block.kind == "toml") {
                let home = Home::init(IPV4).await?;
                let mut section = "";
                for line in block.text.lines().filter(|line| !line.is_empty()) {
                    if line.starts_with('[') {
                        section = line;
                        continue;
                    }
                    let text = fs::read_to_string(home.config_file())?;
                    fs::write(home.config_file(), with_setting(&text, section, line)?)?;
                }
                let outcome = home.gatewayd("check", &[]).await?;
                let is_taken = outcome.code == Some(0) && !outcome.stderr.contains("unknown key");
                ensure!(is_taken, "{}:{}: {outcome:?}", page.name, block.line);
            }
        }
        Ok(())
    })
    .await
}

/// A setting in backticks, such as `memory`, that no file has would send an operator looking for it.
#[test]
fn settings_that_are_named_with_a_value_exist() -> Result<()> {
    let template = fs::read_to_string(root()?.join("gatewayd/src/config/template.toml"))?;
    let keys: Vec<&str> =
        template.lines().filter_map(|line| Some(line.trim_start_matches("# ").split_once(" = ")?.0)).collect();
    for page in of_operators()? {
        for span in page.spans() {
            let Some((key, _)) =
                span.split_once(" = ").filter(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
            else {
                continue;
            };
            ensure!(keys.contains(&key) || key == "id", "{}: there is no setting {key}: {span}", page.name);
        }
    }
    Ok(())
}
