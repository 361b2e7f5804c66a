//! What the gateway can be expected to remember of the packets it has seen: all of them until its mix-ingress dies, and then
//! those from before the last save had begun.

use std::{fs, path::Path, time::Instant};

use anyhow::Result;
use harness::home::Home;

/// Has the gateway save often, as measured by the faults of a run, and little.
///
/// # Errors
/// If the configuration knows nothing of it.
pub(crate) fn save_often(home: &Home) -> Result<()> {
    home.set_config("replay", "snapshot_interval", "'500ms'")?;
    home.set_config("replay", "packets_per_generation", "2_000_000")
}

/// When the last save that was completed had begun: a file is made first, and gets its name when it is whole.
pub(crate) fn saved_at(data: &Path) -> Option<Instant> {
    let files = fs::read_dir(data.join("replay")).ok()?.filter_map(Result::ok);
    let whole = files.filter(|file| file.path().extension().is_none());
    let made = whole.filter_map(|file| file.metadata().ok()?.created().ok());
    Instant::now().checked_sub(made.max()?.elapsed().ok()?)
}
