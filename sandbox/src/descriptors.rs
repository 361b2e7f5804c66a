//! Step 1: a worker starts with nothing open but what its supervisor meant it to have.
#![allow(unsafe_code)]

use std::{fs, io, os::fd::RawFd};

use nix::sys::resource::{Resource, getrlimit};

/// The first descriptor above standard error.
const FIRST: RawFd = 3;
/// Descriptors that a process may have at the most, unless the administrator has raised `fs.nr_open`.
const MOST: u64 = 1 << 20;

/// Closes every descriptor above standard error that the starting process left open.
///
/// # Errors
/// If the kernel tells neither which descriptors are open nor how many there may be.
pub fn close_inherited() -> io::Result<()> {
    // SAFETY: called first thing in `main`, before this process has opened anything, so no owned descriptor is closed
    // behind its owner's back.
    if unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, 0) } == 0 {
        return Ok(());
    }
    // The call is absent before Linux 5.9, and refused by the filters of some containers.
    for descriptor in open_descriptors()? {
        // SAFETY: as above. Closing a number that is not open, as that of the list itself, only returns an error.
        let _ = unsafe { libc::close(descriptor) };
    }
    Ok(())
}

/// The open descriptors by the list of the kernel; without `/proc`, every number that may be open.
fn open_descriptors() -> io::Result<Vec<RawFd>> {
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        return Ok(numbers.filter(|number| *number >= FIRST).collect());
    }
    // The hard limit: the soft one may have been lowered after descriptors were opened.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok((FIRST..RawFd::try_from(most.min(MOST)).unwrap_or(FIRST)).collect())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn the_kernels_list_has_what_is_open_and_no_standard_one() {
        let file = fs::File::open("/dev/null").unwrap();
        let open = open_descriptors().unwrap();
        assert!(open.contains(&file.as_raw_fd()) && open.iter().all(|number| *number >= FIRST), "{open:?}");
    }
}
