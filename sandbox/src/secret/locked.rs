//! One secret in locked memory.

use std::{borrow::Borrow, fmt, ops::Deref, ptr::NonNull, sync::Arc};

use zeroize::ZeroizeOnDrop;

use super::{
    pages::{LockError, Pages},
    slots::Slots,
};

/// A value that wipes itself when dropped, in locked pages: pages of its own, or a slot of a [`LockedArena`]. Never printed.
pub struct Locked<T: ZeroizeOnDrop> {
    pub(super) slot: NonNull<T>,
    pub(super) slots: Arc<Slots<T>>,
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
    use zeroize::Zeroizing;

    use super::{super::pages::tests::expect_to_be_safe, *};

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
