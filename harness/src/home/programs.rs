//! Where the programs of the workspace are.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// What one user needs to run a gateway.
pub(super) const PROGRAMS: [&str; 9] = [
    "gatewayd",
    "mix-ingress",
    "mix-egress",
    "client-edge",
    "store",
    "http-api",
    "signer",
    "node-check",
    "validator-query",
];

/// The folder of the gateway's programs, if it is another than that of the tests: those of a release, for example.
const FOLDER_OF_PROGRAMS: &str = "GATEWAYD_PROGRAMS";

/// A program of the workspace. They are all in `target/<profile>`; tests run from `deps` below it.
///
/// # Errors
/// If it has not been built.
pub fn program(name: &str) -> Result<PathBuf> {
    let given = std::env::var_os(FOLDER_OF_PROGRAMS).map(|folder| Path::new(&folder).join(name));
    if let Some(given) = given.filter(|path| path.is_file()) {
        return Ok(given);
    }
    let this = std::env::current_exe()?;
    let mut folder = this.parent().context("this program is in no folder")?;
    if folder.ends_with("deps") {
        folder = folder.parent().context("this program is in no target folder")?;
    }
    let path = folder.join(name);
    ensure!(
        path.is_file(),
        "{} has not been built: these tests run the real programs, so build the workspace first (cargo build --workspace)",
        path.display()
    );
    Ok(path)
}
