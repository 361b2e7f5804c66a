//! What a new `gatewayd` does when a running one tries it: it is started with the arguments and the environment of the running one, and says
//! whether a gateway could run with it.
//!
//! *Promises*: the running gateway is not disturbed: no port of its configuration is bound, and no lock of its data is taken.

use std::path::{Path, PathBuf};

use super::builds;
use crate::{
    audit::self_test::SelfTest,
    console::Console,
    handover::{FORMAT, Fitness},
    path_guard::PathGuard,
    paths::{GatewayId, GatewayPaths},
    plan::{self, PlanSource},
};

/// The new `gatewayd` could not run the gateway.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UnfitProgram(String);

/// Tries this `gatewayd` and the programs beside it for gateway `id`, which runs as from `source`. `format` is that of the record which the
/// running supervisor would hand over.
///
/// # Errors
/// If the gateway could not run with them. That is the answer, too.
pub fn execute(id: &GatewayId, source: PlanSource, format: u32, console: &mut Console<'_>) -> Result<(), UnfitProgram> {
    let tried = try_all(id, source, format);
    let answer = match &tried {
        Ok(()) => Fitness::Fit {
            version: format!("gatewayd {} (commit {})", env!("CARGO_PKG_VERSION"), env!("GATEWAYD_COMMIT")),
        },
        Err(why) => Fitness::Unfit { why: why.clone() },
    };
    console.line(serde_json::to_string(&answer).unwrap_or_default());
    tried.map_err(UnfitProgram)
}

fn try_all(id: &GatewayId, source: PlanSource, format: u32) -> Result<(), String> {
    fn text(error: impl std::fmt::Display) -> String {
        error.to_string()
    }
    if format != FORMAT {
        return Err(format!(
            "the running gateway hands over in form {format} and the new gatewayd takes form {FORMAT}: restart the gateway instead"
        ));
    }
    let own: PathBuf = std::env::current_exe().map_err(text)?;
    let folder = own.parent().unwrap_or(Path::new("/")).to_owned();
    let paths = GatewayPaths::new(&source.root, id);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
    runtime.block_on(async {
        builds::ask_all(&folder).await.map_err(text)?;
        let plan = plan::from_source(id, PathGuard::new(paths.home()), source).map_err(text)?;
        // Each worker closes its jail once.
        SelfTest::begin(&plan).await.map(drop).map_err(text)
    })
}
