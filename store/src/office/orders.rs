//! What the office wants done: by the links, at once, and by the crew, which tells it the outcome.

use client_wire::login::{LoginForm, LoginProof};
use ipc::ingress_store::StoreToIngress;
use session_ipc::{Sequence, SessionId, StoreToEdge};
use wire::address::ClientAddress;

use super::retention::SweepPage;
use crate::{
    mailbox::{Class, LedgerEntry, MailBatch, PageLimit},
    registrar::Begun,
};

/// Something that takes time. At most one commit of each kind is under way.
#[derive(Debug)]
pub enum Job {
    /// Commit mail; answered by [`Office::mail_committed`](super::Office::mail_committed).
    CommitMail(MailBatch),
    /// Commit ledger entries; answered by [`Office::ledger_committed`](super::Office::ledger_committed).
    CommitLedger(Vec<LedgerEntry>),
    /// Try storage again, opened anew or as it is; answered by [`Office::restored`](super::Office::restored).
    Restore {
        /// Whether to open it anew.
        reopen: bool,
    },
    /// Read mail; answered by [`Office::peeked`](super::Office::peeked).
    Peek {
        /// For whom.
        visit: Visit,
        /// Whose mail.
        client: ClientAddress,
        /// From here, and before there.
        range: (Sequence, Sequence),
        /// So much at the most.
        limit: PageLimit,
    },
    /// Look for what is kept for too long; answered by [`Office::swept`](super::Office::swept).
    Sweep(SweepPage),
    /// Keep the classes of these clients; answered by [`Office::classes_kept`](super::Office::classes_kept).
    KeepClasses(Vec<(ClientAddress, Class)>),
    /// Answer a first handshake message; answered by [`Office::handshake_begun`](super::Office::handshake_begun).
    BeginHandshake {
        /// For whom.
        visit: Visit,
        /// What the client sent.
        init: Vec<u8>,
        /// How it will log in.
        logins: LoginForm,
    },
    /// Check what of a login needs no ledger; answered by [`Office::login_checked`](super::Office::login_checked).
    CheckLogin {
        /// For whom.
        visit: Visit,
        /// What the client sent.
        proof: Box<LoginProof>,
    },
    /// Check a second handshake message; answered by [`Office::handshake_finished`](super::Office::handshake_finished).
    FinishHandshake {
        /// For whom.
        visit: Visit,
        /// What was agreed on.
        begun: Box<Begun>,
        /// What the client sent.
        material: Vec<u8>,
    },
}

/// A session of one incarnation of `client-edge`: a successor numbers its sessions from the start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    pub(super) edge: u64,
    pub(super) session: SessionId,
}

#[cfg(test)]
impl Visit {
    pub(crate) const fn first() -> Self {
        Self { edge: 1, session: SessionId(1) }
    }
}

/// What is to be done, in order.
#[derive(Debug, Default)]
pub struct Orders {
    /// Answers for `mix-ingress`.
    pub to_ingress: Vec<StoreToIngress>,
    /// Answers and requests for `client-edge`.
    pub to_edge: Vec<StoreToEdge>,
    /// What takes time.
    pub jobs: Vec<Job>,
}
