//! The disk under the gateway's data: a small one of its own, if this program may mount one, so that it can be filled.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

/// Large enough for all mail of a run, small enough to be filled at once.
const SIZE: &str = "size=768m";
/// Bytes by which the ballast grows, as long as there is room for so many.
const PIECE: i64 = 1 << 20;
const PAGE: i64 = 1 << 12;
const BALLAST: &str = "ballast";

/// Sees to it that what is mounted from now on is seen by this program and those that it starts only, and gone when they are.
/// Says whether it may mount anything at all. Call before any thread starts.
pub(crate) fn may_mount() -> bool {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(None::<&str>, "/", None::<&str>, private, None::<&str>))
        .is_ok()
}

/// A disk of its own at a folder.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts an empty one at `folder`.
    ///
    /// # Errors
    /// If it cannot.
    pub(crate) fn mount(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some(SIZE))
            .with_context(|| format!("cannot mount a disk at {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Leaves no byte free.
    ///
    /// # Errors
    /// If something else happens than that the disk is full.
    pub(crate) fn fill(&self) -> Result<()> {
        let ballast = File::create(self.folder.join(BALLAST))?;
        let mut len = 0;
        for piece in [PIECE, PAGE] {
            loop {
                match fallocate(&ballast, FallocateFlags::empty(), len, piece) {
                    Ok(()) => len += piece,
                    Err(Errno::ENOSPC) => break,
                    Err(error) => return Err(error).context("cannot fill the disk"),
                }
            }
        }
        Ok(())
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// If there is no ballast.
    pub(crate) fn free(&self) -> Result<()> {
        fs::remove_file(self.folder.join(BALLAST)).context("cannot remove the ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Otherwise it goes with this program.
        let _ = umount2(&self.folder, MntFlags::MNT_DETACH);
    }
}
