//! An audit is able to fail: one rule too many in the jail of one role turns red what that rule alone held back, and nothing else;
//! where something else holds it back too, both must go.

use anyhow::{Context, Result, ensure};
use tests::{
    audit::{Start, audit, audit_without},
    deadline::bounded,
    hole::{self, Hole},
};

const EDGE: &str = "client-edge";
const STORE: &str = "store";

/// With these holes in the jail of `role`, exactly these of its cells say yes that should not, and no cell of another role.
async fn red(start: Start, role: &str, holes: &[Hole], abilities: &[&str]) -> Result<()> {
    let home = hole::make(start.home().await?, role, holes)?;
    let table = audit(&home, &["--self-test"]).await?;
    let expected: Vec<String> = abilities.iter().map(|ability| format!("{role}: {ability}: yes")).collect();
    ensure!(table.wrong() == expected, "{holes:?}, started {start:?}: {:?}, not {expected:?}", table.wrong());
    ensure!(table.code == Some(i32::from(!abilities.is_empty())), "{:?}", table.code);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_system_call_too_many_turns_its_own_cell_red() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            for (role, hole, ability) in [
                ("mix-ingress", Hole::ExecutableMemory, "make memory executable"),
                ("mix-egress", Hole::Fork, "start a program"),
                (EDGE, Hole::UnixSocket, "open a Unix socket"),
                (STORE, Hole::LookAt, "see other processes"),
            ] {
                red(start, role, &[hole], &[ability]).await?;
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_that_takes_a_process_number_shows_the_process() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            for (role, hole) in [("mix-ingress", Hole::Affinity), ("mix-egress", Hole::Clock), (EDGE, Hole::Lock)] {
                let home = hole::make(start.home().await?, role, &[hole])?;
                let table = audit(&home, &["--self-test", "--ability", "see other processes"]).await?;
                ensure!(table.wrong() == [format!("{role}: see other processes: yes")], "{:?}", table.wrong());
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_out_takes_system_calls_and_the_network() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            // The list of system calls holds; and without it, Landlock and the network namespace.
            red(start, EDGE, &[Hole::Network], &[]).await?;
            red(start, EDGE, &[Hole::Socket, Hole::Connect], &[]).await?;
            red(start, EDGE, &[Hole::Network, Hole::Socket, Hole::Connect], &["open a TCP connection out"]).await?;
            // To listen takes no address, and so Landlock does not hear of it: the list alone holds.
            red(start, EDGE, &[Hole::Socket], &[]).await?;
            red(start, EDGE, &[Hole::Socket, Hole::Listen], &["bind a port"]).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_takes_system_calls_and_a_path() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            red(start, EDGE, &[Hole::OpenFile], &[]).await?;
            red(start, EDGE, &[Hole::SharedMemory], &[]).await?;
            red(start, EDGE, &[Hole::OpenFile, Hole::SharedMemory], &["write anywhere"]).await?;
            // `store` may open files: the path alone holds.
            red(start, STORE, &[Hole::SharedMemory], &["write anywhere"]).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn landlock_and_the_account_each_guard_the_gateways_folder() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            let all = ["open a file in the home", "read the Sphinx key", "read the identity key", "write anywhere"];
            // What everybody may read there is open to another account too.
            let open = if start.separates_accounts() { &all[..1] } else { &all };
            red(start, STORE, &[Hole::GatewayFolder], open).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_takes_a_system_call_and_landlock_and_the_account() -> Result<()> {
    const SIGNAL: &str = "client-edge: signal another role: yes";
    bounded(async {
        for start in Start::all() {
            red(start, EDGE, &[Hole::Kill], &[]).await.context("Landlock holds")?;
            let home = hole::make(start.home().await?, EDGE, &[Hole::Kill])?;
            let wrong = audit_without(&["landlock_create_ruleset"], &home).await?.wrong();
            let of_edge: Vec<_> = wrong.iter().filter(|cell| cell.starts_with(EDGE)).collect();
            let expected = if start.separates_accounts() { &[][..] } else { &[SIGNAL] };
            ensure!(of_edge == expected, "started {start:?}: {wrong:?}");
        }
        Ok(())
    })
    .await
}
