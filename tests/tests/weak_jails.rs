//! An audit is able to fail: one rule too many in the jail of one role turns red what that rule alone held back, and nothing else;
//! where something else holds it back too, both must go.

use anyhow::{Context, Result, ensure};
use harness::{
    audit::{Start, audit, audit_without},
    deadline::bounded,
    weak_jail::{self, Weakness},
};

const EDGE: &str = "client-edge";
const STORE: &str = "store";

/// With these weaknesses in the jail of `role`, exactly these of its cells say yes that should not, and no cell of another role.
async fn red(start: Start, role: &str, weaknesses: &[Weakness], abilities: &[&str]) -> Result<()> {
    let home = weak_jail::give(start.home().await?, role, weaknesses)?;
    let table = audit(&home, &["--self-test"]).await?;
    let expected: Vec<String> = abilities.iter().map(|ability| format!("{role}: {ability}: yes")).collect();
    ensure!(table.wrong() == expected, "{weaknesses:?}, started {start:?}: {:?}, not {expected:?}", table.wrong());
    ensure!(table.code == Some(i32::from(!abilities.is_empty())), "{:?}", table.code);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_system_call_too_many_turns_its_own_cell_red() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            for (role, weakness, ability) in [
                ("mix-ingress", Weakness::ExecutableMemory, "make memory executable"),
                ("mix-egress", Weakness::Fork, "start a program"),
                (EDGE, Weakness::UnixSocket, "open a Unix socket"),
                (STORE, Weakness::LookAt, "see other processes"),
            ] {
                red(start, role, &[weakness], &[ability]).await?;
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
            for (role, weakness) in
                [("mix-ingress", Weakness::Affinity), ("mix-egress", Weakness::Clock), (EDGE, Weakness::Lock)]
            {
                let home = weak_jail::give(start.home().await?, role, &[weakness])?;
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
            red(start, EDGE, &[Weakness::Network], &[]).await?;
            red(start, EDGE, &[Weakness::Socket, Weakness::Connect], &[]).await?;
            red(start, EDGE, &[Weakness::Network, Weakness::Socket, Weakness::Connect], &["open a TCP connection out"])
                .await?;
            // To listen takes no address, and so Landlock does not hear of it: the list alone holds.
            red(start, EDGE, &[Weakness::Socket], &[]).await?;
            red(start, EDGE, &[Weakness::Socket, Weakness::Listen], &["bind a port"]).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_takes_system_calls_and_a_path() -> Result<()> {
    bounded(async {
        for start in Start::all() {
            red(start, EDGE, &[Weakness::OpenFile], &[]).await?;
            red(start, EDGE, &[Weakness::SharedMemory], &[]).await?;
            red(start, EDGE, &[Weakness::OpenFile, Weakness::SharedMemory], &["write anywhere"]).await?;
            // `store` may open files: the path alone holds.
            red(start, STORE, &[Weakness::SharedMemory], &["write anywhere"]).await?;
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
            red(start, STORE, &[Weakness::GatewayFolder], open).await?;
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
            red(start, EDGE, &[Weakness::Kill], &[]).await.context("Landlock holds")?;
            let home = weak_jail::give(start.home().await?, EDGE, &[Weakness::Kill])?;
            let wrong = audit_without(&["landlock_create_ruleset"], &home).await?.wrong();
            let of_edge: Vec<_> = wrong.iter().filter(|cell| cell.starts_with(EDGE)).collect();
            let expected = if start.separates_accounts() { &[][..] } else { &[SIGNAL] };
            ensure!(of_edge == expected, "started {start:?}: {wrong:?}");
        }
        Ok(())
    })
    .await
}
