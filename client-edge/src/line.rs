//! One session's line to `store`: its requests go out here and its orders come in.
//!
//! *Promises*: a line lives exactly as long as the link it was opened on, so nothing meant for one `store` reaches the next;
//! a session that `store` has heard of is closed with [`Line::close`], whatever ended it.

use proto::{
    ipc::store_edge::{EdgeToStore, SessionId},
    link::duplex::LinkSender,
};
use tokio::sync::mpsc;

use crate::{
    dispatch::{Order, Request},
    websocket::Exit,
};

/// The line. To be given back with [`close`](Self::close).
pub(crate) struct Line {
    session: SessionId,
    link: LinkSender<EdgeToStore>,
    orders: mpsc::Receiver<Box<Order>>,
    requests: mpsc::Sender<Request>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Line").field(&self.session).finish()
    }
}

impl Line {
    pub(crate) const fn new(
        session: SessionId,
        link: LinkSender<EdgeToStore>,
        orders: mpsc::Receiver<Box<Order>>,
        requests: mpsc::Sender<Request>,
    ) -> Self {
        Self { session, link, orders, requests }
    }

    /// The session whose line this is.
    pub(crate) const fn session(&self) -> SessionId {
        self.session
    }

    /// Tells or asks `store` something. Waits as long as `store` is slow to read; no longer than the link lives.
    ///
    /// # Errors
    /// [`Exit::RESTART`] if the link is gone.
    pub(crate) async fn send(&self, message: EdgeToStore) -> Result<(), Exit> {
        // Unlike `send`, it keeps one copy of the message while it waits; every connection has room for that.
        let room = self.link.control.reserve().await.map_err(|_| Exit::RESTART)?;
        room.send(message);
        Ok(())
    }

    /// The next order. Nothing is lost if the wait is given up.
    ///
    /// # Errors
    /// [`Exit::RESTART`] if the link is gone.
    pub(crate) async fn next_order(&mut self) -> Result<Order, Exit> {
        self.orders.recv().await.map(|order| *order).ok_or(Exit::RESTART)
    }

    /// Drops the link because `store` broke `rule`. All sessions end with it.
    pub(crate) fn drop_link(&self, rule: &'static str) -> Exit {
        self.link.drop_link(rule);
        Exit::RESTART
    }

    /// Tells `store` that the session is over, and forgets it here.
    pub(crate) async fn close(self) {
        // If the link is gone, so is the session.
        let _ = self.link.control.send(EdgeToStore::CloseSession { session: self.session }).await;
        let _ = self.requests.send(Request::Close(self.session)).await;
    }
}
