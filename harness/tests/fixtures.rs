//! The programs that tests start in the place of a worker, or around the gateway, are built with the tests: cargo builds the programs of
//! a package for its integration tests.

use anyhow::Result;
use harness::home::program;

#[test]
fn every_fixture_is_built() -> Result<()> {
    for name in ["rogue", "weak_jail", "other_jail", "deny_syscalls"] {
        program(name)?;
    }
    Ok(())
}
