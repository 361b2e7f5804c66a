//! The directories of a dry run: those of the data are locked and left as they are, and the probes get empty ones in their place.
//!
//! *Promises*: nothing of the data changes, not even an owner, and what is missing is not made.

use std::{fs, io, os::fd::OwnedFd};

use ipc::Role;
use nix::{fcntl::open, sys::stat::Mode};
use tempfile::TempDir;

use super::{
    accounts::Accounts,
    data_folders::{DataFolders, LockedFolder, lock_existing},
    resources::ResourceError,
    spec::LaunchError,
};
use crate::{path_guard::DIRECTORY, plan::RunPlan, system_error::SystemError};

/// What a dry run holds while its probes run.
#[derive(Debug)]
pub(crate) struct TrialFolders {
    _held: [Option<LockedFolder>; 3],
    /// Removed when dropped. The directories in it are given to the account of the store; it itself is not, so that they can be removed.
    _stand_ins: TempDir,
}

/// Locks the directories that exist, and makes empty ones in a place of their own.
///
/// # Errors
/// If one cannot be used, or another gateway uses it.
pub(crate) fn open_trial_data(plan: &RunPlan, accounts: Accounts) -> Result<(TrialFolders, DataFolders), LaunchError> {
    let store = *accounts.of_workers().get(Role::Store);
    let held = lock_existing(&plan.config, &plan.guard, store).map_err(ResourceError::from)?;
    let failed = SystemError::during("make folders in the place of the data for the dry run");
    let (stand_ins, data) = stand_ins().map_err(failed)?;
    Ok((TrialFolders { _held: held, _stand_ins: stand_ins }, data))
}

fn stand_ins() -> io::Result<(TempDir, DataFolders)> {
    let folder = TempDir::new()?;
    let make = |name: &str| -> io::Result<LockedFolder> {
        let path = folder.path().join(name);
        fs::create_dir(&path)?;
        let directory: OwnedFd = open(&path, DIRECTORY, Mode::empty())?;
        Ok(LockedFolder::Unlocked(directory))
    };
    let data = DataFolders { ledger: make("ledger")?, inboxes: make("inboxes")?, replay: make("replay")? };
    Ok((folder, data))
}
