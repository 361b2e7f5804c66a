//! How many bytes of packets the process may hold for all next hops together.
//!
//! Promises that room is given back exactly when what took it is dropped, on whatever path.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The room that is left.
#[derive(Debug)]
pub(crate) struct Room(Arc<AtomicUsize>);

impl Room {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Takes `bytes`, or nothing if there are not as many left.
    pub(crate) fn take(&self, bytes: usize) -> Option<TakenRoom> {
        self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).ok()?;
        Some(TakenRoom { from: Arc::clone(&self.0), bytes })
    }
}

/// Room that is in use until this is dropped.
#[derive(Debug)]
pub(crate) struct TakenRoom {
    from: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for TakenRoom {
    fn drop(&mut self) {
        self.from.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_and_comes_back() {
        let room = Room::new(10);
        let seven = room.take(7).unwrap();
        assert!(room.take(4).is_none());
        let three = room.take(3).unwrap();
        assert!(room.take(1).is_none());
        drop(seven);
        assert!(room.take(8).is_none());
        assert!(room.take(7).is_some());
        drop(three);
        assert!(room.take(10).is_some());
    }
}
