//! The result of a bare system call.

use std::io;

/// The result of a system call that returns -1 for an error.
pub(super) fn answer(returned: libc::c_long) -> io::Result<libc::c_long> {
    if returned == -1 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}
