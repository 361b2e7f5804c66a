//! Tells the program how it was built. Nothing here differs between two builds of one commit with one compiler.

use std::{env, process::Command};

fn main() {
    println!("cargo::rerun-if-env-changed=GATEWAYD_COMMIT");
    println!("cargo::rerun-if-env-changed=GATEWAYD_COMMIT_TIME");
    let git = |arguments: &[&str]| output("git", arguments);
    // A source archive has no history: its packager may name the commit and its time in the environment.
    let named = env::var("GATEWAYD_COMMIT").ok();
    let time = match &named {
        Some(_) => env::var("GATEWAYD_COMMIT_TIME").ok(),
        None => git(&["show", "--no-patch", "--format=%cI", "HEAD"]),
    };
    let commit = named.or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    // Written with every commit.
    if let Some(log) = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    // `rustc 1.95.0 (59807616e 2026-04-14)`
    let rustc = env::var("RUSTC").ok().and_then(|rustc| output(&rustc, &["--version"]));
    let rustc = rustc.as_deref().and_then(|version| version.split(' ').nth(1)).map(str::to_owned);
    let channel = rustc.as_deref().map(channel_of).map(str::to_owned);
    for (name, value) in [
        ("COMMIT", commit),
        ("COMMIT_TIME", time),
        ("RUSTC", rustc),
        ("CHANNEL", channel),
        ("PROFILE", env::var("PROFILE").ok()),
        ("TARGET", env::var("TARGET").ok()),
    ] {
        println!("cargo::rustc-env=HTTP_API_{name}={}", value.as_deref().unwrap_or("unknown"));
    }
}

fn channel_of(version: &str) -> &'static str {
    match version {
        version if version.contains("-nightly") => "nightly",
        version if version.contains("-beta") => "beta",
        _ => "stable",
    }
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
