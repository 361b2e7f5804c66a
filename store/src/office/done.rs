//! What came of the jobs that the office has handed out.

use std::time::Instant;

use client_wire::{handshake::HandshakeError, login::LoginProof};

use super::{Office, Swept, Unproven, Visit};
use crate::{
    mailbox::{Committed, Lack, Mailbox, MailboxError, Page, Uncommitted},
    registrar::{Begun, Registration},
};

/// What came of a job.
#[derive(Debug)]
pub enum Done {
    /// The batch of [`Job::CommitMail`](super::Job::CommitMail).
    Mail(Result<Committed, Box<Uncommitted>>),
    /// The entries of `CommitLedger`.
    Ledger(Result<(), MailboxError>),
    /// `Restore`: what is lacking still.
    Restored(Result<Option<Lack>, MailboxError>),
    /// A page of `Sweep`.
    Swept(Result<Swept, MailboxError>),
    /// `KeepClasses`.
    ClassesKept(Result<(), MailboxError>),
    /// The page of `Peek`.
    Read(Visit, Result<Page, MailboxError>),
    /// `CheckLogin`.
    LoginChecked(Visit, Result<Box<LoginProof>, Unproven>),
    /// `BeginHandshake`: what is to be kept, and the answer.
    Begun(Visit, Result<(Box<Begun>, Vec<u8>), HandshakeError>),
    /// `FinishHandshake`.
    Finished(Visit, Result<Registration, HandshakeError>),
}

impl<M: Mailbox> Office<M> {
    /// A job is done.
    pub fn report(&mut self, done: Done, now: Instant) {
        match done {
            Done::Mail(outcome) => self.mail_committed(outcome, now),
            Done::Ledger(outcome) => self.ledger_committed(outcome, now),
            Done::Restored(outcome) => self.restored(outcome, now),
            Done::Swept(outcome) => self.swept(outcome, now),
            Done::ClassesKept(outcome) => Self::classes_kept(&outcome),
            Done::Read(visit, outcome) => self.peeked(visit, outcome, now),
            Done::LoginChecked(visit, outcome) => self.login_checked(visit, outcome, now),
            Done::Begun(visit, outcome) => self.handshake_begun(visit, outcome),
            Done::Finished(visit, outcome) => self.handshake_finished(visit, outcome, now),
        }
    }
}
