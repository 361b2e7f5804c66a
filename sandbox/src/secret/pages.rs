//! Pages that the kernel never swaps, never dumps, and wipes in a child process.

use std::{ffi::c_void, io, num::NonZeroUsize, ptr::NonNull};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mlock, mmap_anonymous, munmap};

/// The secret's memory could not be locked.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot lock memory for a secret: {0}; raise the limit on locked memory (LimitMEMLOCK in systemd, `ulimit -l`)"
)]
pub struct LockError(#[from] io::Error);

/// Locked pages, unmapped on drop. A secret in them must have been wiped by then.
pub(super) struct Pages {
    start: NonNull<c_void>,
    len: NonZeroUsize,
}

// SAFETY: a mapping belongs to the process and not to the thread that made it; nothing here is read or written through the pointer.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// At least `len` bytes, all of them zero.
    ///
    /// # Errors
    /// If the kernel gives no pages or will not lock them.
    pub(super) fn new(len: usize) -> Result<Self, LockError> {
        let len = NonZeroUsize::MIN.saturating_add(len);
        // SAFETY: a fresh anonymous mapping that nothing else refers to.
        let start =
            unsafe { mmap_anonymous(None, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE) }
                .map_err(io::Error::from)?;
        let pages = Self { start, len };
        // SAFETY: the mapping made above, of this length.
        unsafe { mlock(start, len.get()) }.map_err(io::Error::from)?;
        for advice in [MmapAdvise::MADV_DONTDUMP, MmapAdvise::MADV_WIPEONFORK] {
            // SAFETY: the mapping made above, of this length; neither advice changes what this process sees.
            unsafe { madvise(start, len.get(), advice) }.map_err(io::Error::from)?;
        }
        Ok(pages)
    }

    /// The address of the first page.
    pub(super) const fn start(&self) -> NonNull<c_void> {
        self.start
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`; every user of the mapping holds this value.
        let _ = unsafe { munmap(self.start, self.len.get()) };
    }
}

#[cfg(test)]
pub(super) mod tests {
    /// The memory at this address is locked, left out of dumps, and not inherited.
    pub(in super::super) fn expect_to_be_safe(address: usize) {
        let flags = smaps_of(address);
        let flags = flags.lines().find(|line| line.starts_with("VmFlags:")).unwrap();
        for flag in ["lo", "dd", "wf"] {
            assert!(flags.split(' ').any(|f| f == flag), "{flag} is missing in {flags}");
        }
    }

    fn smaps_of(address: usize) -> String {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut found = false;
        let mut lines = String::new();
        for line in smaps.lines() {
            if let Some((range, _)) = line.split_once(' ')
                && let Some((low, high)) = range.split_once('-')
                && let (Ok(low), Ok(high)) = (usize::from_str_radix(low, 16), usize::from_str_radix(high, 16))
            {
                found = (low..high).contains(&address);
            }
            if found {
                lines.push_str(line);
                lines.push('\n');
            }
        }
        lines
    }
}
