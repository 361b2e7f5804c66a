//! The free slots of locked pages.

use std::{
    ptr::NonNull,
    sync::{Mutex, PoisonError},
};

use super::pages::Pages;

/// Locked pages, and the slots in them that are free.
pub(super) struct Slots<T> {
    free: Mutex<Vec<NonNull<T>>>,
    /// Unmapped after the last secret has left its slot.
    _pages: Pages,
}

// SAFETY: no `T` is kept here. The pointers lead to free slots of these pages, and a slot that is taken out has one owner.
unsafe impl<T> Send for Slots<T> {}
// SAFETY: as above; slots are taken out and given back under the lock.
unsafe impl<T> Sync for Slots<T> {}

impl<T> Slots<T> {
    /// All `free` slots must be in `pages`.
    pub(super) const fn new(pages: Pages, free: Vec<NonNull<T>>) -> Self {
        Self { free: Mutex::new(free), _pages: pages }
    }

    pub(super) fn take(&self) -> Option<NonNull<T>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// The secret in `slot` must have been dropped.
    pub(super) fn release(&self, slot: NonNull<T>) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
    }
}
