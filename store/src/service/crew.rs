//! The crew does what takes time: commits at once, reads and signatures a bounded number at a time.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use proto::{
    ipc::store_edge::HandshakeRefusal,
    wire::client::login::{LoginProof, LoginRefusal},
};
use tokio::task::{JoinError, JoinSet};

use crate::{
    clock,
    identity::Identity,
    mailbox::{self, Committed, Mailbox, MailboxError, Page, PageLimit, Uncommitted},
    office::{Fault, Job, Office, Swept, Visit},
    registrar::{self, Begun, Registration},
};

/// Reads at a time.
const READERS: usize = 2;
/// At a time: one commit of mail, one of the ledger, one try to restore storage, one page of a sweep.
const COMMITTERS: usize = 4;
/// What one read brings at the most.
const PAGE: PageLimit = PageLimit { messages: 128, bytes: 256 * 1024 };

/// Something done.
#[derive(Debug)]
pub(super) enum Done {
    Mail(Result<Committed, Box<Uncommitted>>),
    Ledger(Result<(), MailboxError>),
    Restored(Result<bool, MailboxError>),
    Swept(Result<Swept, MailboxError>),
    Read(Visit, Result<Page, MailboxError>),
    LoginChecked(Visit, Result<Box<LoginProof>, LoginRefusal>),
    Begun(Visit, Result<(Box<Begun>, Vec<u8>), HandshakeRefusal>),
    Finished(Visit, Result<Registration, HandshakeRefusal>),
}

/// Jobs of one kind: so many at a time, the others wait. At most one waits for each session.
#[derive(Debug)]
struct Queue {
    free: usize,
    waiting: VecDeque<Job>,
}

impl Queue {
    const fn new(free: usize) -> Self {
        Self { free, waiting: VecDeque::new() }
    }
}

/// The crew.
#[derive(Debug)]
pub(super) struct Crew<M> {
    mailbox: Arc<M>,
    identity: Arc<Identity>,
    signers: usize,
    signatures: Queue,
    reads: Queue,
    working: JoinSet<Done>,
}

impl<M: Mailbox> Crew<M> {
    pub(super) fn new(mailbox: Arc<M>, identity: Arc<Identity>, signers: usize) -> Self {
        let signers = signers.max(1);
        Self {
            mailbox,
            identity,
            signers,
            signatures: Queue::new(signers),
            reads: Queue::new(READERS),
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
            Job::CommitMail(_) | Job::CommitLedger(_) | Job::Restore { .. } | Job::Sweep(_) => return self.start(job),
            Job::Peek { .. } => &mut self.reads,
            Job::BeginHandshake { .. } | Job::FinishHandshake { .. } | Job::CheckLogin { .. } => &mut self.signatures,
        };
        if queue.free > 0 {
            queue.free -= 1;
            self.start(job);
        } else {
            queue.waiting.push_back(job);
        }
    }

    fn start(&mut self, job: Job) {
        let mailbox = Arc::clone(&self.mailbox);
        let identity = Arc::clone(&self.identity);
        self.working.spawn_blocking(move || match job {
            Job::CommitMail(batch) => Done::Mail(mailbox::commit(mailbox.as_ref(), batch)),
            Job::Restore { reopen } => {
                let opened = if reopen { mailbox.reopen() } else { Ok(()) };
                let room = opened.and_then(|()| mailbox.has_room());
                if matches!(room, Ok(true)) {
                    mailbox.keep_reserve();
                }
                Done::Restored(room)
            }
            Job::CommitLedger(entries) => Done::Ledger(mailbox.commit_ledger(&entries)),
            Job::Sweep(page) => Done::Swept(page.read(mailbox.as_ref(), clock::now())),
            Job::Peek { visit, client, range } => Done::Read(visit, mailbox.peek(&client, range, PAGE)),
            Job::CheckLogin { visit, proof } => Done::LoginChecked(
                visit,
                proof.check_claim(clock::now().as_secs(), registrar::is_signed).map(|()| proof),
            ),
            Job::BeginHandshake { visit, init } => {
                let begun = registrar::begin(&identity, &init);
                Done::Begun(visit, begun.map(|(begun, reply)| (Box::new(begun), reply)))
            }
            Job::FinishHandshake { visit, begun, material } => {
                Done::Finished(visit, registrar::finish(*begun, &material))
            }
        });
    }

    /// The next thing done. Waits for ever while nobody is at work.
    pub(super) async fn next_done(&mut self) -> Result<Done, JoinError> {
        match self.working.join_next().await {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    /// Tells the office, and lets the next in turn begin.
    pub(super) fn report(&mut self, done: Result<Done, JoinError>, office: &mut Office<M>) -> Result<(), Fault> {
        let now = Instant::now();
        let done = done.map_err(|_| Fault::JobDied)?;
        let queue = match &done {
            Done::Mail(_) | Done::Ledger(_) | Done::Restored(_) | Done::Swept(_) => None,
            Done::Read(..) => Some(&mut self.reads),
            Done::Begun(..) | Done::Finished(..) | Done::LoginChecked(..) => Some(&mut self.signatures),
        };
        if let Some(queue) = queue {
            match queue.waiting.pop_front() {
                Some(job) => self.start(job),
                None => queue.free += 1,
            }
        }
        match done {
            Done::Mail(outcome) => office.mail_committed(outcome, now),
            Done::Ledger(outcome) => office.ledger_committed(outcome, now),
            Done::Restored(outcome) => office.restored(outcome, now),
            Done::Swept(outcome) => office.swept(outcome, now),
            Done::Read(visit, outcome) => office.peeked(visit, outcome, now),
            Done::LoginChecked(visit, outcome) => office.login_checked(visit, outcome, now),
            Done::Begun(visit, outcome) => office.handshake_begun(visit, outcome),
            Done::Finished(visit, outcome) => office.handshake_finished(visit, outcome, now),
        }
        Ok(())
    }
}
