//! The commands that are named in the text exist, and have the flags that the text gives them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use harness::home::program;
use tokio::process::Command;

use super::pages::of_operators;

/// The help of a command, if there is such a command.
async fn help(command: &str) -> Result<Option<String>> {
    let output = Command::new(program("gatewayd")?).args(command.split_whitespace()).arg("--help").output().await?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// The words of a command before its first flag or value, at most two: `client show`.
fn words(span: &str) -> String {
    let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
    span.split(' ').skip(1).take_while(is_word).take(2).collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_that_are_named_have_their_flags() -> Result<()> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for page in of_operators()? {
        for span in page.spans() {
            let Some(at) = span.find("gatewayd ").filter(|at| *at == 0 || span.starts_with("sudo ")) else { continue };
            let span = span.get(at..).context("a span")?;
            let command = words(span);
            if !known.contains_key(&command) {
                let help = help(&command)
                    .await?
                    .with_context(|| format!("{}: there is no such command: `{span}`", page.name))?;
                known.insert(command.clone(), help);
            }
            let help = known.get(&command).context("its help")?;
            for flag in span.split([' ', '=']).filter(|word| word.starts_with("--")) {
                let is_there = help.split([' ', '\n', '[', '=', ',', ']']).any(|word| word == flag);
                ensure!(is_there, "{}: `{span}`: `gatewayd {command}` has no {flag}", page.name);
            }
        }
    }
    ensure!(known.len() > 10, "only {} commands were found", known.len());
    Ok(())
}
