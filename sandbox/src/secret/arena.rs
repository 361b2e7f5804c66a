//! Slots for many small secrets that come and go, all of them locked before the jail closes: nothing can be locked after that.

use std::{fmt, io, sync::Arc};

use nix::sys::resource::{Resource, getrlimit};
use zeroize::ZeroizeOnDrop;

use super::{
    locked::Locked,
    pages::{LockError, Pages},
    slots::Slots,
};

/// Bytes of a page, or of some of them where pages are smaller.
const PAGE: usize = 4096;

/// Slots for a fixed number of secrets of one kind, in locked pages. Clones share the slots.
pub struct LockedArena<T>(Arc<Slots<T>>);

impl<T> Clone for LockedArena<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for LockedArena<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockedArena(secrets)")
    }
}

impl<T: ZeroizeOnDrop> LockedArena<T> {
    /// Locks memory for `count` secrets, `size_of::<T>()` bytes each.
    ///
    /// # Errors
    /// If the kernel gives no pages or will not lock them.
    pub fn new(count: usize) -> Result<Self, LockError> {
        let pages = Pages::new(count.saturating_mul(size_of::<T>()))?;
        let first = pages.start().cast::<T>();
        // SAFETY: all slots lie within the pages, which begin at an address that suits any `T`.
        let free = (0..count).map(|number| unsafe { first.add(number) }).collect();
        Ok(Self(Arc::new(Slots::new(pages, free))))
    }

    /// Locks memory for as many of `count` secrets as the limit on locked memory allows, and returns for how many.
    ///
    /// # Errors
    /// If there is not even a page, or something else than the limit is in the way.
    pub fn as_many_as_fit(count: usize) -> Result<(Self, usize), LockError> {
        let refused = match Self::new(count) {
            Ok(arena) => return Ok((arena, count)),
            Err(refused) => refused,
        };
        let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).map_err(io::Error::from)?;
        let fitting = slots_in(limit, size_of::<T>());
        if fitting == 0 || fitting >= count {
            return Err(refused);
        }
        Ok((Self::new(fitting)?, fitting))
    }

    /// Has `make` fill a free slot, which is free again when the secret is dropped. `None` if no slot is free. What `make` leaves
    /// on the stack is its own to wipe.
    pub fn keep(&self, make: impl FnOnce() -> T) -> Option<Locked<T>> {
        let slot = self.0.take()?;
        // SAFETY: a free slot is writable, aligned, large enough and not initialised, and `take` has given it to nobody else.
        unsafe { slot.write(make()) };
        Some(Locked { slot, slots: Arc::clone(&self.0) })
    }
}

/// How many slots of `size` bytes there are in whole pages of `limit` bytes, if nothing else is locked. One byte goes to [`Pages`].
fn slots_in(limit: u64, size: usize) -> usize {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    (limit - limit % PAGE).saturating_sub(1) / size.max(1)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::{super::pages::tests::expect_to_be_safe, *};

    type Secret = Zeroizing<[u8; 33]>;

    fn look(kept: &Locked<Secret>) -> &[u8; 33] {
        kept
    }

    #[test]
    fn each_slot_keeps_one_locked_secret_and_a_full_arena_none() {
        let arena = LockedArena::<Secret>::new(1_000).unwrap();
        let mut kept: Vec<_> = (0..1_000).map(|n| arena.keep(|| Zeroizing::new([n as u8; 33])).unwrap()).collect();
        assert!(arena.keep(|| Zeroizing::new([0; 33])).is_none());
        for (number, secret) in kept.iter().enumerate() {
            assert_eq!(look(secret), &[number as u8; 33]);
        }
        for secret in [&kept[0], &kept[999]] {
            expect_to_be_safe(secret.slot.as_ptr() as usize);
        }
        assert_eq!(format!("{:?} {arena:?}", kept[0]), "Locked(secret) LockedArena(secrets)");
        kept.truncate(999);
        let another = arena.keep(|| Zeroizing::new([9; 33])).unwrap();
        assert_eq!(look(&another), &[9; 33]);
        assert_eq!(look(&kept[998]), &[998_u16 as u8; 33]);
    }

    #[test]
    fn slots_fill_the_pages_of_the_limit_and_no_more() {
        assert_eq!(slots_in(64 * 1024, 65), 1_008);
        assert_eq!(slots_in(64 * 1024 + 4_095, 65), 1_008);
        assert_eq!(slots_in(4_095, 65), 0);
        assert!(slots_in(u64::MAX, 65) > 1 << 40);
    }

    #[test]
    fn all_slots_are_there_if_the_limit_allows() {
        let (arena, count) = LockedArena::<Secret>::as_many_as_fit(10).unwrap();
        let kept: Vec<_> = (0..10).map(|_| arena.keep(|| Zeroizing::new([1; 33])).unwrap()).collect();
        assert_eq!((kept.len(), count), (10, 10));
    }

    #[test]
    fn a_secret_is_wiped_when_it_leaves_its_slot() {
        let arena = LockedArena::<Secret>::new(1).unwrap();
        let kept = arena.keep(|| Zeroizing::new([7; 33])).unwrap();
        let slot = kept.slot;
        drop(kept);
        // SAFETY: `arena` still holds the pages; any bytes make an array.
        assert_eq!(unsafe { slot.cast::<[u8; 33]>().read() }, [0; 33]);
    }

    #[test]
    fn the_pages_stay_as_long_as_a_secret_is_there() {
        let arena = LockedArena::<Secret>::new(1).unwrap();
        let kept = arena.keep(|| Zeroizing::new([7; 33])).unwrap();
        drop(arena);
        assert_eq!(look(&kept), &[7; 33]);
    }

    #[test]
    fn threads_never_share_a_slot() {
        let arena = LockedArena::<Secret>::new(4).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let arena = arena.clone();
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        let kept = arena.keep(|| Zeroizing::new([thread; 33])).unwrap();
                        assert_eq!(look(&kept), &[thread; 33]);
                    }
                });
            }
        });
    }
}
