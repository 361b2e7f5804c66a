//! What the task of a next hop tells the table about its connection.
//!
//! *Promises*: a task never waits to tell. Until the table looks, the list of news holds a next hop at most once for each of its tasks, so
//! the list is no longer than the table.

use std::{
    mem,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use tokio::sync::Notify;

/// What is known of a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum HopState {
    /// The next hop has not been connected yet, or has taken no packet yet.
    New,
    /// The next hop has taken a packet, and is connected or expected back soon.
    Proven,
    /// The next hop cannot be connected. Packets that wait for it will most likely never leave.
    Unreachable,
}

/// Next hops whose state has changed since the table looked.
#[derive(Clone, Debug, Default)]
pub(crate) struct News(Arc<Mutex<Vec<SocketAddr>>>);

impl News {
    /// Takes all news, so that later changes are told again.
    pub(crate) fn take(&self) -> Vec<SocketAddr> {
        // The list is whole at any moment, so a panic elsewhere does not matter.
        mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, next_hop: SocketAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(next_hop);
    }
}

#[derive(Debug)]
struct Shared {
    next_hop: SocketAddr,
    state: AtomicU8,
    /// The next hop is in the news already.
    told: AtomicBool,
    /// The table took the place of this next hop away.
    displaced: AtomicBool,
    /// A packet came for the next hop.
    asked: Notify,
    news: News,
}

/// The state of one next hop, shared between its task and the table.
#[derive(Clone, Debug)]
pub(crate) struct SharedState(Arc<Shared>);

impl SharedState {
    pub(crate) fn new(next_hop: SocketAddr, news: News) -> Self {
        Self(Arc::new(Shared {
            next_hop,
            state: AtomicU8::new(HopState::New as u8),
            told: AtomicBool::new(false),
            displaced: AtomicBool::new(false),
            asked: Notify::new(),
            news,
        }))
    }

    /// For the table: the present state. A later change will be in the news again.
    pub(crate) fn look(&self) -> HopState {
        self.0.told.store(false, Ordering::SeqCst);
        self.get()
    }

    pub(crate) fn get(&self) -> HopState {
        let now = self.0.state.load(Ordering::SeqCst);
        [HopState::Proven, HopState::Unreachable].into_iter().find(|&s| s as u8 == now).unwrap_or(HopState::New)
    }

    /// For the task: the state is now `state`.
    pub(crate) fn set(&self, state: HopState) {
        let before = self.0.state.swap(state as u8, Ordering::SeqCst);
        if before != state as u8 && !self.0.told.swap(true, Ordering::SeqCst) {
            self.0.news.tell(self.0.next_hop);
        }
    }

    /// For the table: the task is ended because another next hop needs the place.
    pub(crate) fn displace(&self) {
        self.0.displaced.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_displaced(&self) -> bool {
        self.0.displaced.load(Ordering::SeqCst)
    }

    /// For the table: a packet came.
    pub(crate) fn ask(&self) {
        self.0.asked.notify_one();
    }

    /// For the task: a packet came since this was last waited for.
    pub(crate) async fn asked(&self) {
        self.0.asked.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn each_change_is_told_once_until_it_is_looked_at() {
        let news = News::default();
        let address: SocketAddr = "192.0.2.1:1789".parse().unwrap();
        let state = SharedState::new(address, news.clone());
        state.set(HopState::New);
        assert_eq!(news.take(), []);
        for _ in 0..100 {
            state.set(HopState::Unreachable);
            state.set(HopState::Proven);
        }
        assert_eq!(news.take(), [address]);
        assert_eq!(state.look(), HopState::Proven);
        state.set(HopState::Unreachable);
        assert_eq!(news.take(), [address]);
        assert_eq!(state.look(), HopState::Unreachable);
    }

    #[tokio::test]
    async fn a_task_waits_until_a_packet_asks_and_then_anew() {
        let state = SharedState::new("192.0.2.1:1789".parse().unwrap(), News::default());
        let is_asked = async || timeout(Duration::from_millis(5), state.asked()).await.is_ok();
        assert!(!is_asked().await);
        state.ask();
        assert!(is_asked().await);
        assert!(!is_asked().await);
    }
}
