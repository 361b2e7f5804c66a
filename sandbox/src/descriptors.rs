//! Step 1: a worker starts with nothing open but what its supervisor meant it to have.
#![allow(unsafe_code)]

use std::io;

/// Closes every descriptor above standard error, whatever the process that started us had left open.
///
/// # Errors
/// If the kernel refuses (`close_range`, Linux 5.9).
pub fn close_inherited() -> io::Result<()> {
    const FIRST: u32 = 3;
    // SAFETY: called first thing in `main`, before this process has opened anything, so no owned descriptor is closed
    // behind its owner's back.
    let done = unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
