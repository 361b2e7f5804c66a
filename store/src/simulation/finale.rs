//! How a history ends: all that was wrong is mended, and everything that was promised comes about.

use std::time::Duration;

use session_ipc::Phase;

use super::{
    event::{CLIENTS, Claim, Event},
    oracle::{ArrivalState, address, hold},
    world::{Done, World},
};
use crate::mail::shelf::memory::Fault;

/// Longer than anything that the store waits for.
const A_WHILE: Duration = Duration::from_secs(2);
/// Rounds in which everything must be over.
const ROUNDS: usize = 200;

impl World {
    /// Mends everything, and looks whether all is well in the end.
    pub(super) fn finish(&mut self) -> Done {
        self.machine.disk.plan(u64::MAX / 2, Fault::Short);
        *self.machine.ledger_fails_after.lock().unwrap() = None;
        for event in [Event::DiskHasRoom, Event::LedgerWorks, Event::ClockIsRight, Event::EdgeComesUp] {
            self.happen(event)?;
        }
        for _ in 0..8 {
            self.calm_down()?;
            self.close_ended()?;
        }
        self.calm_down()?;
        self.check_that_memory_comes_back()?;
        let waiting = self.edge.connections.iter().find(|(_, one)| one.told == Phase::Deciding);
        hold!("every question is answered (17, 18)", waiting.is_none(), "{waiting:?}");
        self.close_all()?;
        let left = self
            .oracle
            .awaiting()
            .values()
            .find(|number| matches!(self.oracle.arrivals[**number].state, ArrivalState::Pending));
        hold!("each delivery is answered (7)", left.is_none(), "{left:?} is not");
        for client in 0..CLIENTS {
            self.fetch(client)?;
        }
        self.happen(Event::StoreStops)?;
        for client in 0..CLIENTS {
            let left = self.storage().all_of(&address(client)).messages.len();
            let is_client = self.storage().is_registered(&address(client));
            hold!("what was received is gone for good (3)", left == 0 || !is_client, "{left} of {client}");
        }
        self.figures.time = self.passed;
        Ok(())
    }

    /// Everything that is under way comes to its end.
    fn calm_down(&mut self) -> Done {
        self.finish_jobs()?;
        self.happen(Event::EdgeReads { messages: 100 })?;
        self.happen(Event::IngressReads)?;
        self.happen(Event::Finish { connection: 0, signs: true })?;
        self.finish_jobs()?;
        self.pass(A_WHILE)?;
        self.settle_step()?;
        self.finish_jobs()?;
        self.happen(Event::Clean)
    }

    /// `client-edge` lets go of what was ended for want of memory.
    fn close_ended(&mut self) -> Done {
        while let Some(session) = self.edge.choose(0, |one| one.known == Phase::Detached) {
            self.close(session)?;
            self.settle_step()?;
        }
        Ok(())
    }

    /// Sessions that took nothing for long have been ended, so a client that has proved all that it got gets more.
    fn check_that_memory_comes_back(&self) -> Done {
        // The memory of sessions that were ended just now comes back when they are closed.
        if self.edge.connections.values().any(|one| one.told == Phase::Detached) {
            return Ok(());
        }
        let reading =
            self.edge.connections.values().filter(|one| one.told == Phase::Attached && one.unproved.is_empty());
        for connection in reading {
            let last = connection.last.map(|last| last.arrival);
            let waits = self.oracle.owed(connection.client).into_iter().find(|number| Some(*number) > last);
            hold!("who reads gets its mail (4, 57)", waits.is_none(), "{waits:?} waits for memory");
        }
        Ok(())
    }

    fn close_all(&mut self) -> Done {
        while let Some(session) = self.edge.connections.keys().next().copied() {
            self.close(session)?;
            self.settle_step()?;
        }
        self.calm_down()
    }

    /// The client comes, with a new key if need be, and takes all its mail.
    fn fetch(&mut self, client: usize) -> Done {
        if !self.storage().is_registered(&address(client)) {
            return Ok(());
        }
        for _ in 0..4 {
            self.connect(client, Claim::Login)?;
            self.settle_step()?;
            for _ in 0..3 {
                self.calm_down()?;
            }
            if self.edge.connections.values().any(|one| one.told == Phase::Attached) {
                break;
            }
            self.close_all()?;
        }
        let session = self.edge.connections.iter().find(|(_, one)| one.told == Phase::Attached);
        let session = session.map(|(session, _)| *session);
        hold!("a client comes in that has its key (4)", session.is_some(), "{client} does not");
        let session = session.unwrap();
        for _ in 0..ROUNDS {
            self.happen(Event::EdgeReads { messages: 100 })?;
            self.confirm(session, 0)?;
            self.settle_step()?;
            self.finish_jobs()?;
            if self.edge.pushes.is_empty() && self.edge.connections[&session].read.is_empty() {
                break;
            }
        }
        let owed = self.oracle.owed(client);
        hold!("what was accepted comes (4)", owed.is_empty(), "{owed:?} of {client} do not");
        self.close_all()
    }
}
