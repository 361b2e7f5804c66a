//! Step 3: secrets live in memory that is never swapped, never dumped, never inherited, and wiped at the end.
#![allow(unsafe_code)]

mod arena;
mod pages;

use std::{borrow::Borrow, fmt, io, ops::Deref, ptr::NonNull, sync::Arc};

use zeroize::ZeroizeOnDrop;

pub use arena::LockedArena;
use arena::Slots;
use pages::Pages;

/// The secret's memory could not be locked.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot lock memory for a secret: {0}; raise the limit on locked memory (LimitMEMLOCK in systemd, `ulimit -l`)"
)]
pub struct LockError(#[from] io::Error);

/// A value that wipes itself when dropped, in locked pages: pages of its own, or a slot of a [`LockedArena`]. Never printed.
pub struct Locked<T: ZeroizeOnDrop> {
    slot: NonNull<T>,
    slots: Arc<Slots<T>>,
}

// SAFETY: the slot belongs to this value alone, so it may move between threads as a `Box<T>` may.
unsafe impl<T: ZeroizeOnDrop + Send> Send for Locked<T> {}
// SAFETY: shared access is plain `&T`, as with a `Box<T>`.
unsafe impl<T: ZeroizeOnDrop + Sync> Sync for Locked<T> {}

impl<T: ZeroizeOnDrop> Locked<T> {
    /// Takes pages and has `make` fill them. What `make` leaves on the stack is its own to wipe.
    ///
    /// # Errors
    /// If the kernel gives no pages or will not lock them.
    pub fn new(make: impl FnOnce() -> T) -> Result<Self, LockError> {
        let pages = Pages::new(size_of::<T>())?;
        let slot = pages.start().cast::<T>();
        // SAFETY: writable, aligned to a page, large enough, and not yet initialised.
        unsafe { slot.write(make()) };
        Ok(Self { slot, slots: Arc::new(Slots::new(pages, Vec::new())) })
    }
}

impl<T: ZeroizeOnDrop> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the slot was initialised when this value was made, and is valid until `drop`.
        unsafe { self.slot.as_ref() }
    }
}

impl<T: ZeroizeOnDrop> Borrow<T> for Locked<T> {
    fn borrow(&self) -> &T {
        self
    }
}

impl<T: ZeroizeOnDrop> Drop for Locked<T> {
    fn drop(&mut self) {
        // SAFETY: initialised, and never used again; dropping wipes it, and the pages go after that.
        unsafe { self.slot.drop_in_place() };
        self.slots.release(self.slot);
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

    /// The memory at this address is locked, left out of dumps, and not inherited.
    pub(super) fn expect_to_be_safe(address: usize) {
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

    #[test]
    fn a_secret_is_locked_and_kept_out_of_dumps_and_children() {
        let secret = Locked::new(|| Zeroizing::new([7_u8; 32])).unwrap();
        assert_eq!(**secret, [7; 32]);
        expect_to_be_safe(secret.slot.as_ptr() as usize);
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
