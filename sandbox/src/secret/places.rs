//! Room for many small secrets that come and go, all of it locked before the jail closes: nothing can be locked after that.

use std::{
    fmt, io,
    ptr::NonNull,
    sync::{Arc, Mutex, PoisonError},
};

use nix::sys::resource::{Resource, getrlimit};
use zeroize::ZeroizeOnDrop;

use super::{LockError, Locked, Pages};

/// Bytes of a page, or of some of them where pages are smaller.
const PAGE: usize = 4096;

/// Places for so many secrets of one kind, in locked pages. Clones are the same places.
pub struct Places<T>(Arc<Room<T>>);

/// Pages, and where in them nobody is.
pub(super) struct Room<T> {
    free: Mutex<Vec<NonNull<T>>>,
    /// Given back once nobody is there.
    _pages: Pages,
}

// SAFETY: of `T` there is nothing here. The pointers lead to places of these pages where nobody is, and whoever takes one out is
// the only one that has it.
unsafe impl<T> Send for Room<T> {}
// SAFETY: as above; they are taken out and given back under the lock.
unsafe impl<T> Sync for Room<T> {}

impl<T> Room<T> {
    /// All `free` places must be in `pages`.
    pub(super) const fn new(pages: Pages, free: Vec<NonNull<T>>) -> Self {
        Self { free: Mutex::new(free), _pages: pages }
    }

    fn take_place(&self) -> Option<NonNull<T>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Whoever was there has been dropped.
    pub(super) fn free_again(&self, place: NonNull<T>) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(place);
    }
}

impl<T> Clone for Places<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Places<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Places(secrets)")
    }
}

impl<T: ZeroizeOnDrop> Places<T> {
    /// Takes room for `count` secrets, `size_of::<T>()` bytes each.
    ///
    /// # Errors
    /// If the kernel gives no pages or will not lock them.
    pub fn new(count: usize) -> Result<Self, LockError> {
        let pages = Pages::new(count.saturating_mul(size_of::<T>()))?;
        let first = pages.start().cast::<T>();
        // SAFETY: all of them lie within the pages, which begin where any `T` may lie.
        let free = (0..count).map(|number| unsafe { first.add(number) }).collect();
        Ok(Self(Arc::new(Room::new(pages, free))))
    }

    /// Takes room for as many of `count` secrets as the limit on locked memory allows, and says for how many.
    ///
    /// # Errors
    /// If there is not even a page, or something else than the limit is in the way.
    pub fn as_many_as_fit(count: usize) -> Result<(Self, usize), LockError> {
        let refused = match Self::new(count) {
            Ok(places) => return Ok((places, count)),
            Err(refused) => refused,
        };
        let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).map_err(io::Error::from)?;
        let fitting = places_in(limit, size_of::<T>());
        if fitting == 0 || fitting >= count {
            return Err(refused);
        }
        Ok((Self::new(fitting)?, fitting))
    }

    /// Has `make` fill a free place, which is free again when that is dropped. `None` if no place is free. What `make` leaves on
    /// the stack is its own to wipe.
    pub fn keep(&self, make: impl FnOnce() -> T) -> Option<Locked<T>> {
        let place = self.0.take_place()?;
        // SAFETY: a free place is writable, aligned, large enough and not initialised, and no longer in anybody else's hands.
        unsafe { place.write(make()) };
        Some(Locked { place, room: Arc::clone(&self.0) })
    }
}

/// How many places of `size` bytes there are in whole pages of `limit` bytes, if nothing else is locked. One byte goes to [`Pages`].
fn places_in(limit: u64, size: usize) -> usize {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    (limit - limit % PAGE).saturating_sub(1) / size.max(1)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::{super::tests::expect_to_be_safe, *};

    type Secret = Zeroizing<[u8; 33]>;

    fn look(kept: &Locked<Secret>) -> &[u8; 33] {
        kept
    }

    #[test]
    fn as_many_secrets_are_kept_as_there_are_places_and_each_is_locked() {
        let places = Places::<Secret>::new(1_000).unwrap();
        let mut kept: Vec<_> = (0..1_000).map(|n| places.keep(|| Zeroizing::new([n as u8; 33])).unwrap()).collect();
        assert!(places.keep(|| Zeroizing::new([0; 33])).is_none());
        for (number, secret) in kept.iter().enumerate() {
            assert_eq!(look(secret), &[number as u8; 33]);
        }
        for secret in [&kept[0], &kept[999]] {
            expect_to_be_safe(secret.place.as_ptr() as usize);
        }
        assert_eq!(format!("{:?} {places:?}", kept[0]), "Locked(secret) Places(secrets)");
        kept.truncate(999);
        let another = places.keep(|| Zeroizing::new([9; 33])).unwrap();
        assert_eq!(look(&another), &[9; 33]);
        assert_eq!(look(&kept[998]), &[998_u16 as u8; 33]);
    }

    #[test]
    fn places_fill_the_pages_of_the_limit_and_no_more() {
        assert_eq!(places_in(64 * 1024, 65), 1_008);
        assert_eq!(places_in(64 * 1024 + 4_095, 65), 1_008);
        assert_eq!(places_in(4_095, 65), 0);
        assert!(places_in(u64::MAX, 65) > 1 << 40);
    }

    #[test]
    fn all_places_are_there_if_the_limit_allows() {
        let (places, count) = Places::<Secret>::as_many_as_fit(10).unwrap();
        let kept: Vec<_> = (0..10).map(|_| places.keep(|| Zeroizing::new([1; 33])).unwrap()).collect();
        assert_eq!((kept.len(), count), (10, 10));
    }

    #[test]
    fn a_secret_is_wiped_when_it_leaves_its_place() {
        let places = Places::<Secret>::new(1).unwrap();
        let kept = places.keep(|| Zeroizing::new([7; 33])).unwrap();
        let place = kept.place;
        drop(kept);
        // SAFETY: `places` still holds the pages; any bytes make an array.
        assert_eq!(unsafe { place.cast::<[u8; 33]>().read() }, [0; 33]);
    }

    #[test]
    fn the_pages_stay_as_long_as_a_secret_is_there() {
        let places = Places::<Secret>::new(1).unwrap();
        let kept = places.keep(|| Zeroizing::new([7; 33])).unwrap();
        drop(places);
        assert_eq!(look(&kept), &[7; 33]);
    }

    #[test]
    fn threads_never_share_a_place() {
        let places = Places::<Secret>::new(4).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let places = places.clone();
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        let kept = places.keep(|| Zeroizing::new([thread; 33])).unwrap();
                        assert_eq!(look(&kept), &[thread; 33]);
                    }
                });
            }
        });
    }
}
