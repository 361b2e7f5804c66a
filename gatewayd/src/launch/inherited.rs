//! What a process was given before it began: listening sockets by a service manager, or listening sockets and programs by the program that it
//! was before.

use std::os::fd::OwnedFd;

use super::{
    binaries::{self, Program},
    passed::{PassedError, PassedListeners},
    per_role::PerRole,
};

/// What was given to this process, and is not used yet.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    pub(super) listeners: PassedListeners,
    /// The programs of the workers, if they are not those beside this program.
    pub(super) programs: Option<PerRole<Option<Program>>>,
}

impl Inherited {
    /// Nothing was given.
    pub(crate) fn nothing() -> Self {
        Self::default()
    }

    /// What a service manager passes.
    ///
    /// # Errors
    /// If it is not what a service manager passes.
    pub(crate) fn from_service_manager() -> Result<Self, PassedError> {
        Ok(Self { listeners: PassedListeners::take()?, programs: None })
    }

    /// What the program hands over which this process was before: listening sockets, and the programs to run if they are not those beside
    /// this program.
    ///
    /// # Errors
    /// If one of the sockets does not listen.
    pub(crate) fn from_predecessor(
        listeners: Vec<(String, OwnedFd)>,
        programs: Option<Vec<(String, OwnedFd)>>,
    ) -> Result<Self, PassedError> {
        Ok(Self { listeners: PassedListeners::handed_over(listeners)?, programs: programs.map(binaries::handed_over) })
    }
}
