//! Those who are connected and have not proved who they are: so many at the most.
//!
//! With one too many the *oldest* has to go, not the newcomer. A client proves who it is within a second, so whoever has
//! been here longest is most likely none; and if newcomers were turned away, whoever fills the lobby once and says nothing
//! would lock everybody out for as long as the time limits allow.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use proto::{ipc::store_edge::SessionId, peer::AddressPrefix};
use tokio::sync::Notify;

/// The lobby. Locked when a connection comes and when it leaves, never in between.
#[derive(Clone, Debug)]
pub(crate) struct Lobby {
    most: usize,
    /// Sessions are numbered in the order in which they came.
    guests: Arc<Mutex<BTreeMap<SessionId, Arc<Notify>>>>,
}

/// One of them. Leaves the lobby when dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    session: SessionId,
    prefix: AddressPrefix,
    lobby: Lobby,
    shown_out: Arc<Notify>,
}

impl Lobby {
    /// Room for so many.
    pub(crate) fn new(most: u32) -> Self {
        Self { most: usize::try_from(most).unwrap_or(usize::MAX), guests: Arc::default() }
    }

    /// Lets one in, and says whether another had to go for it.
    pub(crate) fn enter(&self, session: SessionId, prefix: AddressPrefix) -> (Guest, bool) {
        let shown_out = Arc::new(Notify::new());
        let mut guests = self.guests();
        guests.insert(session, Arc::clone(&shown_out));
        let displaced = if guests.len() > self.most { guests.pop_first() } else { None };
        if let Some((_, oldest)) = &displaced {
            oldest.notify_one();
        }
        (Guest { session, prefix, lobby: self.clone(), shown_out }, displaced.is_some())
    }

    fn guests(&self) -> MutexGuard<'_, BTreeMap<SessionId, Arc<Notify>>> {
        // Whole at any moment, whoever panicked.
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// Where the connection comes from.
    pub(crate) const fn prefix(&self) -> AddressPrefix {
        self.prefix
    }

    /// Waits until the guest has to go. Says so once.
    pub(crate) async fn shown_out(&self) {
        self.shown_out.notified().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.lobby.guests().remove(&self.session);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const SOMEBODY: AddressPrefix = AddressPrefix::V6([1; 8]);

    #[test]
    fn with_one_too_many_the_oldest_has_to_go() {
        let lobby = Lobby::new(2);
        let guests = [1, 2].map(|session| {
            let (guest, displaced) = lobby.enter(SessionId(session), SOMEBODY);
            assert!(!displaced);
            guest
        });
        let (third, displaced) = lobby.enter(SessionId(3), SOMEBODY);
        assert!(displaced);
        let has_to_go = |guest: &Guest| guest.shown_out().now_or_never().is_some();
        assert!(has_to_go(&guests[0]) && !has_to_go(&guests[1]) && !has_to_go(&third));
    }

    #[test]
    fn whoever_leaves_makes_room() {
        let lobby = Lobby::new(1);
        let (first, _) = lobby.enter(SessionId(1), SOMEBODY);
        drop(first);
        let (second, displaced) = lobby.enter(SessionId(2), SOMEBODY);
        assert!(!displaced);
        // One who was shown out leaves nothing behind, and nobody's place.
        let (_third, displaced) = lobby.enter(SessionId(3), SOMEBODY);
        assert!(displaced);
        drop(second);
        assert_eq!(lobby.guests().len(), 1);
    }
}
