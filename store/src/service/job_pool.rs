//! The pool of blocking jobs: commits start at once, reads and signatures a bounded number at a time.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use tokio::task::{JoinError, JoinSet};

use figures::Histogram;
use identity::Identity;

use crate::{
    clock,
    core::{self, Core, Done, Fault, Job},
    mailbox::{self, Mailbox},
    registrar,
};

/// Reads at a time.
const READERS: usize = 2;
/// At a time: one commit of mail, one of the ledger, one try to restore storage, one page of a sweep, one list of classes.
const COMMITTERS: usize = 5;
/// While so many bytes of clients' messages wait for a signature, nothing is read from `client-edge`. All clients that may be connected
/// need less for their logins.
const WAITING: usize = 8 * 1024 * 1024;

/// Jobs of one kind: so many at a time, the others wait. Each session has at most one job that waits.
#[derive(Debug)]
struct Queue {
    free: usize,
    waiting: VecDeque<Job>,
    /// Bytes of clients' messages in those that wait.
    bytes: usize,
}

impl Queue {
    const fn new(free: usize) -> Self {
        Self { free, waiting: VecDeque::new(), bytes: 0 }
    }

    /// Gives the job back if it can start at once.
    fn enter(&mut self, job: Job) -> Option<Job> {
        if self.free > 0 {
            self.free -= 1;
            return Some(job);
        }
        self.bytes += message_len(&job);
        self.waiting.push_back(job);
        None
    }

    /// One is done: the next may start.
    fn leave(&mut self) -> Option<Job> {
        let next = self.waiting.pop_front();
        match &next {
            Some(job) => self.bytes -= message_len(job),
            None => self.free += 1,
        }
        next
    }
}

/// Bytes of a client's message in a job.
const fn message_len(job: &Job) -> usize {
    match job {
        Job::BeginHandshake { init, .. } => init.len(),
        Job::FinishHandshake { material, .. } => material.len(),
        _ => 0,
    }
}

/// The pool of blocking jobs.
#[derive(Debug)]
pub(super) struct JobPool<M> {
    mailbox: Arc<M>,
    identity: Arc<Identity>,
    signers: usize,
    signatures: Queue,
    reads: Queue,
    commit_time: Histogram,
    working: JoinSet<Done>,
}

impl<M: Mailbox> JobPool<M> {
    pub(super) fn new(mailbox: Arc<M>, identity: Arc<Identity>, signers: usize, commit_time: Histogram) -> Self {
        let signers = signers.max(1);
        Self {
            mailbox,
            identity,
            signers,
            signatures: Queue::new(signers),
            reads: Queue::new(READERS),
            commit_time,
            working: JoinSet::new(),
        }
    }

    /// Threads that may be at work at once.
    pub(super) const fn threads(&self) -> usize {
        self.signers + READERS + COMMITTERS
    }

    /// Starts a job, or has it wait for its turn.
    pub(super) fn take(&mut self, job: Job) {
        let queue = match &job {
            Job::CommitMail(_) | Job::CommitLedger(_) | Job::Restore { .. } | Job::Sweep(_) | Job::KeepClasses(_) => {
                return self.start(job);
            }
            Job::Peek { .. } => &mut self.reads,
            Job::BeginHandshake { .. } | Job::FinishHandshake { .. } | Job::CheckLogin { .. } => &mut self.signatures,
        };
        if let Some(job) = queue.enter(job) {
            self.start(job);
        }
    }

    /// Whether clients' messages may be taken on.
    pub(super) const fn has_room(&self) -> bool {
        self.signatures.bytes < WAITING
    }

    fn start(&mut self, job: Job) {
        let mailbox = Arc::clone(&self.mailbox);
        let identity = Arc::clone(&self.identity);
        let commit_time = self.commit_time.clone();
        self.working.spawn_blocking(move || match job {
            Job::CommitMail(batch) => {
                let begun = Instant::now();
                let committed = mailbox::commit(mailbox.as_ref(), batch);
                commit_time.observe(begun.elapsed());
                Done::Mail(committed)
            }
            Job::Restore { reopen } => {
                let opened = if reopen { mailbox.reopen() } else { Ok(()) };
                let lack = opened.and_then(|()| mailbox.lack());
                if matches!(lack, Ok(None)) {
                    mailbox.keep_reserve();
                }
                Done::Restored(lack)
            }
            Job::CommitLedger(entries) => Done::Ledger(mailbox.commit_ledger(&entries)),
            Job::Sweep(page) => Done::Swept(page.read(mailbox.as_ref(), clock::now())),
            Job::KeepClasses(classes) => Done::ClassesKept(mailbox.keep_classes(&classes)),
            Job::Peek { session_ref, client, range, limit } => {
                Done::Read(session_ref, mailbox.peek(&client, range, limit))
            }
            Job::CheckLogin { session_ref, proof } => {
                Done::LoginChecked(session_ref, core::check_claim(proof, clock::now().as_secs(), registrar::is_signed))
            }
            Job::BeginHandshake { session_ref, init, logins } => {
                let begun = registrar::begin(&identity, &init, logins);
                Done::Begun(session_ref, begun.map(|(begun, reply)| (Box::new(begun), reply)))
            }
            Job::FinishHandshake { session_ref, begun, material } => {
                Done::Finished(session_ref, registrar::finish(*begun, &material))
            }
        });
    }

    /// The outcome of the next job that ends. Never ready while no job is under way.
    pub(super) async fn next_done(&mut self) -> Result<Done, JoinError> {
        match self.working.join_next().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    /// Tells the core of an outcome, and starts the next job in turn.
    pub(super) fn report(&mut self, done: Result<Done, JoinError>, core: &mut Core<M>) -> Result<(), Fault> {
        let now = Instant::now();
        let done = done.map_err(|_| Fault::JobDied)?;
        let queue = match &done {
            Done::Mail(_) | Done::Ledger(_) | Done::Restored(_) | Done::Swept(_) | Done::ClassesKept(_) => None,
            Done::Read(..) => Some(&mut self.reads),
            Done::Begun(..) | Done::Finished(..) | Done::LoginChecked(..) => Some(&mut self.signatures),
        };
        if let Some(job) = queue.and_then(Queue::leave) {
            self.start(job);
        }
        core.report(done, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use client_wire::login::LoginForm;

    use super::*;
    use crate::core::SessionRef;

    #[test]
    fn what_waits_is_weighed_and_starts_in_turn() {
        let mut queue = Queue::new(1);
        let job = |bytes| Job::BeginHandshake {
            session_ref: SessionRef::first(),
            init: vec![0; bytes],
            logins: LoginForm::Token,
        };
        assert!(queue.enter(job(5)).is_some(), "one starts at once");
        assert!(queue.enter(job(7)).is_none() && queue.enter(job(9)).is_none());
        assert_eq!(queue.bytes, 16);
        assert_eq!(queue.leave().as_ref().map(message_len), Some(7));
        assert_eq!(queue.bytes, 9);
        assert_eq!(queue.leave().as_ref().map(message_len), Some(9));
        assert!(queue.leave().is_none());
        assert_eq!((queue.bytes, queue.free), (0, 1));
    }
}
