//! Every cell of the table of `gatewayd audit`, each measured by itself: `ability::role::how_the_gateway_was_started`.
//!
//! The list of abilities is that of [`harness::audit`]; the tests of the whole table check it against the program.

use anyhow::{Result, ensure};
use harness::{
    audit::{Start, audit},
    deadline::bounded,
    for_each_ability,
};

async fn measure(start: Start, role: &str, ability: &str) -> Result<()> {
    bounded(async {
        if !start.is_possible() {
            return Ok(());
        }
        let home = start.home().await?;
        let table = audit(&home, &["--self-test", "--role", role, "--ability", ability]).await?;
        ensure!(table.cells.len() == 1 && table.measured(role, ability) != "nothing", "{:?}", table.cells);
        table.ensure_no_surprise()
    })
    .await
}

/// Where the kernel holds `mix-egress` to a few ports, none is free for the audit to listen on.
#[tokio::test]
async fn egress_with_few_ports_still_connects_out() -> Result<()> {
    bounded(async {
        let home = Start::AsUser.home().await?;
        home.set_config("egress", "ports", "[1789]")?;
        let cell = ["--self-test", "--role", "mix-egress", "--ability", "open a TCP connection out"];
        let table = audit(&home, &cell).await?;
        ensure!(table.measured("mix-egress", "open a TCP connection out") == "yes", "{:?}", table.cells);
        table.ensure_no_surprise()
    })
    .await
}

macro_rules! cells {
    ($($module:ident: $ability:literal, $who_can:tt;)*) => { $(
        mod $module {
            cells! { mix_ingress, "mix-ingress", $ability }
            cells! { mix_egress, "mix-egress", $ability }
            cells! { client_edge, "client-edge", $ability }
            cells! { store, "store", $ability }
            cells! { http_api, "http-api", $ability }
        }
    )* };
    ($module:ident, $role:literal, $ability:literal) => {
        mod $module {
            use super::super::{Start, measure};

            #[tokio::test]
            async fn started_as_root() -> anyhow::Result<()> {
                measure(Start::AsRoot, $role, $ability).await
            }

            #[tokio::test]
            async fn started_as_a_user() -> anyhow::Result<()> {
                measure(Start::AsUser, $role, $ability).await
            }
        }
    };
}
for_each_ability!(cells);
