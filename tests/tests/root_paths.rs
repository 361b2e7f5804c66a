//! A gateway that is started with root's privileges: whatever lies in its folder, nothing outside of it changes, and what root leaves
//! behind can be used by the account of the unit.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context, Result, ensure};
use harness::{
    audit::{Start, is_root},
    deadline::{bounded, soon},
    gateway::{Gateway, IPV4},
    home::{Home, ID, Outcome},
    inventory::inventory,
    log::Log,
};
use nix::{
    fcntl::{AT_FDCWD, RenameFlags, renameat2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::process::Command;

/// Starts while another process swaps names.
const STARTS: usize = 4;
/// What `init` must be told.
const HOSTS: [&str; 4] = ["--mix-host", "127.0.0.1", "--clients-host", "127.0.0.1"];

/// What no gateway may touch: a folder, and a file in it.
struct Canary(TempDir);

impl Canary {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        fs::write(folder.path().join("canary"), "sings")?;
        // To be missed if it is truncated, given away, or joined by others.
        chown(folder.path().join("canary"), Some(70_010), Some(70_010))?;
        Ok(Self(folder))
    }

    fn folder(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("canary")
    }

    fn ensure_untouched(&self, after: &str) -> Result<()> {
        let (folder, file) = (fs::metadata(self.folder())?, fs::metadata(self.file())?);
        let seen = (folder.uid(), folder.gid(), folder.mode() & 0o7777, fs::read_dir(self.folder())?.count());
        ensure!(seen == (0, 0, 0o700, 1), "{after}: the folder is {seen:?}");
        let seen = (file.uid(), file.gid(), file.mode() & 0o7777, fs::read_to_string(self.file())?);
        ensure!(seen == (70_010, 70_010, 0o644, "sings".to_owned()), "{after}: the file is {seen:?}");
        Ok(())
    }
}

/// 78 tells the unit not to try again, 1 is for all else.
fn ensure_refused(outcome: &Outcome, parts: &[&str]) -> Result<()> {
    ensure!(matches!(outcome.code, Some(1 | 78)), "{outcome:?}");
    for part in parts {
        ensure!(outcome.stderr.contains(part), "no {part:?} in {outcome:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_the_home_when_root_starts_is_not_followed() -> Result<()> {
    bounded(async {
        if !need::root(66) {
            return Ok(());
        }
        for (name, is_folder) in [
            ("data/inboxes", true),
            ("data/client_ledger.sled", true),
            ("data/replay", true),
            ("data", true),
            ("config", true),
            ("run", true),
            ("run/gatewayd.pid", false),
            ("config/config.toml", false),
            ("data/private_identity.pem", false),
            ("data/public_sphinx.pem", false),
        ] {
            for is_hard in [false, true] {
                if is_hard && is_folder {
                    continue;
                }
                let (home, canary) = (Home::init(IPV4).await?, Canary::new()?);
                let place = home.path().join(name);
                fs::create_dir_all(place.parent().context("no parent")?)?;
                if place.exists() {
                    fs::rename(&place, place.with_extension("away"))?;
                }
                match (is_folder, is_hard) {
                    (true, _) => symlink(canary.folder(), &place)?,
                    (false, false) => symlink(canary.file(), &place)?,
                    (false, true) => fs::hard_link(canary.file(), &place)?,
                }
                let outcome = home.gatewayd("run", &[]).await?;
                ensure_refused(&outcome, &[place.to_str().context("path")?])?;
                let one_cell = ["--self-test", "--role", "store", "--ability", "start a program"];
                for (command, flags) in [("audit", &one_cell[..]), ("upgrade", &[]), ("init", &HOSTS)] {
                    let _may_do_what_it_can = home.gatewayd(command, flags).await?;
                    canary.ensure_untouched(&format!("{command} with {name}"))?;
                }
                canary.ensure_untouched(name)?;
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_of_another_account_when_root_starts_is_refused() -> Result<()> {
    bounded(async {
        if !need::root(66) {
            return Ok(());
        }
        let home = Start::AsUser.home().await?;
        let before = inventory(home.root())?;
        let user = fs::metadata(home.path())?.uid();
        let remedies = [format!("--reuid={user}"), format!("chown -R root:root {}", home.path().display())];
        let remedies: Vec<&str> = remedies.iter().map(String::as_str).collect();
        for (command, flags) in [
            ("run", &[][..]),
            ("run", &["--insecure-no-sandbox"]),
            ("audit", &["--self-test"]),
            ("upgrade", &[]),
            ("init", &HOSTS),
        ] {
            ensure_refused(&home.gatewayd_by_us(command, flags).await?, &remedies).context(command)?;
            ensure!(inventory(home.root())? == before, "{command} has changed something");
        }
        // Its own account may start it, with a data folder that is a link.
        let data = home.path().join("data");
        fs::rename(&data, home.root().join("elsewhere"))?;
        symlink(home.root().join("elsewhere"), &data)?;
        Gateway::start_in(home, &[]).await?.stop(Signal::SIGTERM).await?;
        Ok(())
    })
    .await
}

/// A setting that names a folder of somebody's by mistake.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_folder_as_data_is_refused_and_untouched() -> Result<()> {
    if !need::root(141) {
        return Ok(());
    }
    bounded(async {
        let foreign = tempfile::tempdir()?;
        for folder in [".ssh", "www"] {
            fs::create_dir(foreign.path().join(folder))?;
            fs::write(foreign.path().join(folder).join("file"), "x")?;
        }
        let before = inventory(foreign.path())?;
        let mode = fs::metadata(foreign.path())?.mode();
        let path = foreign.path().to_str().context("path")?;
        let running = Gateway::start().await?;
        let config_file = running.home.path().join("config/config.toml");
        let config = fs::read_to_string(&config_file)?;
        for setting in ["inboxes_directory", "ledger_path"] {
            let stopped = Home::init(IPV4).await?;
            stopped.set_config("clients_endpoint", setting, &format!("'{path}'"))?;
            running.home.set_config("clients_endpoint", setting, &format!("'{path}'"))?;
            let orders = [
                (&stopped, "check", &[][..]),
                (&stopped, "run", &["--dry-run"]),
                (&stopped, "run", &[]),
                (&running.home, "reload", &[]),
            ];
            for (home, command, flags) in orders {
                let refused = home.gatewayd(command, flags).await?;
                let said = format!("{}{}", refused.stdout, refused.stderr);
                for part in [path, setting, ".ssh", "correct the setting"] {
                    ensure!(refused.code == Some(78) && said.contains(part), "{command}, {part}: {refused:?}");
                }
                ensure!(inventory(foreign.path())? == before, "{command} has changed something");
                ensure!(fs::metadata(foreign.path())?.mode() == mode, "{command} has changed the folder");
            }
            ensure!(!stopped.data().join("replay").exists(), "a folder was made");
            fs::write(&config_file, &config)?;
        }
        Ok(())
    })
    .await
}

/// With inboxes of nym-gateway 0.10 that belong to root, and other folders missing.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_changes_no_owner_and_makes_no_folder() -> Result<()> {
    bounded(async {
        let home = Home::init(IPV4).await?;
        let old_inbox = home.data().join("inboxes/Gj7jCwwZmPiMbgxAvJZ3CPfscKmCr3v9xvrEsBgGaNMM");
        fs::create_dir_all(&old_inbox)?;
        fs::write(old_inbox.join("rX7Kq2bLw0ZtQ9uV"), "a message")?;
        let before = inventory(home.root())?;
        let outcome = home.gatewayd("run", &["--dry-run"]).await?;
        for words in ["2 of them are missing: the start makes them", "the jail of store is complete"] {
            ensure!(outcome.code == Some(0) && outcome.stdout.contains(words), "{words}: {outcome:?}");
        }
        ensure!(inventory(home.root())? == before, "a dry run has changed something");
        Gateway::start_in(home, &[]).await?.stop(Signal::SIGTERM).await?;
        Ok(())
    })
    .await
}

/// Swaps two names until it is told to end.
fn swap(one: &Path, other: &Path, ends: &AtomicBool) {
    while !ends.load(Ordering::Relaxed) {
        let _either_is_there = renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE);
    }
}

/// The worst case: the folder's owner is one that root trusts, and does not deserve it.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_swapped_during_the_start_lead_nowhere() -> Result<()> {
    bounded(async {
        if !need::root(66) {
            return Ok(());
        }
        for name in ["data/inboxes", "data/client_ledger.sled", "data", "run"] {
            let canary = Canary::new()?;
            let home = Home::init(IPV4).await?;
            for folder in ["data/inboxes", "data/client_ledger.sled", "run"] {
                fs::create_dir_all(home.path().join(folder))?;
            }
            let (place, link) = (home.path().join(name), home.path().join("link"));
            symlink(canary.folder(), &link)?;
            let ends = AtomicBool::new(false);
            for _ in 0..STARTS {
                let run = home.gatewayd_for_a_moment();
                let outcome = thread::scope(|scope| {
                    scope.spawn(|| swap(&place, &link, &ends));
                    let outcome = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(run));
                    ends.store(true, Ordering::Relaxed);
                    outcome
                });
                outcome?;
                ends.store(false, Ordering::Relaxed);
                canary.ensure_untouched(name)?;
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_account_when_it_is_somebodys_is_refused() -> Result<()> {
    bounded(async {
        if !need::root(66) {
            return Ok(());
        }
        let home = Home::init(IPV4).await?;
        home.set_config("sandbox", "first_account", "1")?;
        let before = inventory(home.root())?;
        ensure_refused(&home.gatewayd("run", &[]).await?, &["first_account", "[sandbox]", "1879048192"])?;
        ensure_refused(&home.gatewayd("audit", &["--self-test"]).await?, &["first_account"])?;
        ensure!(inventory(home.root())? == before);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn data_in_use_when_a_copy_starts_stays_untouched() -> Result<()> {
    bounded(async {
        let first = Gateway::start().await?;
        let copy = Home::init(IPV4).await?;
        let inboxes = first.home.data().join("inboxes");
        copy.set_config("clients_endpoint", "inboxes_directory", &format!("'{}'", inboxes.display()))?;
        let before = inventory(&inboxes)?;
        ensure!(before.iter().any(|(path, ..)| path.ends_with("reserve")), "no reserve in {before:?}");
        let pid = first.supervisor().0.to_string();
        let outcome = copy.gatewayd("run", &[]).await?;
        ensure_refused(&outcome, &[&pid, "account", inboxes.to_str().context("path")?, "already running"])?;
        ensure!(inventory(&inboxes)? == before, "the data was touched");
        ensure!(!copy.path().join("run").exists(), "something was made");
        // The operator is told that the new settings apply from the next start.
        let init = first.home.gatewayd("init", &HOSTS).await?;
        ensure!(init.code == Some(0) && (!is_root() || init.stdout.contains(&pid)), "{init:?}");
        Ok(())
    })
    .await
}

/// `gatewayd run` by root, on a machine where `user` is called `gatewayd`.
fn run_by_hand(home: &Home, user: u32, directory: &TempDir) -> Result<Command> {
    let passwd = directory.path().join("passwd");
    let users = fs::read_to_string("/etc/passwd")?;
    fs::write(&passwd, format!("{users}gatewayd:x:{user}:{user}::/nowhere:/bin/false\n"))?;
    let mut process = Command::new("unshare");
    process.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/passwd && exec \"$@\""]).arg(passwd);
    process.arg(home.root().join("bin/gatewayd")).args(["run", "--id", ID, "--home"]).arg(home.root());
    process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    Ok(process)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_when_root_has_run_it_by_hand_starts_again() -> Result<()> {
    bounded(async {
        if !need::root(66) {
            return Ok(());
        }
        let directory = tempfile::tempdir()?;
        let mut unit = Gateway::start_in(Start::AsUnit.home().await?, &[]).await?;
        let user = fs::metadata(unit.home.path())?.uid();
        // Beside the unit, whose runtime directory is elsewhere, nothing happens.
        let run = unit.home.path().join("run");
        fs::rename(&run, directory.path().join("run"))?;
        let inboxes = unit.home.data().join("inboxes");
        let before = inventory(&inboxes)?;
        let output = soon("a second run", run_by_hand(&unit.home, user, &directory)?.output()).await??;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success() && said.contains(&unit.supervisor().0.to_string()), "{said}");
        ensure!(inventory(&inboxes)? == before && !run.exists(), "something was touched");
        ensure!(unit.stop(Signal::SIGTERM).await?.success());

        let mut by_hand = run_by_hand(&unit.home, user, &directory)?.spawn()?;
        let log = Log::follow(by_hand.stderr.take().context("no standard error")?);
        let started = |line: &str| line.contains("Finished nym gateway startup procedure").then_some(());
        log.wait_for("the start by hand", started).await?;
        kill(Pid::from_raw(by_hand.id().context("no process")?.cast_signed()), Signal::SIGINT)?;
        ensure!(soon("the end of the run by hand", by_hand.wait()).await??.success());

        unit.start_again().await?;
        ensure!(unit.stop(Signal::SIGTERM).await?.success());
        Ok(())
    })
    .await
}
