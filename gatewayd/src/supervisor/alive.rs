//! Whether a process runs.

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

/// Whether there is a process of this number. The kernel is asked, not /proc, which may hide those of other accounts.
pub(super) fn runs(process: Pid) -> bool {
    kill(process, None) != Err(Errno::ESRCH)
}
