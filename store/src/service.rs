//! Carries out what the office decides.
//!
//! Two threads and a crew: the main thread follows the supervisor's orders and never touches the disk; the office has a thread
//! of its own, on which it reads and writes its links, decides and looks things up, since two threads that wake each other for
//! every packet cost more than what they do; commits, reads and signatures are done by the crew, a bounded number at a time, so
//! that a commit never waits behind a signature.

mod crew;

use std::{fmt::Display, os::fd::OwnedFd, sync::Arc, time::Duration};

use ipc::{
    Role,
    control::WorkerReport,
    credit::Window,
    ingress_store::{self, IngressToStore, StoreToIngress},
};
use sandbox::Closed;
use session_ipc::{EdgeToStore, StoreToEdge};
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};
use worker::{
    birth::Birth,
    control_link::Ending,
    counter,
    duplex::{self, LaneCapacity, LinkEvent, LinkSender},
    heartbeat::Heartbeat,
};

use crate::{
    counters::StoreCounters,
    identity::Identity,
    mailbox::Mailbox,
    office::{Fault, Office, Rules},
    replay::ReplayArchive,
};
use crew::Crew;

/// Batches of a link that may wait for the office.
const EVENTS: usize = 8;
/// A session has at most a few answers under way. Mail in the lane is in memory, so there is no more than keeps the link busy.
const TO_EDGE: LaneCapacity = LaneCapacity { control: 65_536, bulk: 256 };
/// How long the last commits may take.
const LAST_COMMITS: Duration = Duration::from_secs(5);

/// Every delivery of a window may be answered at once, and a question about marks.
const fn to_ingress(window: Window) -> LaneCapacity {
    LaneCapacity { control: window.messages as usize + 2, bulk: 1 }
}

/// First ends of the links.
#[derive(Debug)]
pub struct Links {
    /// To `mix-ingress`.
    pub ingress: OwnedFd,
    /// To `client-edge`.
    pub edge: OwnedFd,
}

/// Where the ends of the links come from, the first and all later ones.
struct LinkEnds {
    ingress: mpsc::Receiver<OwnedFd>,
    edge: mpsc::Receiver<OwnedFd>,
    to_ingress: LaneCapacity,
}

/// What the service works with.
pub struct Service<M> {
    /// Ledger and inboxes.
    pub mailbox: Arc<M>,
    /// Marks of packets seen.
    pub replay: ReplayArchive,
    /// Signs registrations.
    pub identity: Arc<Identity>,
    /// The configuration.
    pub rules: Rules,
    /// Processors to use for signatures.
    pub threads: usize,
    /// What is counted.
    pub counters: Arc<StoreCounters>,
}

/// Why the service ended on its own.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A thread or a runtime could not be had.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The office cannot go on.
    #[error(transparent)]
    Office(#[from] Fault),
    /// The office's thread ended without a word.
    #[error("the office ended unexpectedly")]
    Vanished,
    /// The last commits took too long.
    #[error("mail was still being written {0:?} after the order to end")]
    Unsettled(Duration),
}

impl<M: Mailbox> Service<M> {
    /// Serves until ordered to end, or until storage fails.
    ///
    /// # Errors
    /// If the service cannot start or go on.
    pub fn run(self, _: &Closed, birth: &Birth, links: Links) -> Result<Ending, ServiceError> {
        tracing::info!(
            in_flight = self.rules.window.bytes,
            pushed = self.rules.pushed_bytes,
            read_ahead = self.rules.read_ahead_bytes,
            "budgets of memory for mail, in bytes"
        );
        let reactor = runtime::Builder::new_current_thread().enable_all().build()?;
        reactor.block_on(async {
            let mut control = birth.control_link()?;
            let (reports_tx, reports) = mpsc::channel(4);
            let ends = LinkEnds {
                ingress: control.link_ends(Role::MixIngress, links.ingress),
                edge: control.link_ends(Role::ClientEdge, links.edge),
                to_ingress: to_ingress(self.rules.window),
            };
            let mut tasks = JoinSet::new();
            tasks.spawn(counter::log_changes(Arc::clone(&self.counters)));

            let (end_tx, end) = oneshot::channel();
            let (done_tx, mut done) = oneshot::channel();
            let counters = Arc::clone(&self.counters);
            // Before the worker is ready, so that the supervisor does not claim what is not so.
            let now = std::time::Instant::now();
            let mut office = Office::new(Arc::clone(&self.mailbox), self.rules, self.counters, now);
            if !office.look_for_room(now) {
                birth.report_full_storage();
            }
            let crew = Crew::new(self.mailbox, self.identity, self.threads);
            let desk = Desk { office, crew, replay: self.replay, to_ingress: None, to_edge: None };
            std::thread::Builder::new().name("office".into()).spawn(move || {
                // The receiver waits for this until the process ends.
                let _ = done_tx.send(desk.keep_office(ends, reports_tx, end));
            })?;

            let ending = tokio::select! {
                ending = control.follow(reports) => ending,
                outcome = &mut done => return outcome.map_err(|_| ServiceError::Vanished)?.map(|()| Ending::Drain),
            };
            if ending == Ending::Drain {
                // If the office is gone, `done` says why.
                let _ = end_tx.send(());
                let outcome = tokio::time::timeout(LAST_COMMITS, done).await;
                outcome.map_err(|_| ServiceError::Unsettled(LAST_COMMITS))?.map_err(|_| ServiceError::Vanished)??;
                counter::log(&counter::Counters::snapshot(counters.as_ref()));
            }
            Ok(ending)
        })
    }
}

/// The office and those it speaks to.
struct Desk<M> {
    office: Office<M>,
    crew: Crew<M>,
    replay: ReplayArchive,
    to_ingress: Option<LinkSender<StoreToIngress>>,
    to_edge: Option<LinkSender<StoreToEdge>>,
}

impl<M: Mailbox> Desk<M> {
    /// On a thread of its own.
    fn keep_office(
        self,
        ends: LinkEnds,
        reports: mpsc::Sender<WorkerReport>,
        end: oneshot::Receiver<()>,
    ) -> Result<(), ServiceError> {
        let threads = self.crew.threads();
        let runtime = runtime::Builder::new_current_thread().enable_all().max_blocking_threads(threads).build()?;
        runtime.block_on(async {
            let (ingress_tx, ingress) = mpsc::channel(EVENTS);
            let (edge_tx, edge) = mpsc::channel(EVENTS);
            // Dropped when the office has ended: both peers have ended before, and nobody waits for what is still in a lane.
            let mut links = JoinSet::new();
            let LinkEnds { ingress: ends, edge: edge_ends, to_ingress } = ends;
            links.spawn(duplex::serve(Role::MixIngress, ends, to_ingress, ingress_tx, reports.clone()));
            links.spawn(duplex::serve(Role::ClientEdge, edge_ends, TO_EDGE, edge_tx, reports.clone()));
            self.work(ingress, edge, Heartbeat::new(reports), end).await
        })
    }

    async fn work(
        mut self,
        mut ingress: mpsc::Receiver<LinkEvent<IngressToStore, StoreToIngress>>,
        mut edge: mpsc::Receiver<LinkEvent<EdgeToStore, StoreToEdge>>,
        mut heartbeat: Heartbeat,
        mut end: oneshot::Receiver<()>,
    ) -> Result<(), ServiceError> {
        let mut ending = false;
        loop {
            self.carry_out();
            if ending && self.office.is_settled() {
                return Ok(());
            }
            // No limit where there is no deadline: something else wakes the office.
            let due = async {
                match self.office.deadline() {
                    Some(at) => tokio::time::sleep_until(Instant::from_std(at)).await,
                    None => std::future::pending().await,
                }
            };
            let room = async {
                match &self.to_edge {
                    Some(link) if self.office.has_pushes() => link.bulk.reserve().await.is_ok(),
                    _ => std::future::pending().await,
                }
            };
            let outcome = tokio::select! {
                Some(event) = ingress.recv() => self.ingress_event(event),
                // What is not taken on waits in the link, and then in `client-edge`.
                Some(event) = edge.recv(), if self.crew.has_room() => self.edge_event(event),
                done = self.crew.next_done() => self.crew.report(done, &mut self.office),
                () = due => {
                    self.office.tick(std::time::Instant::now());
                    Ok(())
                }
                still_there = room => {
                    if !still_there {
                        self.to_edge = None;
                    }
                    Ok(())
                }
                () = heartbeat.beat() => Ok(()),
                _ = &mut end, if !ending => {
                    ending = true;
                    self.office.spill_everything();
                    Ok(())
                }
            };
            match outcome {
                Err(Fault::IngressViolation(rule)) => drop_link(self.to_ingress.as_ref(), rule),
                Err(Fault::EdgeViolation(rule)) => drop_link(self.to_edge.as_ref(), rule),
                outcome => outcome?,
            }
        }
    }

    fn ingress_event(&mut self, event: LinkEvent<IngressToStore, StoreToIngress>) -> Result<(), Fault> {
        let now = std::time::Instant::now();
        match event {
            LinkEvent::Up(sender) => {
                self.to_ingress = Some(sender);
                self.office.ingress_up();
                Ok(())
            }
            LinkEvent::Batch(batch) => batch.into_iter().try_for_each(|message| match (message, &self.to_ingress) {
                (IngressToStore::DeliverMessage { delivery, destination, ack, message }, _) => {
                    self.office.ingress_delivers(delivery, destination, (message.0, ack), now)
                }
                (IngressToStore::AskReplay(request), Some(link)) => self.replay.ask(request, link.clone()),
                // A peer that is gone needs no answer.
                (IngressToStore::AskReplay(_), None) => Ok(()),
            }),
            LinkEvent::Down => {
                self.to_ingress = None;
                Ok(())
            }
        }
    }

    fn edge_event(&mut self, event: LinkEvent<EdgeToStore, StoreToEdge>) -> Result<(), Fault> {
        let now = std::time::Instant::now();
        match event {
            LinkEvent::Up(sender) => {
                self.to_edge = Some(sender);
                self.office.edge_up();
                Ok(())
            }
            LinkEvent::Batch(batch) => batch.into_iter().try_for_each(|request| self.office.edge_says(request, now)),
            LinkEvent::Down => {
                self.to_edge = None;
                self.office.edge_down();
                Ok(())
            }
        }
    }

    /// Does everything that can be done without waiting.
    fn carry_out(&mut self) {
        loop {
            // Orders before pushes: a session is attached before its mail comes.
            let orders = self.office.take_orders();
            for answer in orders.to_ingress {
                send(self.to_ingress.as_ref(), answer, ingress_store::Rule::AnswersUnread);
            }
            for message in orders.to_edge {
                send(self.to_edge.as_ref(), message, session_ipc::Rule::AnswersUnread);
            }
            for job in orders.jobs {
                self.crew.take(job);
            }
            if let Some(link) = &self.to_edge {
                while let Ok(room) = link.bulk.try_reserve()
                    && let Some(push) = self.office.next_push(std::time::Instant::now())
                {
                    room.send(push);
                }
            }
            // Looking for something to push may have ended in an order to read.
            if !self.office.has_orders() {
                return;
            }
        }
    }
}

/// A peer that does not read its answers breaks `rule`.
fn send<Out>(link: Option<&LinkSender<Out>>, message: Out, rule: impl Display) {
    use mpsc::error::TrySendError;
    // A peer that is gone needs no answer.
    if let Some(link) = link
        && let Err(TrySendError::Full(_)) = link.control.try_send(message)
    {
        link.drop_link(rule);
    }
}

fn drop_link<Out>(link: Option<&LinkSender<Out>>, rule: impl Display) {
    if let Some(link) = link {
        link.drop_link(rule);
    }
}
