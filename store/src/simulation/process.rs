//! The store's process and its machine: time, ends and starts.

use std::{sync::Arc, time::Duration};

use ipc::credit::Credit;
use rand::{SeedableRng as _, rngs::StdRng};
use session_ipc::Phase;

use super::{
    event::{CLIENTS, DAY},
    oracle::{ArrivalState, hold},
    peers::Edge,
    storage::{ROOM, Storage},
    world::{DOUBT, Done, Process, STRIDE, TICKS, World},
};
use crate::{
    core::Core,
    mail::shelf::memory::{End, Fault},
    mailbox::remembered::Health,
};

impl World {
    /// As the service's loop: what is due is done when it is due.
    pub(super) fn pass(&mut self, time: Duration) -> Done {
        let end = self.passed + time;
        let mut ticks = 0;
        while ticks < TICKS
            && let Some(due) = self.core().deadline()
            && due <= self.beginning + end
        {
            ticks += 1;
            self.passed = self.passed.max(due.saturating_duration_since(self.beginning));
            self.set_clock();
            let now = self.now();
            self.core().tick(now);
            self.carry_out()?;
        }
        self.passed = end;
        let is_off_for_long = self.clock_is_off.is_some_and(|(_, since)| end - since > DAY);
        if is_off_for_long {
            self.clock_is_off = None;
        }
        self.set_clock();
        Ok(())
    }

    /// Days pass; everything is done that comes up meanwhile.
    pub(super) fn rest(&mut self, days: u32) -> Done {
        self.clock_is_off = None;
        // Otherwise the store could not write for so long which clients were seen, and what time it is.
        self.machine.disk.set_free(ROOM);
        self.machine.ledger.set(Health::Sound);
        *self.machine.ledger_fails_after.lock().unwrap() = None;
        self.finish_jobs()?;
        let mut left = DAY * days;
        while !left.is_zero() {
            let time = left.min(STRIDE);
            left -= time;
            self.pass(time)?;
            for _ in 0..4 {
                self.finish_jobs()?;
                self.pass(Duration::from_millis(20))?;
            }
            // A connected client counts as seen.
            for connection in self.edge.connections.values().filter(|one| one.told == Phase::Attached) {
                self.seen[connection.client] = self.passed;
            }
        }
        self.check_that_old_mail_is_gone()
    }

    /// After a day in which everything worked.
    pub(super) fn check_that_old_mail_is_gone(&self) -> Done {
        if self.has_trouble || self.clock_was_off {
            return Ok(());
        }
        let is_attached = |client| self.edge.connections.values().any(|one| one.client == client);
        let long_ago = self.passed.saturating_sub(self.history.config.message_age + DOUBT);
        (0..CLIENTS)
            .filter(|client| !is_attached(*client))
            .try_for_each(|client| self.oracle.is_swept(client, long_ago))
    }

    /// The process ends, and its successor begins.
    pub(super) fn die(&mut self, end: End, seed: u64, again: u64) -> Done {
        let disk = self.machine.disk.clone();
        if !disk.is_dead() {
            disk.plan(0, Fault::Dies);
        }
        self.process = None;
        let mut rng = StdRng::seed_from_u64(seed);
        disk.end(end, &mut rng);
        if again > 0 {
            disk.plan(again, Fault::Dies);
        }
        self.ends = (end, seed + 1);
        self.begin_anew()
    }

    /// The store is ordered to end, does so in order, and is started again.
    pub(super) fn stop(&mut self) -> Done {
        self.is_ending = true;
        self.core().spill_everything();
        self.settle_step()?;
        for _ in 0..100 {
            if self.core().is_settled() {
                break;
            }
            self.finish_jobs()?;
            self.pass(Duration::from_millis(20))?;
        }
        let is_settled = self.core().is_settled();
        hold!("an ordered end ends (15)", is_settled, "it waits for the disk");
        if !self.has_trouble {
            let left = self
                .oracle
                .awaiting()
                .values()
                .find(|number| self.oracle.arrivals[**number].state == ArrivalState::Pending);
            hold!("an ordered end forgets nothing (15)", left.is_none(), "{left:?} is not written");
        }
        self.process = None;
        if self.machine.disk.is_dead() {
            let (end, seed) = self.ends;
            return self.die(end, seed, 0);
        }
        self.machine.disk.end(End::Kill, &mut StdRng::seed_from_u64(0));
        self.begin_anew()
    }

    /// `client-edge` lets go of all sessions, and `mix-ingress` delivers again what was not answered.
    pub(super) fn begin_anew(&mut self) -> Done {
        self.is_ending = false;
        self.jobs.clear();
        self.oracle.store_died();
        self.leaving = [false; CLIENTS];
        let next = self.edge.next;
        self.edge = Edge { is_up: true, next, ..Edge::default() };
        self.start()
    }

    pub(super) fn start(&mut self) -> Done {
        let mut tries = 0;
        let storage = loop {
            match Storage::open(&self.machine, self.history.settings, &self.counters) {
                Ok(storage) => break storage,
                Err(_) if self.machine.disk.is_dead() => {
                    let (end, seed) = self.ends;
                    self.machine.disk.end(end, &mut StdRng::seed_from_u64(seed));
                }
                Err(error) => {
                    tries += 1;
                    hold!("what a crash leaves keeps no store from starting (13)", tries < 4, "{error}");
                    // Of what it holds in reserve, or what the operator gives it.
                    self.machine.disk.set_free(ROOM);
                }
            }
        };
        self.figures.starts += 1;
        self.oracle.opened(&storage)?;
        let storage = Arc::new(storage);
        let now = self.now();
        let mut core = Core::new(Arc::clone(&storage), self.history.config.clone(), Arc::clone(&self.counters), now);
        core.check_storage(now);
        core.ingress_up();
        core.edge_up();
        self.process = Some(Process { storage, core });
        self.ingress.answers.clear();
        self.ingress.window = Credit::new(self.history.config.window);
        for (delivery, (client, len, ack)) in std::mem::take(&mut self.ingress.unanswered) {
            self.deliver(client, (len, ack), Some(delivery))?;
        }
        Ok(())
    }
}
