//! Pages that the kernel never swaps, never dumps, and wipes in a child process.

use std::{ffi::c_void, io, num::NonZeroUsize, ptr::NonNull};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mlock, mmap_anonymous, munmap};

use super::LockError;

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
