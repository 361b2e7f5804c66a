//! What `gatewayd audit` says, and what it should say. The table stands here once more, so that the program does not check itself.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    gateway::{IPV4, WORKERS},
    home::{Home, Outcome, program},
};

/// Hands the lines of the table to a macro: a name for a module, the name of the line, and who can; all others cannot.
#[macro_export]
macro_rules! for_each_ability {
    ($callback:ident) => {
        $callback! {
            read_the_identity_key: "read the identity key", [];
            read_the_sphinx_key: "read the Sphinx key", [];
            read_the_ledger: "read the ledger", [("store", "yes")];
            read_an_inbox: "read an inbox", [("store", "yes")];
            open_a_file_in_the_home: "open a file in the home", [];
            write_anywhere: "write anywhere", [("store", "own")];
            open_a_tcp_connection_out: "open a TCP connection out", [("mix-egress", "yes")];
            send_a_datagram_out: "send a datagram out", [];
            bind_a_port: "bind a port", [];
            open_a_unix_socket: "open a Unix socket", [];
            start_a_program: "start a program", [];
            trace_another_role: "trace another role", [];
            signal_another_role: "signal another role", [];
            read_another_roles_memory: "read another role's memory", [];
            make_memory_executable: "make memory executable", [];
            regain_a_user: "regain a user", [];
            see_other_processes: "see other processes", [];
        }
    };
}

macro_rules! table {
    ($($module:ident: $ability:literal, $who_can:tt;)*) => {
        /// The lines of the table, and who can; all others cannot.
        pub const ABILITIES: &[(&str, &[(&str, &str)])] = &[$(($ability, &$who_can)),*];
    };
}
for_each_ability!(table);

/// A user id that belongs to no account.
const USER: u32 = 54_321;

/// Whether the tests run as root.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A part of an object; null if it is not there.
pub fn part<'a>(whole: &'a Value, name: &str) -> &'a Value {
    whole.get(name).unwrap_or(&Value::Null)
}

/// What a cell should say.
pub fn expected(role: &str, ability: &str) -> &'static str {
    let who_can = ABILITIES.iter().find(|(line, _)| *line == ability).map_or(&[][..], |(_, who_can)| who_can);
    who_can.iter().find(|(can, _)| *can == role).map_or("no", |(_, how)| how)
}

/// What was measured, by role and ability.
#[derive(Debug)]
pub struct Table {
    /// The cells that were measured.
    pub cells: BTreeMap<(String, String), String>,
    /// All that was said.
    pub whole: Value,
    /// The exit code.
    pub code: Option<i32>,
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

    /// What one cell says.
    pub fn measured(&self, role: &str, ability: &str) -> &str {
        self.cells.get(&(role.to_owned(), ability.to_owned())).map_or("nothing", String::as_str)
    }

    /// Every cell that does not say what it should, as `role: ability: measured`.
    pub fn wrong(&self) -> Vec<String> {
        let cells = self.cells.iter().filter(|((role, ability), measured)| expected(role, ability) != *measured);
        cells.map(|((role, ability), measured)| format!("{role}: {ability}: {measured}")).collect()
    }

    /// All cells are there and say what they should, and nothing else is wrong.
    ///
    /// # Errors
    /// If not.
    pub fn ensure_clean(&self) -> Result<()> {
        for (ability, _) in ABILITIES {
            for role in WORKERS {
                ensure!(self.measured(role, ability) != "nothing", "{role}: {ability}: not measured");
            }
        }
        ensure!(self.cells.len() == ABILITIES.len() * WORKERS.len(), "there are cells that no test knows");
        self.ensure_no_surprise()
    }

    /// Every cell of the table says what it should.
    ///
    /// # Errors
    /// If not.
    pub fn ensure_no_surprise(&self) -> Result<()> {
        ensure!(self.wrong().is_empty(), "{:?}\n{:#}", self.wrong(), self.whole);
        ensure!(*part(&self.whole, "surprises") == Value::Array(vec![]), "{:#}", part(&self.whole, "surprises"));
        ensure!(self.code == Some(0), "{:?}", self.code);
        Ok(())
    }

    /// This cell is red, and so is the audit.
    ///
    /// # Errors
    /// If not.
    pub fn ensure_red(&self, role: &str, ability: &str) -> Result<()> {
        let measured = self.measured(role, ability);
        ensure!(measured == "yes", "{role}: {ability}: {measured}");
        let said = part(&self.whole, "surprises").to_string();
        ensure!(said.contains(&format!("{role}: {ability}: yes, expected")), "{said}");
        ensure!(self.code == Some(1), "{:?}", self.code);
        Ok(())
    }
}

/// Audits the gateway of `home`.
///
/// # Errors
/// If no table comes of it.
pub async fn audit(home: &Home, flags: &[&str]) -> Result<Table> {
    Table::read(&home.gatewayd("audit", &[&["--json"], flags].concat()).await?)
}

/// A self-test by the user of the tests, whatever user owns the gateway.
///
/// # Errors
/// If no table comes of it.
pub async fn audit_by_us(home: &Home) -> Result<Table> {
    Table::read(&home.gatewayd_by_us("audit", &["--json", "--self-test"]).await?)
}

/// A self-test as on a kernel without these system calls.
///
/// # Errors
/// If no table comes of it.
pub async fn audit_without(calls: &[&str], home: &Home) -> Result<Table> {
    Table::read(&home.below(&program("deny_syscalls")?, calls, "audit", &["--json", "--self-test"]).await?)
}

/// How a gateway can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// By root: each worker has an account of its own.
    AsRoot,
    /// By a user, whose account all workers share.
    AsUser,
    /// With the privileges that the systemd unit gives: each worker has an account of its own.
    AsUnit,
}

impl Start {
    /// The ways that the user of the tests may use. The others are listed as not tested.
    pub fn all() -> Vec<Self> {
        [Self::AsRoot, Self::AsUser, Self::AsUnit].into_iter().filter(|start| start.is_possible()).collect()
    }

    /// Whether the user of the tests may start it so. If not, the way is listed as not tested.
    pub fn is_possible(self) -> bool {
        self == Self::AsUser || need::root(45)
    }

    /// A gateway that is started so.
    ///
    /// # Errors
    /// If it cannot be made.
    pub async fn home(self) -> Result<Home> {
        let home = Home::init(IPV4).await?;
        match self {
            Self::AsUser if is_root() => home.given_to(USER),
            Self::AsRoot | Self::AsUser => Ok(home),
            Self::AsUnit => home.given_to_unit(USER),
        }
    }

    /// Whether each worker has an account of its own.
    pub fn separates_accounts(self) -> bool {
        self != Self::AsUser
    }
}
