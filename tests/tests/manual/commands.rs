//! Every block of commands is run, or is in a list with the reason why not.
//!
//! The word behind `sh` says how: `run` beside a running gateway, `stopped` on a gateway that does not run, `fresh` where there is none,
//! `starts` for a gateway that is to come up, `watches` for a command that goes on until Ctrl-C, and `elsewhere` for what this test cannot run.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use harness::{
    deadline::{self, bounded},
    gateway::IPV4,
    home::{Home, ID, Outcome, program},
    scene::Scene,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use super::pages::{Block, Page, of_operators, root};

/// What stands in the manual, and what the test has in its place.
const PLACEHOLDERS: [(&str, &str); 3] =
    [("supergateway", ID), ("194.195.246.82", "127.0.0.1"), ("$(curl ifconfig.me)", "127.0.0.1")];
/// The client in the manual. The test puts one in its place that is registered.
const CLIENT: &str = "Gj7jCwwZmPiMbgxAvJZ3CPfscKmCr3v9xvrEsBgGaNMM";

/// Commands that end with another code than 0 here, and why.
const OTHER_CODES: [(&str, i32, &str); 1] =
    [("gatewayd node-check", 1, "a gateway on loopback is not one that the Internet can reach")];

/// A command that is not run here.
struct Elsewhere {
    /// How it begins.
    begin: &'static str,
    /// Why not.
    reason: &'static str,
    /// The script of the project that runs it in a machine of its own, and what stands there.
    run_by: Option<(&'static str, &'static str)>,
}

const fn never(begin: &'static str, reason: &'static str) -> Elsewhere {
    Elsewhere { begin, reason, run_by: None }
}

/// A command that would change the machine, and that a script runs in one of its own.
const fn by(begin: &'static str, script: &'static str, words: &'static str) -> Elsewhere {
    Elsewhere { begin, reason: "it changes the machine", run_by: Some((script, words)) }
}

const UNITS: &str = "dev/units";
const MACHINE: &str = "dev/machine";

/// The commands that are not run here. The first entry that fits counts.
const ELSEWHERE: [Elsewhere; 23] = [
    by("gatewayd upgrade-binary", UNITS, "gatewayd upgrade-binary"),
    never("cargo build", "this test runs what it builds"),
    never("make ", "this test is part of it"),
    by("sudo apt install ./target/dist", "dev/deb-lived", "package --install"),
    by("sudo apt install ufw", "dev/setup", "packages+=(ufw)"),
    by("podman load", "dev/image-lived", "container load --quiet --input target/dist/gatewayd-image.tar"),
    by("podman run", "dev/image-lived", "container run --read-only --cap-drop all --security-opt no-new-privileges"),
    by("sudo ufw allow", UNITS, "inside ufw allow 1789,22,9000/tcp"),
    by("sudo ufw enable", UNITS, "inside ufw enable"),
    by("sudo ufw status", UNITS, "inside ufw status"),
    by("sudo systemctl edit", UNITS, "systemctl edit $unit.socket"),
    by("sudo install -m 0755 target/", MACHINE, "/usr/local/bin\" \"$repository\"/target/debug/{gatewayd,nym-gateway}"),
    by(
        "sudo install -m 0755 -D -t /usr/local/libexec",
        MACHINE,
        "{mix-ingress,mix-egress,client-edge,store,http-api,validator-query,node-check,signer}",
    ),
    by("sudo install -m 0644 systemd/gatewayd@.service", UNITS, "/root/systemd/gatewayd@.service"),
    by("sudo install -m 0644 systemd/gatewayd-user@.service", UNITS, "/root/systemd/gatewayd-user@.service"),
    by("sudo install -m 0644 systemd/gatewayd@.socket", UNITS, "/root/systemd/gatewayd@.socket"),
    by(
        "sudo install -m 0644 -D -t /etc/sysusers.d",
        UNITS,
        "-D -t /etc/sysusers.d /root/systemd/sysusers.d/gatewayd.conf",
    ),
    by(
        "sudo install -m 0644 -D -t /etc/tmpfiles.d",
        UNITS,
        "-D -t /etc/tmpfiles.d /root/systemd/tmpfiles.d/gatewayd.conf",
    ),
    by("sudo systemd-sysusers", UNITS, "systemd-sysusers gatewayd.conf"),
    by("sudo systemd-tmpfiles", UNITS, "systemd-tmpfiles --create gatewayd.conf"),
    by("sudo systemctl", UNITS, "inside systemctl "),
    by("sudo -u gatewayd gatewayd init", UNITS, "as gatewayd gatewayd init --home /var/lib/gatewayd"),
    by("sudo chown", UNITS, "inside chown -R gatewayd:gatewayd /var/lib/gatewayd/moved"),
];

/// The lines of a block, with those joined that end with a backslash.
fn commands(block: &Block) -> Vec<String> {
    let joined = block.text.replace("\\\n", " ");
    let lines = joined.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// Where commands of one page are run.
struct Place<'a> {
    folder: &'a Path,
    home: &'a Path,
    client: String,
}

impl Place<'_> {
    fn shell(&self, block: &str) -> Result<Command> {
        let mut text = block.replace(CLIENT, &self.client);
        for (placeholder, ours) in PLACEHOLDERS {
            text = text.replace(placeholder, ours);
        }
        let programs = program("gatewayd")?;
        let programs = programs.parent().context("a program in no folder")?;
        let path = std::env::join_paths([programs, Path::new("/usr/bin"), Path::new("/bin")])?;
        let mut shell = Command::new("bash");
        shell.env_clear().env("PATH", path).env("GATEWAYD_HOME", self.home).env("HOME", self.folder);
        shell.args(["-euo", "pipefail", "-c", &text]).current_dir(self.folder).stdin(Stdio::null()).kill_on_drop(true);
        Ok(shell)
    }

    /// Runs each command of a block, which ends by itself.
    async fn run(&self, block: &Block) -> Result<()> {
        for command in commands(block) {
            let output = deadline::soon(&command, self.shell(&command)?.output()).await??;
            let expected =
                OTHER_CODES.iter().find(|(begin, ..)| command.starts_with(begin)).map_or(0, |(_, code, _)| *code);
            let outcome = Outcome {
                code: output.status.code(),
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            };
            ensure!(outcome.code == Some(expected), "{command}: {outcome:?}");
        }
        Ok(())
    }

    /// Starts the command of a block, waits for a line with `words`, and ends it as Ctrl-C does.
    async fn run_until(&self, block: &Block, words: &str) -> Result<()> {
        let [command] = <[String; 1]>::try_from(commands(block)).ok().context("not one command")?;
        let mut child = self.shell(&format!("exec {command} 2>&1"))?.stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let mut said = Vec::new();
        let waiting = async {
            while let Some(line) = lines.next_line().await? {
                said.push(line.clone());
                if line.contains(words) {
                    return Ok(true);
                }
            }
            Ok::<_, std::io::Error>(false)
        };
        ensure!(deadline::soon(words, waiting).await??, "{command} ended: {said:?}");
        kill(Pid::from_raw(child.id().context("it has ended")?.cast_signed()), Signal::SIGINT)?;
        // The rest is read, so that the end does not wait for it.
        while lines.next_line().await?.is_some() {}
        let status = deadline::soon("the end after Ctrl-C", child.wait()).await??;
        ensure!(status.code().is_none_or(|code| code == 0), "{command}: {status}");
        Ok(())
    }
}

/// Runs the blocks of a page in their order.
async fn follow(page: &Page) -> Result<()> {
    let folder = TempDir::new()?;
    let mut running: Option<Scene> = None;
    for block in page.blocks()? {
        let Some(how) = block.kind.strip_prefix("sh") else { continue };
        let how = how.trim();
        let place = |home| Place { folder: folder.path(), home, client: CLIENT.to_owned() };
        let done = match how {
            "run" | "watches" => {
                let scene = match &mut running {
                    Some(scene) => scene,
                    none => none.insert(Scene::start().await?),
                };
                let account = scene.client().await?.leave().await?;
                let client = account.address().to_string();
                let place = Place { client, ..place(scene.gateway.home.root()) };
                if how == "run" { place.run(&block).await } else { place.run_until(&block, "clients").await }
            }
            "stopped" => place(Home::init(IPV4).await?.root()).run(&block).await,
            "starts" => {
                let home = Home::init(IPV4).await?;
                place(home.root()).run_until(&block, "Finished nym gateway startup procedure").await
            }
            "fresh" => place(Home::empty()?.root()).run(&block).await,
            "elsewhere" => Ok(()),
            other => bail!("{}:{}: nobody knows how to test `sh {other}`", page.name, block.line),
        };
        done.with_context(|| format!("{}:{}", page.name, block.line))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_manual_do_what_it_says() -> Result<()> {
    bounded(async {
        for page in of_operators()? {
            follow(&page).await?;
        }
        Ok(())
    })
    .await
}

#[test]
fn every_command_that_is_not_run_has_a_reason() -> Result<()> {
    let mut used = [false; ELSEWHERE.len()];
    for page in of_operators()? {
        for block in page.blocks()? {
            // A language that this test does not know could hide commands.
            let language = block.kind.split(' ').next().unwrap_or_default();
            let is_known = ["sh", "toml", "ini", "text", "nginx"].contains(&language);
            ensure!(is_known, "{}:{}: a block of `{}`", page.name, block.line, block.kind);
            if block.kind != "sh elsewhere" {
                continue;
            }
            for command in commands(&block) {
                let entry = ELSEWHERE.iter().position(|entry| command.starts_with(entry.begin));
                let entry =
                    entry.with_context(|| format!("{}:{}: why is this not run? {command}", page.name, block.line))?;
                used[entry] = true;
            }
        }
    }
    for (Elsewhere { begin, reason, run_by }, used) in ELSEWHERE.iter().zip(used) {
        ensure!(used, "no page has a command `{begin}`, which is not run because {reason}");
        if let Some((script, words)) = run_by {
            ensure!(
                fs::read_to_string(root()?.join(script))?.contains(words),
                "{script} does not run `{begin}`: {words}"
            );
        }
    }
    Ok(())
}
