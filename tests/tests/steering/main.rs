//! What an operator tells a running gateway, and what becomes of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

mod check;
mod config;
mod level;
mod newcomers;
mod refused;
mod reload;

use anyhow::{Result, ensure};
use harness::home::{Home, Outcome};

/// Runs a command that has to succeed.
async fn told(home: &Home, command: &str, arguments: &[&str]) -> Result<Outcome> {
    let outcome = home.gatewayd(command, arguments).await?;
    ensure!(outcome.code == Some(0), "{command} {arguments:?}: {outcome:?}");
    Ok(outcome)
}
