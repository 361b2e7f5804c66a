//! Tells the program which commit it was built from.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=GATEWAYD_COMMIT");
    let commit = std::env::var("GATEWAYD_COMMIT").ok().or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    // Written with every commit.
    if let Some(log) = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    // A source archive has no history: its packager may name the commit in the environment.
    println!("cargo::rustc-env=GATEWAYD_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
