//! What the core wants done: by the links, at once, and by the pool of jobs, which reports each outcome as a [`Done`](super::Done).

use client_wire::login::{LoginForm, LoginProof};
use ipc::{ingress_store::StoreToIngress, operator::StoreAnswer};
use session_ipc::{Sequence, StoreToEdge};
use wire::address::ClientAddress;

use super::{question::QuestionId, session_ref::SessionRef, sweep::SweepPage};
use crate::{
    mailbox::{Class, LedgerEntry, MailBatch, PageLimit},
    registrar::Begun,
};

/// Something that takes time. At most one commit of each kind is under way.
#[derive(Debug)]
pub enum Job {
    /// Commit mail.
    CommitMail(MailBatch),
    /// Commit ledger entries.
    CommitLedger(Vec<LedgerEntry>),
    /// Try storage again, opened again or as it is.
    Restore {
        /// Whether to open it again.
        reopen: bool,
    },
    /// Read mail.
    Peek {
        /// For which session.
        session_ref: SessionRef,
        /// Whose mail.
        client: ClientAddress,
        /// From here, and before there.
        range: (Sequence, Sequence),
        /// So much at the most.
        limit: PageLimit,
    },
    /// Look for what is kept for too long.
    Sweep(SweepPage),
    /// Keep the classes of these clients.
    KeepClasses(Vec<(ClientAddress, Class)>),
    /// Answer a first handshake message.
    BeginHandshake {
        /// For which session.
        session_ref: SessionRef,
        /// What the client sent.
        init: Vec<u8>,
        /// How it will log in.
        logins: LoginForm,
    },
    /// Check what of a login needs no ledger.
    CheckLogin {
        /// For which session.
        session_ref: SessionRef,
        /// What the client sent.
        proof: Box<LoginProof>,
    },
    /// Check a second handshake message.
    FinishHandshake {
        /// For which session.
        session_ref: SessionRef,
        /// What was agreed on.
        begun: Box<Begun>,
        /// What the client sent.
        material: Vec<u8>,
    },
}

/// What is to be done, in order.
#[derive(Debug, Default)]
pub struct Effects {
    /// Answers for `mix-ingress`.
    pub to_ingress: Vec<StoreToIngress>,
    /// Answers and requests for `client-edge`.
    pub to_edge: Vec<StoreToEdge>,
    /// Answers for the operator.
    pub to_operator: Vec<(QuestionId, StoreAnswer)>,
    /// What takes time.
    pub jobs: Vec<Job>,
}

impl Effects {
    /// Whether there is nothing to do.
    pub(super) const fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.to_edge.is_empty() && self.to_ingress.is_empty() && self.to_operator.is_empty()
    }
}
