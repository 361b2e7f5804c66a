//! The event loop: waits for whatever comes next, tells the core, and carries out the effects.

use std::{fmt::Display, os::fd::OwnedFd, pin::pin};

use figures::Number;
use ipc::{
    Role,
    control::WorkerReport,
    credit::Window,
    ingress_store::{self, IngressToStore, StoreToIngress},
};
use session_ipc::{EdgeToStore, StoreToEdge};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use worker::{
    drain::Drain,
    duplex::{self, LaneCapacity, LinkEvent, LinkSender},
    heartbeat::Heartbeat,
};

use super::{job_pool::JobPool, operator::OperatorQuestions};
use crate::{
    backup::BackUp,
    core::{Core, Fault},
    mailbox::Mailbox,
    replay::ReplayArchive,
};

/// Batches of a link that may wait for the core.
const EVENTS: usize = 8;
/// A session has at most a few answers under way. Mail in the lane is in memory, so there is no more than keeps the link busy.
const TO_EDGE: LaneCapacity = LaneCapacity { control: 65_536, bulk: 256 };

/// Every delivery of a window may be answered at once, and a question about marks.
const fn to_ingress(window: Window) -> LaneCapacity {
    LaneCapacity { control: window.messages as usize + 2, bulk: 1 }
}

/// Where the ends of the links come from, the first and all later ones.
pub(super) struct LinkEnds {
    pub(super) ingress: mpsc::Receiver<OwnedFd>,
    pub(super) edge: mpsc::Receiver<OwnedFd>,
    /// What `mix-ingress` may deliver and not yet be answered.
    pub(super) window: Window,
}

/// The core, its two links and its jobs.
pub(super) struct EventLoop<M> {
    core: Core<M>,
    pool: JobPool<M>,
    replay: ReplayArchive,
    questions: OperatorQuestions<M>,
    to_ingress: Option<LinkSender<StoreToIngress>>,
    to_edge: Option<LinkSender<StoreToEdge>>,
    /// Counts the heartbeats.
    turns: Number,
}

impl<M: Mailbox + BackUp> EventLoop<M> {
    pub(super) const fn new(
        core: Core<M>,
        pool: JobPool<M>,
        replay: ReplayArchive,
        questions: OperatorQuestions<M>,
        turns: Number,
    ) -> Self {
        Self { core, pool, replay, questions, to_ingress: None, to_edge: None, turns }
    }

    /// Serves the links until ordered to end and everything is on disk.
    pub(super) async fn run(
        self,
        ends: LinkEnds,
        reports: mpsc::Sender<WorkerReport>,
        drain: Drain,
    ) -> Result<(), Fault> {
        let (ingress_tx, ingress) = mpsc::channel(EVENTS);
        let (edge_tx, edge) = mpsc::channel(EVENTS);
        // Dropped when the core has ended: both peers have ended before, so no peer waits for what is still in a lane.
        let mut links = JoinSet::new();
        links.spawn(duplex::serve(
            Role::MixIngress,
            ends.ingress,
            to_ingress(ends.window),
            ingress_tx,
            reports.clone(),
        ));
        links.spawn(duplex::serve(Role::ClientEdge, ends.edge, TO_EDGE, edge_tx, reports.clone()));
        let heartbeat = Heartbeat::new(reports, self.turns.clone());
        self.work(ingress, edge, heartbeat, drain).await
    }

    async fn work(
        mut self,
        mut ingress: mpsc::Receiver<LinkEvent<IngressToStore, StoreToIngress>>,
        mut edge: mpsc::Receiver<LinkEvent<EdgeToStore, StoreToEdge>>,
        mut heartbeat: Heartbeat,
        drain: Drain,
    ) -> Result<(), Fault> {
        let mut begun = pin!(drain.begun());
        let mut ending = false;
        loop {
            self.carry_out();
            if ending && self.core.is_settled() {
                return Ok(());
            }
            // Without a deadline another event wakes the core.
            let due = async {
                match self.core.deadline() {
                    Some(at) => tokio::time::sleep_until(Instant::from_std(at)).await,
                    None => std::future::pending().await,
                }
            };
            let room = async {
                match &self.to_edge {
                    Some(link) if self.core.has_pushes() => link.bulk.reserve().await.is_ok(),
                    _ => std::future::pending().await,
                }
            };
            let outcome = tokio::select! {
                Some(event) = ingress.recv() => self.ingress_event(event),
                // Requests that are not taken wait in the link, and then in `client-edge`.
                Some(event) = edge.recv(), if self.pool.has_room() => self.edge_event(event),
                Some(asked) = self.questions.next(), if !ending => {
                    self.questions.ask(asked, &mut self.core);
                    Ok(())
                }
                done = self.pool.next_done() => self.pool.report(done, &mut self.core),
                () = due => {
                    self.core.tick(std::time::Instant::now());
                    Ok(())
                }
                still_there = room => {
                    if !still_there {
                        self.to_edge = None;
                    }
                    Ok(())
                }
                () = heartbeat.beat() => Ok(()),
                () = &mut begun, if !ending => {
                    ending = true;
                    self.questions.end();
                    self.core.spill_everything();
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
                self.core.ingress_up();
                Ok(())
            }
            LinkEvent::Batch(batch) => batch.into_iter().try_for_each(|message| match (message, &self.to_ingress) {
                (IngressToStore::DeliverMessage { delivery, destination, ack, message }, _) => {
                    self.core.deliver(delivery, destination, (message.0, ack), now)
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
                self.core.edge_up();
                Ok(())
            }
            LinkEvent::Batch(batch) => batch.into_iter().try_for_each(|request| self.core.handle_request(request, now)),
            LinkEvent::Down => {
                self.to_edge = None;
                self.core.edge_down();
                Ok(())
            }
        }
    }

    /// Does everything that can be done without waiting.
    fn carry_out(&mut self) {
        loop {
            // Answers before pushes: `client-edge` must know that a session is attached before its mail comes.
            let effects = self.core.take_effects();
            for answer in effects.to_ingress {
                send(self.to_ingress.as_ref(), answer, ingress_store::Rule::AnswersUnread);
            }
            for message in effects.to_edge {
                send(self.to_edge.as_ref(), message, session_ipc::Rule::AnswersUnread);
            }
            for (question, answer) in effects.to_operator {
                self.questions.answer(question, &answer);
            }
            for job in effects.jobs {
                self.pool.take(job);
            }
            if let Some(link) = &self.to_edge {
                while let Ok(room) = link.bulk.try_reserve()
                    && let Some(push) = self.core.next_push(std::time::Instant::now())
                {
                    room.send(push);
                }
            }
            // The search for something to push may have ended in a job that reads.
            if !self.core.has_effects() {
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
