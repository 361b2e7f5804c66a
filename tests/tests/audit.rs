//! `gatewayd audit`: its whole table, beside a running gateway and without one, and that each cell can turn red.

use std::{collections::BTreeSet, fs, io::Write, os::unix::net::UnixStream};

use anyhow::{Context, Result, ensure};
use harness::{
    audit::{ABILITIES, Start, Table, audit, audit_by_us, audit_without, is_root, part},
    deadline::bounded,
    gateway::{Gateway, WORKERS},
    home::program,
    inventory::inventory,
};
use nix::{
    sys::signal::Signal,
    unistd::{Uid, User},
};

/// Its workers are as their probes are.
#[tokio::test(flavor = "multi_thread")]
async fn no_cell_of_a_running_gateway_is_a_surprise() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            let mut gateway = Gateway::start_in(start.home().await?, &[]).await?;
            let workers = gateway.workers()?;
            // One connection stays silent, and one sends nonsense: neither keeps the audit from the socket.
            let _silent = UnixStream::connect(gateway.home.path().join("run/admin.sock"))?;
            UnixStream::connect(gateway.home.path().join("run/admin.sock"))?.write_all(&[0xff; 64])?;
            let table = audit(&gateway.home, &[]).await?;
            table.ensure_clean().with_context(|| format!("started {start:?}"))?;
            let processes = part(&table.whole, "processes").as_array().context("no processes")?;
            let live: BTreeSet<u64> =
                processes.iter().filter_map(|seen| part(part(seen, "live"), "pid").as_u64()).collect();
            ensure!(live == workers.iter().map(|worker| u64::from(worker.0)).collect(), "{live:?} are not {workers:?}");
            ensure!(gateway.workers()? == workers, "an audit replaced a worker");
            everything_was_tried(&table, &gateway)?;
            // For people, the same.
            let text = gateway.home.gatewayd("audit", &[]).await?;
            ensure!(text.code == Some(0) && text.stdout.contains("No surprise."), "{}", text.stdout);
            let documented = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.privsep.md"))?;
            for line in text.stdout.lines().filter(|line| line.contains(" / ") && !line.starts_with("Each cell")) {
                ensure!(documented.contains(line), "README.privsep.md does not show what was measured: {line}");
            }
            ensure!(gateway.stop(Signal::SIGTERM).await?.success());
        }
        Ok(())
    })
    .await
}

/// Each role has tried to trace each other process, and to open the configuration and the folder of the account.
fn everything_was_tried(table: &Table, gateway: &Gateway) -> Result<()> {
    let cells = part(&table.whole, "cells").as_array().context("no cells")?;
    for role in WORKERS {
        let tried = |ability: &str, attempt: &str| {
            let cell = cells.iter().find(|cell| part(cell, "role") == role && part(cell, "ability") == ability);
            let trials = cell.and_then(|cell| part(cell, "trials").as_array());
            trials.is_some_and(|trials| trials.iter().any(|trial| part(trial, "attempt") == attempt))
        };
        let others = WORKERS.into_iter().filter(|other| *other != role).map(|other| gateway.worker(other));
        for other in others.chain([Ok(gateway.supervisor())]) {
            let pid = other?.0;
            for (ability, attempt) in [
                ("trace another role", "ptrace"),
                ("read another role's memory", "process_vm_readv of"),
                ("signal another role", "kill"),
                ("see other processes", "getpgid of"),
            ] {
                ensure!(tried(ability, &format!("{attempt} process {pid}")), "{role}: {ability}: {pid}");
            }
        }
        let account = User::from_uid(Uid::from_raw(gateway.supervisor().user()?))?.map(|user| user.dir);
        for home in [gateway.home.path(), gateway.home.config_file()].into_iter().chain(account) {
            ensure!(
                tried("open a file in the home", &format!("open {}", home.display())),
                "{role}: {}",
                home.display()
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_test_needs_no_gateway_and_disturbs_none() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            let gateway = Gateway::start_in(start.home().await?, &[]).await?;
            let workers = gateway.workers()?;
            audit(&gateway.home, &["--self-test"])
                .await?
                .ensure_clean()
                .with_context(|| format!("started {start:?}"))?;
            ensure!(gateway.workers()? == workers && workers.iter().all(|worker| worker.runs()));
            let home = start.home().await?;
            audit(&home, &["--self-test"]).await?.ensure_clean()?;
            let nobody = home.gatewayd("audit", &[]).await?;
            ensure!(nobody.code == Some(69) && nobody.stderr.contains("--self-test"), "{nobody:?}");
        }
        Ok(())
    })
    .await
}

/// The data stays with the accounts that own it, and the gateway starts as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_self_test_changes_no_owner_and_the_gateway_starts() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            let mut gateway = Gateway::start_in(start.home().await?, &[]).await?;
            ensure!(gateway.stop(Signal::SIGTERM).await?.success());
            let home = gateway.home;
            let before = inventory(home.root())?;
            // Root makes nothing in the folder of another account.
            if is_root() && start != Start::AsRoot {
                let refused = home.gatewayd_by_us("audit", &["--json", "--self-test"]).await?;
                ensure!(
                    refused.code == Some(1) && refused.stderr.contains("start the gateway as that account"),
                    "{refused:?}"
                );
            } else {
                audit_by_us(&home).await?.ensure_clean()?;
            }
            let after = inventory(home.root())?;
            ensure!(before == after, "started {start:?}, there was {before:?}, now {after:?}");
            Gateway::start_in(home, &[]).await?.stop(Signal::SIGTERM).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_jail_every_cell_is_red() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            let gateway = Gateway::start_in(start.home().await?, &["--insecure-no-sandbox"]).await?;
            let table = audit(&gateway.home, &[]).await?;
            for (ability, who_can) in ABILITIES {
                // Some kernels keep users from tracing their own processes.
                let kernel_decides = ["trace another role", "read another role's memory"].contains(ability);
                if kernel_decides && start != Start::AsRoot {
                    continue;
                }
                for role in WORKERS.into_iter().filter(|role| !who_can.contains(&(role, "yes"))) {
                    table.ensure_red(role, ability).with_context(|| format!("started {start:?}"))?;
                }
            }
            ensure!(part(&table.whole, "surprises").to_string().contains("Seccomp is `0`, not `2`"));
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_landlock_the_cells_turn_red_that_nothing_else_holds() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            let table = audit_without(&["landlock_create_ruleset"], &start.home().await?).await?;
            table.ensure_red("store", "write anywhere")?;
            table.ensure_red("store", "open a file in the home")?;
            for ability in ["read the identity key", "read the Sphinx key"] {
                if start.separates_accounts() {
                    // The account of its own holds.
                    ensure!(table.measured("store", ability) == "no", "{ability}");
                } else {
                    table.ensure_red("store", ability)?;
                }
            }
            // The list of system calls holds.
            let others = table.wrong().into_iter().filter(|cell| !cell.starts_with("store: "));
            ensure!(others.count() == 0, "{:?}", table.wrong());
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_seccomp_the_cells_turn_red_that_nothing_else_holds() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            let home = start.home().await?;
            let refused = home.below(&program("deny_syscalls")?, &["seccomp"], "audit", &["--self-test"]).await?;
            ensure!(refused.code == Some(1) && refused.stderr.contains("require"), "{refused:?}");
            home.set_config("sandbox", "require", "[]")?;
            let table = audit_without(&["seccomp"], &home).await?;
            for role in WORKERS {
                for ability in
                    ["start a program", "make memory executable", "open a Unix socket", "see other processes"]
                {
                    table.ensure_red(role, ability)?;
                }
                // Landlock holds, but knows nothing of `listen` without `bind`.
                for ability in ["read the identity key", "read the Sphinx key", "open a file in the home"] {
                    let measured = table.measured(role, ability);
                    ensure!(measured == "no", "{role}: {ability}: {measured}, started {start:?}: {:#}", table.whole);
                }
                table.ensure_red(role, "bind a port")?;
            }
        }
        Ok(())
    })
    .await
}
