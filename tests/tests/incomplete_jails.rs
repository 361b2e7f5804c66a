//! A jail that is not whole is seen: at each start in the log, in the audit, and where it is required, because nothing starts.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Result, ensure};
use harness::{
    audit::{Start, audit, part},
    deadline::{self, bounded},
    gateway::{Gateway, IPV4, WORKERS},
    home::Home,
    other_jail::{self, Difference},
    validator::Validator,
};
use nix::sys::signal::Signal;

/// Another user than that of [`Start::AsUser`].
const STRANGER: u32 = 54_322;

const INCOMPLETE: &str = "The jail is incomplete";

#[tokio::test(flavor = "multi_thread")]
async fn without_a_jail_each_start_warns_and_the_audit_shows_no_layer() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            let mut home = start.home().await?;
            for _ in 0..2 {
                let mut gateway = Gateway::start_in(home, &["--insecure-no-sandbox"]).await?;
                let lines = gateway.log().lines();
                ensure!(
                    lines.iter().any(|line| line.contains("WARN") && line.contains("WITHOUT their jail")),
                    "{start:?}"
                );
                let ready = |role: &str| {
                    let name = format!("worker={role} ");
                    lines
                        .iter()
                        .any(|line| line.contains("ready") && line.contains(&name) && line.contains("layers=\"none\""))
                };
                ensure!(WORKERS.iter().all(|role| ready(role)), "{start:?}");
                let table = audit(&gateway.home, &["--ability", "start a program"]).await?;
                let processes = part(&table.whole, "processes").as_array().cloned().unwrap_or_default();
                ensure!(processes.len() == WORKERS.len(), "{processes:?}");
                for process in processes {
                    ensure!(part(part(&process, "layers"), "held").as_array().is_some_and(Vec::is_empty), "{process}");
                }
                ensure!(gateway.stop(Signal::SIGTERM).await?.success());
                home = gateway.home;
            }
        }
        Ok(())
    })
    .await
}

/// The warnings about the jails of a gateway that starts without these system calls, and whether each is of one of `layers`.
async fn warned(start: Start, calls: &'static [&'static str], layers: &[&str]) -> Result<()> {
    let gateway = Gateway::start_in(start.home().await?.lacking(calls)?, &[]).await?;
    // It comes behind the line that says that all have started, which was waited for.
    let warning = |line: &str| line.contains(INCOMPLETE).then(|| line.to_owned());
    let line = gateway.log().wait_for(INCOMPLETE, warning).await?;
    ensure!(line.contains("WARN"), "{line}");
    for layer in layers {
        ensure!(line.contains(&format!("{layer} is missing in ")), "started {start:?} without {calls:?}: {line}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_layer_is_named_at_the_start_with_its_remedy() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            let landlock = ["landlock-files", "landlock-ports", "landlock-scopes"];
            warned(start, &["landlock_create_ruleset"], &landlock).await?;
            warned(start, &["unshare"], &["network-namespace"]).await?;
        }
        // Without namespaces a user has no capability to empty the bounding set with.
        warned(Start::AsUser, &["unshare"], &["account", "capabilities", "network-namespace"]).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_the_validators_without_landlock_is_warned_of() -> Result<()> {
    bounded(async {
        let validator = Validator::start().await?;
        for (calls, expected) in [(&[][..], false), (&["landlock_create_ruleset"][..], true)] {
            let home = Home::init(IPV4).await?.lacking(calls)?;
            home.set_config("gateway", "validator_rest_urls", &format!("['{}']", validator.url()))?;
            let gateway = Gateway::start_in(home, &[]).await?;
            let lines = gateway.log().lines();
            let warning = lines.iter().find(|line| line.contains("The jail of validator-query was incomplete"));
            let names = |line: &String| {
                ["landlock-files", "landlock-ports", "landlock-scopes"].iter().all(|layer| line.contains(layer))
            };
            ensure!(warning.is_some_and(names) == expected, "{calls:?}: {warning:?}");
        }
        Ok(())
    })
    .await
}

/// The error names the remedy.
#[tokio::test(flavor = "multi_thread")]
async fn a_required_layer_that_is_missing_stops_the_start() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            for (calls, layer) in
                [(&["unshare"][..], "network-namespace"), (&["landlock_create_ruleset"], "landlock-scopes")]
            {
                let home = start.home().await?.lacking(calls)?;
                home.set_config("sandbox", "require", &format!("['{layer}']"))?;
                let refused = home.gatewayd("run", &[]).await?;
                ensure!(refused.code == Some(1), "{refused:?}");
                let error = refused.stderr.lines().last().unwrap_or_default();
                for part in [&*format!("layer {layer} cannot be had"), "require", "[sandbox]", "config.toml"] {
                    ensure!(error.contains(part), "started {start:?} without {calls:?}: {error}");
                }
            }
        }
        Ok(())
    })
    .await
}

/// Lets everybody in.
fn open_to_all(path: &Path) -> Result<()> {
    let metadata = path.symlink_metadata()?;
    if metadata.is_symlink() {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(metadata.permissions().mode() | 0o777))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            open_to_all(&entry?.path())?;
        }
    }
    Ok(())
}

/// Others are refused although they can reach the socket.
#[tokio::test(flavor = "multi_thread")]
async fn the_admin_socket_hears_only_root_and_its_own_account() -> Result<()> {
    bounded(async {
        // Switches to another user.
        if !need::root(45) {
            return Ok(());
        }
        let gateway = Gateway::start_in(Start::AsUser.home().await?, &[]).await?;
        open_to_all(gateway.home.root())?;
        let ask = ["--json", "--role", "store", "--ability", "start a program"];
        let mut stranger = gateway.home.command("audit", &ask)?;
        let output = deadline::soon("the audit of a stranger", stranger.uid(STRANGER).gid(STRANGER).output()).await??;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(69) && error.contains("answers root and its own account only"),
            "{output:?}"
        );
        let refused = format!("user {STRANGER} is neither root nor the account that runs this gateway");
        gateway.log().wait_for(&refused, |line| line.contains(&refused).then_some(())).await?;
        for friend in [gateway.home.gatewayd("audit", &ask).await?, gateway.home.gatewayd_by_us("audit", &ask).await?] {
            ensure!(friend.code == Some(0), "{friend:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_in_another_jail_than_its_probe_is_a_surprise() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            for (how, surprise) in [
                (Difference::None, None),
                (Difference::Filter, Some("Seccomp_filters is `2`, of the probe `3`")),
                (Difference::File, Some("bin/mix-egress open, the probe has not")),
                (Difference::Layer, Some("its active layers are")),
            ] {
                let gateway = Gateway::start_in(other_jail::give(start.home().await?, "mix-egress", how)?, &[]).await?;
                // By root, who sees the descriptors; and one cell, because none of them is red.
                let outcome = gateway.home.gatewayd_by_us("audit", &["--json", "--ability", "start a program"]).await?;
                let said: serde_json::Value = serde_json::from_str(&outcome.stdout)?;
                let surprises = part(&said, "surprises").as_array().cloned().unwrap_or_default();
                let texts: Vec<&str> = surprises.iter().filter_map(serde_json::Value::as_str).collect();
                match surprise {
                    None => ensure!(texts.is_empty() && outcome.code == Some(0), "started {start:?}: {texts:?}"),
                    Some(words) => {
                        let is_it = |text: &str| text.starts_with("mix-egress: ") && text.contains(words);
                        ensure!(
                            texts.len() == 1 && texts.iter().all(|text| is_it(text)),
                            "started {start:?}: {texts:?}"
                        );
                        ensure!(outcome.code == Some(1));
                    }
                }
            }
        }
        Ok(())
    })
    .await
}
