//! What came of the jobs that the core has handed out.

use std::time::Instant;

use client_wire::{handshake::HandshakeError, login::LoginProof};

use super::{Core, inboxes::Inboxes, session_ref::SessionRef, sessions::Unproven, sweep::Swept};
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
    Read(SessionRef, Result<Page, MailboxError>),
    /// `CheckLogin`.
    LoginChecked(SessionRef, Result<Box<LoginProof>, Unproven>),
    /// `BeginHandshake`: what is to be kept, and the answer.
    Begun(SessionRef, Result<(Box<Begun>, Vec<u8>), HandshakeError>),
    /// `FinishHandshake`.
    Finished(SessionRef, Result<Registration, HandshakeError>),
}

impl<M: Mailbox> Core<M> {
    /// A job is done.
    pub fn report(&mut self, done: Done, now: Instant) {
        match done {
            Done::Mail(outcome) => self.mail_committed(outcome, now),
            Done::Ledger(outcome) => self.ledger_committed(outcome, now),
            Done::Restored(outcome) => self.restored(outcome, now),
            Done::Swept(outcome) => self.swept(outcome, now),
            Done::ClassesKept(outcome) => Inboxes::classes_kept(&outcome),
            Done::Read(session_ref, outcome) => self.peeked(session_ref, outcome, now),
            Done::LoginChecked(session_ref, outcome) => self.login_checked(session_ref, outcome, now),
            Done::Begun(session_ref, outcome) => self.handshake_begun(session_ref, outcome),
            Done::Finished(session_ref, outcome) => self.handshake_finished(session_ref, outcome, now),
        }
    }
}
