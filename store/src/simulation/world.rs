//! The world: a store, its machine, its peers and their clients, in which events happen one after the other.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use ipc::{
    credit::Credit,
    ingress_store::{ACKLESS_LEN, Ack},
};
use session_ipc::{EdgeToStore, Phase, SessionId, SessionRequest, message_cost};

use super::{
    client::Client,
    event::{CLIENTS, DAY, Event, History},
    figures::Figures,
    oracle::{Oracle, Violation, hold},
    peers::{BULK, Connection, Edge, Ingress},
    storage::{Machine, ROOM, Storage},
};
use crate::{
    clock,
    core::{self, Core, Job},
    counters::StoreCounters,
    mail::shelf::memory::End,
    mailbox::{LedgerEntry, Mailbox as _, remembered::Health},
};

/// When a history begins, in seconds since 1970.
pub(super) const BEGINNING: Duration = Duration::from_secs(1_800_000_000);
/// Days without events pass in steps of this length. The clock is checked in every second step at the least, so it is believed.
pub(super) const STRIDE: Duration = Duration::from_secs(6 * 3_600);
/// Times that something may be due while time passes; then the rest of it passes at once.
pub(super) const TICKS: u32 = 100;
/// A clock that was wrong for a while may have dated something too early by this much.
pub(super) const DOUBT: Duration = DAY.saturating_mul(3);

pub(super) type Done = Result<(), Violation>;

/// A process of the store.
pub(super) struct Process {
    pub(super) storage: Arc<Storage>,
    pub(super) core: Core<Storage>,
}

/// A job that is handed out.
pub(super) enum Underway {
    Begun(Job),
    Done(core::Done),
}

/// The world.
pub(super) struct World {
    pub(super) history: History,
    pub(super) beginning: Instant,
    /// Since the beginning.
    pub(super) passed: Duration,
    /// Days by which the machine's clock is off, and since when.
    pub(super) clock_is_off: Option<(i64, Duration)>,
    /// The clock was off once: mail may be dated later than it came, and is kept for longer.
    pub(super) clock_was_off: bool,
    pub(super) machine: Machine,
    pub(super) process: Option<Process>,
    pub(super) counters: Arc<StoreCounters>,
    pub(super) jobs: Vec<Underway>,
    pub(super) ingress: Ingress,
    pub(super) edge: Edge,
    pub(super) clients: Vec<Client>,
    /// When each client was last seen, by a clock that is right.
    pub(super) seen: [Duration; CLIENTS],
    /// Clients that have asked to be forgotten, or were not seen for long, and have not logged in since.
    pub(super) leaving: [bool; CLIENTS],
    pub(super) oracle: Oracle,
    /// What ends the process if the disk fails like that.
    pub(super) ends: (End, u64),
    /// Something went wrong: refusals may be for that.
    pub(super) has_trouble: bool,
    /// The store was ordered to end.
    pub(super) is_ending: bool,
    /// Mail took so much that shares shrank.
    pub(super) was_tight: bool,
    pub(super) figures: Figures,
}

impl World {
    /// A world in which nothing has happened.
    pub(super) fn new(history: History) -> Result<Self, Violation> {
        let window = Credit::new(history.config.window);
        let mut world = Self {
            history,
            beginning: Instant::now(),
            passed: Duration::ZERO,
            clock_is_off: None,
            clock_was_off: false,
            machine: Machine::new(BEGINNING),
            process: None,
            counters: Arc::default(),
            jobs: Vec::new(),
            ingress: Ingress { next: 0, unanswered: Default::default(), window, answers: Default::default() },
            edge: Edge { is_up: true, ..Edge::default() },
            clients: (0..CLIENTS).map(Client::new).collect(),
            seen: [Duration::ZERO; CLIENTS],
            leaving: [false; CLIENTS],
            oracle: Oracle::default(),
            ends: (End::Kill, 0),
            has_trouble: false,
            is_ending: false,
            was_tight: false,
            figures: Figures::default(),
        };
        world.set_clock();
        world.register_some();
        world.start()?;
        Ok(world)
    }

    /// All but one have been clients for long.
    pub(super) fn register_some(&mut self) {
        for client in self.clients.iter_mut().skip(1) {
            let (key, logins) = (client.new_key(), client.logins());
            client.key = Some(key.clone());
            let entry = LedgerEntry::Register { client: client.address(), key, logins };
            self.machine.ledger.clock.store(BEGINNING.as_secs(), Relaxed);
            self.machine.ledger.commit_ledger(&[entry]).unwrap();
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.beginning + self.passed
    }

    pub(super) fn core(&mut self) -> &mut Core<Storage> {
        &mut self.process.as_mut().unwrap().core
    }

    pub(super) fn storage(&self) -> Arc<Storage> {
        Arc::clone(&self.process.as_ref().unwrap().storage)
    }

    /// What time it is, and what the machine's clock says.
    pub(super) fn set_clock(&mut self) {
        self.oracle.too_old = (self.passed + DOUBT).saturating_sub(self.history.config.message_age);
        let right = BEGINNING + self.passed;
        let off = self.clock_is_off.map_or(0, |(days, _)| days * DAY.as_secs() as i64);
        let seconds = right.as_secs().saturating_add_signed(off);
        clock::simulated::set(Duration::new(seconds, right.subsec_nanos()));
    }

    /// Something happens, and everything that follows from it at once.
    pub(super) fn happen(&mut self, event: Event) -> Done {
        self.figures.events += 1;
        let now = self.now();
        match event {
            Event::Deliver { client, len, is_ack_owed } => {
                let len = usize::from(len);
                let ack = if is_ack_owed || len > ACKLESS_LEN { Ack::Owed } else { Ack::NotOwed };
                self.deliver(usize::from(client) % CLIENTS, (len, ack), None)?;
            }
            Event::IngressReads => self.ingress_reads(),
            Event::IngressDies => self.ingress_dies(),
            Event::Connect { client, by } => self.connect(usize::from(client) % CLIENTS, by)?,
            Event::Finish { connection, signs } => {
                if let Some(session) = self.edge.choose(connection, |one| one.known == Phase::Handshaking) {
                    self.set_phases(session, Phase::Deciding);
                    let material = if signs { self.material(session) } else { vec![] };
                    self.ask(EdgeToStore {
                        session: SessionId(session),
                        request: SessionRequest::FinishHandshake { material },
                    })?;
                }
            }
            Event::EdgeReads { messages } => self.edge_reads(messages.into()),
            Event::Confirm { connection, but } => {
                let session = self.edge.choose(connection, |one| one.known == Phase::Attached && !one.read.is_empty());
                if let Some(session) = session {
                    self.confirm(session, but.into())?;
                }
            }
            Event::AnswerProbe { connection, alive } => {
                if let Some(session) = self.edge.choose(connection, |one| one.is_probed) {
                    self.edge.connections.get_mut(&session).unwrap().is_probed = false;
                    self.ask(EdgeToStore {
                        session: SessionId(session),
                        request: SessionRequest::AnswerProbe { alive },
                    })?;
                }
            }
            Event::Forget { connection } => {
                if let Some(session) = self.edge.choose(connection, |one| one.known == Phase::Attached) {
                    self.forget(session)?;
                }
            }
            Event::Close { connection } => {
                let is_over = |one: &Connection| matches!(one.known, Phase::Fresh | Phase::Detached);
                let session = self.edge.choose(connection, is_over).or_else(|| self.edge.choose(connection, |_| true));
                if let Some(session) = session {
                    self.close(session)?;
                }
            }
            Event::EdgeDies => self.edge_dies()?,
            Event::EdgeComesUp => self.edge_comes_up(),
            Event::Work { job } => self.work(job)?,
            Event::Report { job } => self.report(job)?,
            Event::Clean => {
                let storage = self.storage();
                let may_be_more = storage.mail.clean_up();
                self.has_trouble |= may_be_more.is_err();
            }
            Event::Pass { millis } => self.pass(Duration::from_millis(millis.into()))?,
            Event::Rest { days } => self.rest(days.into())?,
            Event::ClockLeaps { days } => {
                self.clock_is_off = Some((days.into(), self.passed));
                self.clock_was_off = true;
            }
            Event::ClockIsRight => self.clock_is_off = None,
            Event::DiskFails { calls, fault, end, seed } => {
                if !self.machine.disk.is_planned() {
                    self.machine.disk.plan(calls.into(), fault);
                    self.ends = (end, seed.into());
                    self.has_trouble = true;
                }
            }
            Event::DiskFills => {
                self.machine.disk.set_free(0);
                self.has_trouble = true;
            }
            Event::DiskHasRoom => self.machine.disk.set_free(ROOM),
            Event::LedgerFails { after } => {
                *self.machine.ledger_fails_after.lock().unwrap() = Some(after.into());
                self.has_trouble = true;
            }
            Event::LedgerWorks => self.machine.ledger.set(Health::Sound),
            Event::StoreDies { end, seed, again } => self.die(end, seed.into(), again.into())?,
            Event::StoreStops => self.stop()?,
        }
        debug_assert!(self.now() >= now, "time goes on");
        self.set_clock();
        if self.machine.disk.is_dead() {
            let (end, seed) = self.ends;
            self.die(end, seed, 0)?;
        }
        self.settle_step()
    }

    /// What the service does after each event, and what must be true then.
    pub(super) fn settle_step(&mut self) -> Done {
        self.carry_out()?;
        self.check()
    }

    /// As the service does everything that can be done without waiting.
    pub(super) fn carry_out(&mut self) -> Done {
        loop {
            let effects = self.core().take_effects();
            for answer in effects.to_ingress {
                self.answer(answer)?;
            }
            for message in effects.to_edge {
                self.tell(message)?;
            }
            for job in effects.jobs {
                self.hand_out(job)?;
            }
            while self.edge.is_up && self.edge.pushes.len() < BULK {
                let now = self.now();
                let Some(push) = self.core().next_push(now) else { break };
                self.push(push)?;
            }
            if !self.core().has_effects() {
                return Ok(());
            }
        }
    }

    /// What is true between two events.
    pub(super) fn check(&mut self) -> Done {
        self.was_tight |= self.is_tight();
        let config = &self.history.config;
        let pushed = self.counters.pushed_memory.load(Relaxed);
        hold!("memory for what is pushed is bounded (57)", pushed <= config.pushed_bytes, "{pushed} bytes");
        let read = self.counters.read_ahead_memory.load(Relaxed);
        hold!("memory for what is read is bounded (57)", read <= config.read_ahead_bytes, "{read} bytes");
        let unproved = self.edge.connections.values().flat_map(|one| &one.unproved);
        let held: u64 = unproved.map(|one| message_cost(one.len)).sum();
        hold!("what is pushed and not let go of is bounded (57)", held <= config.pushed_bytes, "{held} bytes");
        self.check_that_nobody_waits_in_vain(held)
    }

    /// While nothing is under way and nothing is wrong, mail is not in memory alone for longer than it may, and waits only for its
    /// client.
    pub(super) fn check_that_nobody_waits_in_vain(&self, held: u64) -> Done {
        let is_busy = !self.jobs.is_empty() || self.edge.pushes.len() >= BULK || !self.edge.is_up;
        if is_busy || self.has_trouble {
            return Ok(());
        }
        self.oracle.is_written_since(self.passed.saturating_sub(self.history.config.spill_after))?;
        if held > 0 {
            return Ok(());
        }
        for connection in self.edge.connections.values().filter(|one| one.told == Phase::Attached) {
            let last = connection.last.map(|last| last.arrival);
            let waits = self.oracle.owed(connection.client).into_iter().find(|number| Some(*number) > last);
            hold!("who reads gets its mail (4, 57)", waits.is_none(), "{waits:?} waits for nothing");
        }
        Ok(())
    }
}
