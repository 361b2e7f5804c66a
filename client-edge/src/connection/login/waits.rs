//! What a login waits for: the client's next frame, and the decision of `store`. Each wait has a limit, and ends when the connection has
//! to.

use std::time::Duration;

use session_ipc::{Rule, SessionRequest};
use tokio::time::{Instant, sleep_until};

use super::Login;
use crate::{
    store::handle::{SessionCommand, StoreHandle},
    websocket::{Event, Frame, close_reason::CloseReason},
};

/// How long a decision of `store` is waited for; a commit and at most one probe of half a second take less.
const DECISION_LIMIT: Duration = Duration::from_secs(10);

/// How long a client waits for a `store` that is being started. The client is not disconnected meanwhile, because the published
/// client of today tries again only on the connection that it has.
const STORE_LIMIT: Duration = Duration::from_secs(5);

impl Login<'_> {
    /// Asks `store`. The first question opens the way to `store`.
    pub(super) async fn ask(&mut self, request: SessionRequest) -> Result<(), CloseReason> {
        let began = Instant::now();
        if self.store.is_none() {
            *self.store = tokio::select! {
                opened = self.context.dispatch.open(self.session, STORE_LIMIT) => opened,
                () = self.context.drain.begun() => return Err(CloseReason::STOPPING),
            };
        }
        match self.store {
            Some(store) => store.send(request).await?,
            None => return Err(self.unavailable()),
        }
        self.due += began.elapsed();
        Ok(())
    }

    /// Waits for the decision of `store`.
    pub(super) async fn decision(&mut self) -> Result<SessionCommand, CloseReason> {
        let began = Instant::now();
        let due = began + DECISION_LIMIT;
        loop {
            tokio::select! {
                command = next_command(self.store) => {
                    self.due += began.elapsed();
                    return match command? {
                        SessionCommand::End(reason) => Err(self.ended(reason)),
                        SessionCommand::Stop => Err(CloseReason::STOPPING),
                        command => Ok(command),
                    };
                }
                // An earlier refusal may still be on its way out.
                written = self.websocket.write() => written?,
                () = self.slot.evicted() => return Err(CloseReason::EVICTED),
                () = sleep_until(due) => return Err(self.unavailable()),
            }
        }
    }

    /// The client's next frame; `None` if it does not come until `due`. After `due` nothing is read, even if frames are there already.
    pub(super) async fn read(&mut self, due: Instant) -> Result<Option<Frame>, CloseReason> {
        while Instant::now() < due {
            tokio::select! {
                event = self.websocket.event() => if let Event::Read(frame) = event? {
                    return Ok(Some(frame));
                },
                command = next_command(self.store) => return Err(match command? {
                    SessionCommand::End(reason) => self.ended(reason),
                    SessionCommand::Stop => CloseReason::STOPPING,
                    _ => self.violated(Rule::UnaskedAnswer),
                }),
                () = self.context.drain.begun() => return Err(CloseReason::STOPPING),
                () = self.slot.evicted() => return Err(CloseReason::EVICTED),
                () = sleep_until(due) => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// The next command. None comes before `store` has heard of the session.
async fn next_command(store: &mut Option<StoreHandle>) -> Result<SessionCommand, CloseReason> {
    match store {
        Some(store) => store.next_command().await,
        None => std::future::pending().await,
    }
}
