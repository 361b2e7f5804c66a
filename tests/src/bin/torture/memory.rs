//! What the gateway can be expected to remember of the packets it has seen: all of them until its mix-ingress dies, and then
//! those from before the last save had begun.

use std::{fs, path::Path, time::Instant};

use anyhow::Result;
use tests::home::Home;

/// The files that the gateway keeps its memory in.
const FILES: [&str; 2] = ["generation-even", "generation-odd"];

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
    let folder = data.join("replay");
    let made = FILES.iter().filter_map(|name| fs::metadata(folder.join(name)).ok()?.created().ok());
    Instant::now().checked_sub(made.max()?.elapsed().ok()?)
}

/// A time from which the gateway may have forgotten what it saw.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gap {
    /// Afterwards, if there was a save at all.
    pub(crate) from: Option<Instant>,
    /// Until then.
    pub(crate) to: Instant,
}

impl Gap {
    /// Whether something that happened at some time between these two may have been forgotten.
    pub(crate) fn may_hold(&self, earliest: Instant, latest: Instant) -> bool {
        earliest <= self.to && self.from.is_none_or(|from| latest > from)
    }
}
