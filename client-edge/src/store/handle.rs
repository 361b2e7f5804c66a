//! One session's way to `store`: requests go out, commands come in.
//!
//! *Promises*: a handle lives exactly as long as the link on which it was opened, so nothing meant for one `store` reaches the
//! next; a session that `store` has heard of is ended with [`StoreHandle::close`], whatever the reason.

use session_ipc::{
    AuthenticationRefusal, EdgeToStore, EndReason, RegistrationRefusal, Rule, SessionId, SessionRequest,
};
use tokio::sync::{mpsc, oneshot};
use worker::duplex::LinkSender;

use super::{keys::HeldKey, mail::MailReceiver};
use crate::websocket::close_reason::CloseReason;

/// What a session is told.
#[derive(Debug)]
pub(crate) enum SessionCommand {
    /// The gateway's handshake message for the client.
    ReplyHandshake(Vec<u8>),
    /// The registration failed.
    RefuseHandshake(RegistrationRefusal),
    /// The login failed.
    RefuseAuthentication(AuthenticationRefusal),
    /// The client has proved its identity.
    Attach(HeldKey, MailReceiver),
    /// Find out whether the client still answers.
    Probe,
    /// Registration and mail of the client are gone.
    Forgotten,
    /// `store` has ended the session.
    End(EndReason),
    /// The process is to stop.
    Stop,
}

/// What a connection asks of the dispatcher.
#[derive(Debug)]
pub(crate) enum DispatcherRequest {
    /// Open the way to `store` for this session.
    Open(SessionId, oneshot::Sender<StoreHandle>),
    /// Forget the session: it is over.
    Close(SessionId),
    /// Tell every session that the process is to stop.
    StopAll,
}

/// The way to `store`. To be given back with [`close`](Self::close).
pub(crate) struct StoreHandle {
    session: SessionId,
    link: LinkSender<EdgeToStore>,
    commands: mpsc::Receiver<Box<SessionCommand>>,
    dispatcher: mpsc::Sender<DispatcherRequest>,
}

impl std::fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StoreHandle").field(&self.session).finish()
    }
}

impl StoreHandle {
    pub(super) const fn new(
        session: SessionId,
        link: LinkSender<EdgeToStore>,
        commands: mpsc::Receiver<Box<SessionCommand>>,
        dispatcher: mpsc::Sender<DispatcherRequest>,
    ) -> Self {
        Self { session, link, commands, dispatcher }
    }

    /// The session that the handle belongs to.
    pub(crate) const fn session(&self) -> SessionId {
        self.session
    }

    /// Sends a request of the session to `store`. Waits while `store` is slow to read, but not longer than the link lives.
    ///
    /// # Errors
    /// [`CloseReason::STORE_UNAVAILABLE`] if the link is gone.
    pub(crate) async fn send(&self, request: SessionRequest) -> Result<(), CloseReason> {
        // `Sender::send` would keep two copies of the request in the task of every connection.
        let place = self.link.control.reserve().await.map_err(|_| CloseReason::STORE_UNAVAILABLE)?;
        place.send(EdgeToStore { session: self.session, request });
        Ok(())
    }

    /// The next command. Nothing is lost if the wait is given up.
    ///
    /// # Errors
    /// [`CloseReason::STORE_UNAVAILABLE`] if the link is gone.
    pub(crate) async fn next_command(&mut self) -> Result<SessionCommand, CloseReason> {
        self.commands.recv().await.map(|command| *command).ok_or(CloseReason::STORE_UNAVAILABLE)
    }

    /// Drops the link because `store` broke `rule`. All sessions end with the link.
    pub(crate) fn drop_link(&self, rule: Rule) -> CloseReason {
        self.link.drop_link(rule);
        CloseReason::STORE_UNAVAILABLE
    }

    /// Tells `store` and the dispatcher that the session is over.
    pub(crate) async fn close(self) {
        // Both sends fail only if the link is gone, and then the session is gone with it.
        let _ =
            self.link.control.send(EdgeToStore { session: self.session, request: SessionRequest::CloseSession }).await;
        let _ = self.dispatcher.send(DispatcherRequest::Close(self.session)).await;
    }
}
