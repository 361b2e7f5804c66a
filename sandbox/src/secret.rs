//! Step 3: secrets live in memory of their own that is never swapped, never dumped, never inherited, and wiped at the end.
#![allow(unsafe_code)]

use std::{fmt, io, ops::Deref, ptr::NonNull};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mlock, mmap_anonymous, munmap};
use zeroize::ZeroizeOnDrop;

/// The secret's memory could not be locked.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot lock memory for a secret: {0}; raise the limit on locked memory (LimitMEMLOCK in systemd, `ulimit -l`)"
)]
pub struct LockError(#[from] io::Error);

/// A value that wipes itself when dropped, in locked pages of its own. Never printed.
pub struct Locked<T: ZeroizeOnDrop> {
    place: NonNull<T>,
    len: std::num::NonZeroUsize,
}

// SAFETY: the pages belong to this value alone, so it may move between threads as a `Box<T>` may.
unsafe impl<T: ZeroizeOnDrop + Send> Send for Locked<T> {}
// SAFETY: shared access is plain `&T`, as with a `Box<T>`.
unsafe impl<T: ZeroizeOnDrop + Sync> Sync for Locked<T> {}

impl<T: ZeroizeOnDrop> Locked<T> {
    /// Takes pages and has `make` fill them. What `make` leaves on the stack is its own to wipe.
    ///
    /// # Errors
    /// If the kernel gives no pages or will not lock them.
    pub fn new(make: impl FnOnce() -> T) -> Result<Self, LockError> {
        let len = std::num::NonZeroUsize::MIN.saturating_add(size_of::<T>());
        // SAFETY: a fresh anonymous mapping that nothing else refers to; page alignment is enough for any `T`.
        let place =
            unsafe { mmap_anonymous(None, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE) }
                .map_err(io::Error::from)?;
        let unmap_on_error = |error: nix::Error| {
            // SAFETY: the mapping made above, not yet handed to anyone.
            let _ = unsafe { munmap(place, len.get()) };
            LockError(error.into())
        };
        // SAFETY: the mapping made above, of this length.
        unsafe { mlock(place, len.get()) }.map_err(unmap_on_error)?;
        for advice in [MmapAdvise::MADV_DONTDUMP, MmapAdvise::MADV_WIPEONFORK] {
            // SAFETY: the mapping made above, of this length; neither advice changes what this process sees.
            unsafe { madvise(place, len.get(), advice) }.map_err(unmap_on_error)?;
        }
        let place = place.cast::<T>();
        // SAFETY: writable, aligned to a page, large enough, and not yet initialised.
        unsafe { place.write(make()) };
        Ok(Self { place, len })
    }
}

impl<T: ZeroizeOnDrop> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: initialised in `new` and valid until `drop`.
        unsafe { self.place.as_ref() }
    }
}

impl<T: ZeroizeOnDrop> Drop for Locked<T> {
    fn drop(&mut self) {
        // SAFETY: initialised in `new` and never used again; dropping wipes it, and the pages go right after.
        unsafe {
            self.place.drop_in_place();
            let _ = munmap(self.place.cast(), self.len.get());
        }
    }
}

impl<T: ZeroizeOnDrop> fmt::Debug for Locked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Locked(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

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

    #[test]
    fn a_secret_is_locked_and_kept_out_of_dumps_and_children() {
        let secret = Locked::new(|| Zeroizing::new([7_u8; 32])).unwrap();
        assert_eq!(**secret, [7; 32]);
        let flags = smaps_of(secret.place.as_ptr() as usize);
        let flags = flags.lines().find(|line| line.starts_with("VmFlags:")).unwrap();
        for flag in ["lo", "dd", "wf"] {
            assert!(flags.split(' ').any(|f| f == flag), "{flag} is missing in {flags}");
        }
        assert_eq!(format!("{secret:?}"), "Locked(secret)");
    }

    #[test]
    fn a_secret_is_wiped_before_its_memory_goes() {
        struct Witness<'a>(&'a std::cell::Cell<bool>);
        impl ZeroizeOnDrop for Witness<'_> {}
        impl Drop for Witness<'_> {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let wiped = std::cell::Cell::new(false);
        drop(Locked::new(|| Witness(&wiped)).unwrap());
        assert!(wiped.get());
    }
}
