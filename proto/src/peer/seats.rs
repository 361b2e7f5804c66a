//! Places for connections: so many in all, so many for one address prefix.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::AddressPrefix;

/// The places at one port. Locked only when a connection begins or ends.
#[derive(Clone, Debug)]
pub struct Seats {
    most: usize,
    most_per_prefix: u32,
    taken: Arc<Mutex<Taken>>,
}

/// Holds no prefix without a connection, so it is bounded as connections are.
#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_prefix: HashMap<AddressPrefix, u32>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowded {
    /// As many connections as allowed are open.
    InAll,
    /// As many connections of this prefix as allowed are open.
    ForPrefix,
}

/// The place of one connection; free again when dropped.
#[derive(Debug)]
pub struct Seat {
    prefix: AddressPrefix,
    taken: Arc<Mutex<Taken>>,
}

impl Seats {
    /// So many places in all, and so many of them for one prefix.
    pub fn new(most: u32, most_per_prefix: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { most, most_per_prefix, taken: Arc::default() }
    }

    /// A place for a connection from this prefix.
    ///
    /// # Errors
    /// If there is none.
    pub fn take(&self, prefix: AddressPrefix) -> Result<Seat, Crowded> {
        let mut taken = lock(&self.taken);
        if taken.all >= self.most {
            return Err(Crowded::InAll);
        }
        let of_prefix = taken.by_prefix.get(&prefix).copied().unwrap_or(0);
        if of_prefix >= self.most_per_prefix {
            return Err(Crowded::ForPrefix);
        }
        taken.by_prefix.insert(prefix, of_prefix + 1);
        taken.all += 1;
        Ok(Seat { prefix, taken: Arc::clone(&self.taken) })
    }
}

impl Seat {
    /// Where the connection comes from.
    pub const fn prefix(&self) -> AddressPrefix {
        self.prefix
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all = taken.all.saturating_sub(1);
        if let Entry::Occupied(mut of_prefix) = taken.by_prefix.entry(self.prefix) {
            match *of_prefix.get() {
                ..=1 => drop(of_prefix.remove()),
                more => *of_prefix.get_mut() = more - 1,
            }
        }
    }
}

/// Nothing can panic while this is locked, and if it could, the numbers would still be right.
fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn stranger(number: u8) -> AddressPrefix {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, number)).into()
    }

    #[test]
    fn one_prefix_takes_its_share_and_no_more() {
        let seats = Seats::new(10, 2);
        let first = seats.take(stranger(1)).unwrap();
        let _second = seats.take(stranger(1)).unwrap();
        assert_eq!(seats.take(stranger(1)).unwrap_err(), Crowded::ForPrefix);
        let _other = seats.take(stranger(2)).unwrap();
        drop(first);
        let _third = seats.take(stranger(1)).unwrap();
    }

    #[test]
    fn there_are_so_many_in_all() {
        let seats = Seats::new(2, 2);
        let taken = [1, 2].map(|number| seats.take(stranger(number)).unwrap());
        assert_eq!(seats.take(stranger(3)).unwrap_err(), Crowded::InAll);
        drop(taken);
        assert!(seats.take(stranger(3)).is_ok());
    }

    #[test]
    fn nothing_is_kept_of_those_who_have_left() {
        let seats = Seats::new(300, 300);
        let taken: Vec<_> = (0..=255).map(|number| seats.take(stranger(number)).unwrap()).collect();
        assert_eq!(lock(&seats.taken).by_prefix.len(), 256);
        drop(taken);
        assert!(lock(&seats.taken).by_prefix.is_empty());
        assert_eq!(lock(&seats.taken).all, 0);
    }
}
