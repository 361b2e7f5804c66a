//! The disk under the gateway's data: a small one of its own, if this program may mount one, so that it can be filled, and
//! turned read-only.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use need::Need;
use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

use crate::deadline::bounded;

/// Bytes by which the ballast grows, as long as there is room for so many.
const PIECE: i64 = 1 << 20;
const PAGE: i64 = 1 << 12;
const BALLAST: &str = "lost+found/ballast";

/// Whether this program may mount. From now on its mounts are seen by itself and by the programs that it starts alone, and end with
/// them. Call before any thread starts.
pub fn may_mount() -> bool {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(None::<&str>, "/", None::<&str>, private, None::<&str>))
        .is_ok()
}

/// Runs a whole test of `promise` that mounts disks: no other process sees its mounts, and they end with it. Where nothing may be
/// mounted, the test is listed as left out.
///
/// # Errors
/// The test's.
pub fn with_disks(promise: u8, test: impl Future<Output = Result<()>>) -> Result<()> {
    if !may_mount() {
        need::missing(Need::Mount, promise);
        return Ok(());
    }
    tokio::runtime::Runtime::new()?.block_on(bounded(test))
}

/// What a disk is formatted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// In memory.
    Tmpfs,
    /// With a journal, in a file beside the folder.
    Ext4,
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A disk of its own at a folder.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts an empty one with this many MiB at `folder`.
    ///
    /// # Errors
    /// If it cannot.
    pub fn mount(folder: &Path, mib: u32) -> Result<Self> {
        Self::mount_as(FileSystem::Tmpfs, folder, mib)
    }

    /// Whether a file can be mounted as a disk here.
    pub fn may_loop() -> bool {
        File::options().read(true).write(true).open("/dev/loop-control").is_ok()
    }

    /// Mounts an empty one of this kind with this many MiB at `folder`.
    ///
    /// # Errors
    /// If it cannot.
    pub fn mount_as(file_system: FileSystem, folder: &Path, mib: u32) -> Result<Self> {
        fs::create_dir_all(folder)?;
        if file_system == FileSystem::Ext4 {
            let image = folder.with_extension("image");
            File::create(&image)?.set_len(u64::from(mib) << 20)?;
            run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image))?;
            run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(folder))?;
            return Ok(Self { folder: folder.to_owned() });
        }
        let size = format!("size={mib}m");
        mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))
            .with_context(|| format!("cannot mount a disk at {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Leaves no byte free.
    ///
    /// # Errors
    /// If something else happens than that the disk is full.
    pub fn fill(&self) -> Result<()> {
        let ballast = self.folder.join(BALLAST);
        ballast.parent().map_or(Ok(()), fs::create_dir_all)?;
        let ballast = File::create(ballast)?;
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

    /// Makes it read-only, or writable again. Fails while a file is open for writing.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn set_read_only(&self, read_only: bool) -> Result<()> {
        let flags = if read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        let change = mount(None::<&str>, &self.folder, None::<&str>, flags | MsFlags::MS_REMOUNT, None::<&str>);
        change.with_context(|| format!("cannot remount {}", self.folder.display()))
    }

    /// Gives the space back.
    ///
    /// # Errors
    /// If there is no ballast.
    pub fn free(&self) -> Result<()> {
        fs::remove_file(self.folder.join(BALLAST)).context("cannot remove the ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Otherwise it goes with this program.
        let _ = umount2(&self.folder, MntFlags::MNT_DETACH);
    }
}
