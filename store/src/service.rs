//! Carries out what the core decides.
//!
//! Two threads and a pool of jobs: the main thread follows the supervisor's commands and never touches the disk; the core has a
//! thread of its own, on which it reads and writes its links, decides and looks things up, since two threads that wake each other for
//! every packet cost more than what they do; commits, reads and signatures are done by the pool, a bounded number at a time, so
//! that a commit never waits behind a signature.

mod event_loop;
mod gauges;
mod job_pool;
mod operator;

use std::{os::fd::OwnedFd, sync::Arc, time::Duration};

use figures::Figures as _;
use ipc::{Role, control::StoreConfig, http_api::HostFacts};
use sandbox::Closed;
use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, timeout_at},
};
use worker::{birth::Birth, control_link::Ending, counter, drain};

use identity::{Identity, host_information::InvalidFacts};

use crate::{
    announcement,
    backup::BackUp,
    core::{Core, Fault},
    counters::StoreCounters,
    mailbox::Mailbox,
    replay::ReplayArchive,
};
use event_loop::{EventLoop, LinkEnds};
use job_pool::JobPool;
use operator::OperatorQuestions;

/// How long the last commits may take.
const LAST_COMMITS: Duration = Duration::from_secs(5);

/// The first ends of the links.
#[derive(Debug)]
pub struct Links {
    /// To `mix-ingress`.
    pub ingress: OwnedFd,
    /// To `client-edge`.
    pub edge: OwnedFd,
    /// To `http-api`, if the gateway is described to today's network.
    pub http_api: Option<OwnedFd>,
}

/// What the service works with.
pub struct Service<M> {
    /// Ledger and inboxes.
    pub mailbox: Arc<M>,
    /// Marks of packets seen.
    pub replay: ReplayArchive,
    /// Their folder, for backups.
    pub replay_directory: OwnedFd,
    /// Signs registrations.
    pub identity: Arc<Identity>,
    /// The configuration.
    pub config: StoreConfig,
    /// What to sign as host information, if anything.
    pub announce: Option<HostFacts>,
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
    /// The core cannot go on.
    #[error(transparent)]
    Core(#[from] Fault),
    /// The core's thread ended without an outcome.
    #[error("the thread of the core ended unexpectedly")]
    Vanished,
    /// There is nothing to announce.
    #[error("cannot sign the host information of [node]: {0}; correct `public_ips` and `hostname` in config.toml")]
    Announcement(#[from] InvalidFacts),
    /// The last commits took too long.
    #[error("mail was still being written {0:?} after the order to end")]
    Unsettled(Duration),
}

impl<M: Mailbox + BackUp> Service<M> {
    /// Serves on `runtime` until ordered to end, or until storage fails.
    ///
    /// # Errors
    /// If the service cannot start or go on.
    pub fn run(self, _: &Closed, runtime: &Runtime, birth: &Birth, links: Links) -> Result<Ending, ServiceError> {
        tracing::info!(
            in_flight = self.config.window.bytes,
            pushed = self.config.pushed_bytes,
            read_ahead = self.config.read_ahead_bytes,
            "budgets of memory for mail, in bytes"
        );
        runtime.block_on(async {
            let mut control = birth.control_link()?;
            let (reports_tx, reports) = mpsc::channel(4);
            let ends = LinkEnds {
                ingress: control.link_ends(Role::MixIngress, links.ingress),
                edge: control.link_ends(Role::ClientEdge, links.edge),
                window: self.config.window,
            };
            let questions =
                OperatorQuestions::new(Arc::clone(&self.mailbox), self.replay_directory, control.questions());
            let mut tasks = JoinSet::new();
            tasks.spawn(counter::log_changes(Arc::clone(&self.counters)));
            if let (Some(facts), Some(first)) = (&self.announce, links.http_api) {
                let signed = self.identity.sign_host_information(facts)?;
                let ends = control.link_ends(Role::HttpApi, first);
                tasks.spawn(announcement::publish(signed, ends, reports_tx.clone()));
            }

            tasks.spawn(gauges::keep(Arc::clone(&self.mailbox), Arc::clone(&self.counters), &self.config));
            let (order, drain) = drain::channel();
            let (done_tx, mut done) = oneshot::channel();
            let counters = Arc::clone(&self.counters);
            // The supervisor says that new mail is taken once the worker is ready, so it has to know before that storage is full.
            let now = std::time::Instant::now();
            let mut core = Core::new(Arc::clone(&self.mailbox), self.config, self.counters, now);
            if !core.check_storage(now) {
                birth.report_full_storage();
            }
            let pool = JobPool::new(self.mailbox, self.identity, self.threads, counters.mail_commit_time.clone());
            let threads = pool.threads() + OperatorQuestions::<M>::THREADS;
            let events = EventLoop::new(core, pool, self.replay, questions, counters.loop_turns.clone());
            std::thread::Builder::new().name("core".into()).spawn(move || {
                // The receiver waits for this until the process ends.
                let _ = done_tx.send(run_here(events.run(ends, reports_tx, drain), threads));
            })?;

            let ending = tokio::select! {
                ending = control.follow(reports) => ending,
                outcome = &mut done => return outcome.map_err(|_| ServiceError::Vanished)?.map(|()| Ending::Drain),
            };
            if ending == Ending::Drain {
                // If the core has ended by itself, `done` has the reason.
                let deadline = Instant::now() + LAST_COMMITS;
                order.begin(deadline);
                let outcome = timeout_at(deadline, done).await;
                outcome.map_err(|_| ServiceError::Unsettled(LAST_COMMITS))?.map_err(|_| ServiceError::Vanished)??;
                counter::log(&counters.snapshot());
            }
            Ok(ending)
        })
    }
}

/// Runs the event loop on this thread, with so many threads for its jobs.
fn run_here(events: impl Future<Output = Result<(), Fault>>, threads: usize) -> Result<(), ServiceError> {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(threads).build()?;
    Ok(runtime.block_on(events)?)
}
