//! Answers the operator's questions: those about one client by asking the core, the count of all and a backup by jobs of their own.
//!
//! *Promises*: at most [`WAITING`] questions wait for a commit, and one count and one backup are under way, whatever is asked. A
//! descriptor that is not read costs nothing: an answer fits its buffer, and a backup that nobody reads ends.

use std::{
    collections::HashMap,
    fs::File,
    io::Write as _,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use ipc::{
    codec,
    operator::{StoreAnswer, StoreQuestion},
};
use tokio::{sync::mpsc, task::JoinSet};
use worker::control_link::Asked;

use crate::{
    backup::{self, BackUp, Reader},
    core::{Core, QuestionId},
    mailbox::Mailbox,
};

/// Questions that wait for a commit at the most.
const WAITING: usize = 16;

/// The questions under way, and where their answers go.
pub(super) struct OperatorQuestions<M> {
    mailbox: Arc<M>,
    incoming: mpsc::Receiver<Asked>,
    waiting: HashMap<QuestionId, OwnedFd>,
    next: u64,
    counts: JoinSet<()>,
    /// The folder of the marks of packets seen.
    replay: Arc<OwnedFd>,
    backups: JoinSet<()>,
    /// Set when the process is to end. A backup stops then.
    is_ending: Arc<AtomicBool>,
}

impl<M: Mailbox + BackUp> OperatorQuestions<M> {
    /// Threads that may be at work at once.
    pub(super) const THREADS: usize = 2;

    pub(super) fn new(mailbox: Arc<M>, replay: OwnedFd, incoming: mpsc::Receiver<Asked>) -> Self {
        Self {
            mailbox,
            incoming,
            waiting: HashMap::new(),
            next: 0,
            counts: JoinSet::new(),
            replay: Arc::new(replay),
            backups: JoinSet::new(),
            is_ending: Arc::default(),
        }
    }

    /// The next question. Nothing once the control link is no longer followed.
    pub(super) async fn next(&mut self) -> Option<Asked> {
        self.incoming.recv().await
    }

    pub(super) fn ask(&mut self, Asked { question, answer }: Asked, core: &mut Core<M>) {
        let now = Instant::now();
        match question {
            StoreQuestion::ShowClient { client } => write(answer, &core.show_client(&client, now)),
            StoreQuestion::ForgetClient { client } if self.waiting.len() < WAITING => {
                let question = QuestionId(self.next);
                self.next += 1;
                self.waiting.insert(question, answer);
                core.forget_by_order(question, &client, now);
            }
            StoreQuestion::CountClients => {
                if is_busy(&mut self.counts) {
                    return write(answer, &StoreAnswer::Busy);
                }
                let mailbox = Arc::clone(&self.mailbox);
                self.counts.spawn_blocking(move || {
                    let counted = mailbox.count_clients().inspect_err(|error| {
                        tracing::warn!(id = "GWD-S056", %error, "the clients cannot be counted for the operator");
                    });
                    write(answer, &counted.map_or(StoreAnswer::StorageFailed, StoreAnswer::Counted));
                });
            }
            // A second reader finds that its stream ends, because the descriptor is closed.
            StoreQuestion::BackUp if is_busy(&mut self.backups) => {}
            StoreQuestion::BackUp => {
                let (mailbox, replay) = (Arc::clone(&self.mailbox), Arc::clone(&self.replay));
                let reader = Reader::new(answer, Arc::clone(&self.is_ending));
                self.backups.spawn_blocking(move || backup::write(mailbox.as_ref(), &replay, reader));
            }
            StoreQuestion::ForgetClient { .. } => write(answer, &StoreAnswer::Busy),
        }
    }

    /// The process is to end.
    pub(super) fn end(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    /// The core has answered.
    pub(super) fn answer(&mut self, question: QuestionId, answer: &StoreAnswer) {
        if let Some(waiting) = self.waiting.remove(&question) {
            write(waiting, answer);
        }
    }
}

/// Whether a job of this kind is under way.
fn is_busy(jobs: &mut JoinSet<()>) -> bool {
    while jobs.try_join_next().is_some() {}
    !jobs.is_empty()
}

fn write(to: OwnedFd, answer: &StoreAnswer) {
    if let Ok(bytes) = codec::encode_one(answer) {
        // If nobody reads it any more, nobody needs it.
        let _ = File::from(to).write_all(&bytes);
    }
}
