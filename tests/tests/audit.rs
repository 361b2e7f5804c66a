//! `gatewayd audit`: every cell of its table as root and as a user, and that each can turn red.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    os::unix::net::UnixStream,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::{
    deadline::bounded,
    gateway::{Gateway, IPV4},
    home::{Home, Outcome, program},
};

const ROLES: [&str; 4] = ["mix-ingress", "mix-egress", "client-edge", "store"];

/// The lines of the table, and who can; all others cannot.
const ABILITIES: [(&str, &[(&str, &str)]); 17] = [
    ("read the identity key", &[]),
    ("read the Sphinx key", &[]),
    ("read the ledger", &[("store", "yes")]),
    ("read an inbox", &[("store", "yes")]),
    ("open a file in the home", &[]),
    ("write anywhere", &[("store", "own")]),
    ("open a TCP connection out", &[("mix-egress", "yes")]),
    ("send a datagram out", &[]),
    ("bind a port", &[]),
    ("open a Unix socket", &[]),
    ("start a program", &[]),
    ("trace another role", &[]),
    ("signal another role", &[]),
    ("read another role's memory", &[]),
    ("make memory executable", &[]),
    ("regain a user", &[]),
    ("see other processes", &[]),
];

/// A user that nobody is.
const USER: u32 = 54_321;

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A part of an object; null if it is not there.
fn part<'a>(whole: &'a Value, name: &str) -> &'a Value {
    whole.get(name).unwrap_or(&Value::Null)
}

/// What was measured, by role and ability.
struct Table {
    cells: BTreeMap<(String, String), String>,
    whole: Value,
    code: Option<i32>,
}

impl Table {
    fn read(outcome: &Outcome) -> Result<Self> {
        let whole: Value = serde_json::from_str(&outcome.stdout).with_context(|| format!("no JSON: {outcome:?}"))?;
        let cells = part(&whole, "cells").as_array().context("no cells")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let cells = cells
            .iter()
            .map(|cell| ((text(part(cell, "role")), text(part(cell, "ability"))), text(part(cell, "measured"))));
        Ok(Self { cells: cells.collect(), code: outcome.code, whole })
    }

    fn measured(&self, role: &str, ability: &str) -> &str {
        self.cells.get(&(role.to_owned(), ability.to_owned())).map_or("nothing", String::as_str)
    }

    /// Every cell that is not as it should be; what should be stands here, not in the program.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (ability, who_can) in ABILITIES {
            for role in ROLES {
                let expected = who_can.iter().find(|(can, _)| *can == role).map_or("no", |(_, how)| how);
                let measured = self.measured(role, ability);
                if measured != expected {
                    wrong.push(format!("{role}: {ability}: {measured}"));
                }
            }
        }
        wrong
    }

    fn ensure_clean(&self) -> Result<()> {
        ensure!(self.wrong().is_empty(), "{:?}\n{:#}", self.wrong(), self.whole);
        ensure!(self.cells.len() == ABILITIES.len() * ROLES.len(), "{} cells", self.cells.len());
        ensure!(*part(&self.whole, "surprises") == Value::Array(vec![]), "{:#}", part(&self.whole, "surprises"));
        ensure!(self.code == Some(0));
        Ok(())
    }

    fn ensure_red(&self, role: &str, ability: &str) -> Result<()> {
        let measured = self.measured(role, ability);
        ensure!(measured == "yes", "{role}: {ability}: {measured}");
        let said = part(&self.whole, "surprises").to_string();
        ensure!(said.contains(&format!("{role}: {ability}: yes, expected")), "{said}");
        ensure!(self.code == Some(1));
        Ok(())
    }
}

async fn audit(home: &Home, flags: &[&str]) -> Result<Table> {
    Table::read(&home.gatewayd("audit", &[&["--json"], flags].concat()).await?)
}

/// The same as on a kernel without these system calls.
async fn audit_without(calls: &[&str], home: &Home) -> Result<Table> {
    let outcome = home.below(&program("without")?, calls, "audit", &["--json", "--self-test"]).await?;
    Table::read(&outcome)
}

/// How a gateway can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// By whoever runs the test: as root, each worker has an account of its own.
    Here,
    /// By another user, whose account all workers share.
    AsUser,
    /// With the privileges that the systemd unit gives: each worker has an account of its own.
    AsUnit,
}

impl Start {
    /// The last two take root.
    fn all() -> Vec<Self> {
        if is_root() { vec![Self::Here, Self::AsUser, Self::AsUnit] } else { vec![Self::Here] }
    }

    async fn home(self) -> Result<Home> {
        let home = Home::init(IPV4).await?;
        match self {
            Self::Here => Ok(home),
            Self::AsUser => home.given_to(USER),
            Self::AsUnit => home.given_to_unit(USER),
        }
    }

    fn separates_accounts(self) -> bool {
        is_root() && self != Self::AsUser
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cell_of_a_running_gateway_is_a_surprise_and_its_workers_are_like_their_probes() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            let mut gateway = Gateway::start_in(start.home().await?, &[]).await?;
            let workers = gateway.workers()?;
            // Whoever talks nonsense there has had his turn.
            UnixStream::connect(gateway.home.path().join("run/admin.sock"))?.write_all(&[0xff; 64])?;
            let table = audit(&gateway.home, &[]).await?;
            table.ensure_clean().with_context(|| format!("started {start:?}"))?;
            let processes = part(&table.whole, "processes").as_array().context("no processes")?;
            let live: BTreeSet<u64> =
                processes.iter().filter_map(|seen| part(part(seen, "live"), "pid").as_u64()).collect();
            ensure!(live == workers.iter().map(|worker| u64::from(worker.0)).collect(), "{live:?} are not {workers:?}");
            ensure!(gateway.workers()? == workers, "an audit replaced a worker");
            // For people, the same.
            let text = gateway.home.gatewayd("audit", &[]).await?;
            ensure!(text.code == Some(0) && text.stdout.contains("No surprise."), "{}", text.stdout);
            let documented = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.privsep.md"))?;
            for line in text.stdout.lines().filter(|line| line.contains(" / ") && !line.starts_with("Each cell")) {
                ensure!(documented.contains(line), "README.privsep.md does not show what was measured: {line}");
            }
            ensure!(gateway.stop(Signal::SIGTERM).await?.success());
        }
        Ok(())
    })
    .await
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
            ensure!(nobody.code == Some(1) && nobody.stderr.contains("--self-test"), "{nobody:?}");
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
                let kernel_decides = ["trace another role", "read another role's memory"].contains(&ability);
                if kernel_decides && (!is_root() || start != Start::Here) {
                    continue;
                }
                for role in ROLES.into_iter().filter(|role| !who_can.contains(&(role, "yes"))) {
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
            let refused = home.below(&program("without")?, &["seccomp"], "audit", &["--self-test"]).await?;
            ensure!(refused.code == Some(1) && refused.stderr.contains("require"), "{refused:?}");
            home.set_config("sandbox", "require", "[]")?;
            let table = audit_without(&["seccomp"], &home).await?;
            for role in ROLES {
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
