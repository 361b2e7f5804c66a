//! What is left of a gateway that was killed.

use std::time::Duration;

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

/// How long a lock or a port may be held by the children of a supervisor that was killed. They die with the supervisor, but not at
/// the same instant.
pub(crate) const PREDECESSOR: Duration = Duration::from_secs(2);

/// Whether a process has this number. Asks the kernel, because `/proc` may hide the processes of other accounts.
pub(crate) fn process_exists(pid: Pid) -> bool {
    kill(pid, None) != Err(Errno::ESRCH)
}
