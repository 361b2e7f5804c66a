//! The desk: who a session is. Requests are admitted by the phase of their session and by nothing else.
//!
//! A claim to be a client is decided in this order. Registration: signature, live session elsewhere, ledger, attached. Login:
//! proof, spent nonce, ledger (the nonce is spent even if the login is refused next), live session elsewhere, attached.
//! One claim for a client at a time, and none while the outcome of an earlier one is on its way to the ledger.
//!
//! A live session elsewhere is probed, and stays if it answers. One that was let in by a token has proved the session key only:
//! whoever proves the identity key, by a signed login or a registration, takes over from it at once.

use std::time::{Duration, Instant};

use client_wire::{
    handshake::HandshakeError,
    key::SessionKey,
    login::{LoginError, LoginForm, LoginProof},
};
use session_ipc::{
    Admission, AuthenticationRefusal, EdgeToStore, EndReason, Phase, RegistrationRefusal, Rule, SessionId, StoreToEdge,
};
use wire::address::ClientAddress;
use worker::{budget::BytePermit, counter::count};

use super::{Fault, Job, Office, Unproven, attachment::Attachment, budgets::Detached, storage::Storage};
use crate::{
    mailbox::{LedgerEntry, LedgerRoom, Mailbox, MailboxError},
    registrar::{Begun, Registration},
};

/// `client-edge` answers a probe after half a second; this is when its silence counts as an answer.
const PROBE_LIMIT: Duration = Duration::from_millis(750);

/// Where a session stands.
#[derive(Debug)]
pub(super) enum Session {
    /// Nothing asked, or refused.
    Fresh,
    /// A handshake message is being worked on.
    Computing,
    /// Waiting for the client's second handshake message.
    Handshaking(Box<Begun>),
    /// Proven; waiting for the ledger or for a probe.
    Claiming(Box<Claim>),
    /// Mail flows.
    Attached(Box<Attachment>),
    /// Ended by us; the edge does not know yet, and may still hold what was pushed.
    Detached(BytePermit),
}

impl Session {
    const fn phase(&self) -> Phase {
        match self {
            Self::Fresh => Phase::Fresh,
            Self::Computing | Self::Claiming(_) => Phase::Deciding,
            Self::Handshaking(_) => Phase::Handshaking,
            Self::Attached(_) => Phase::Attached,
            Self::Detached(_) => Phase::Detached,
        }
    }

    pub(super) const fn attached_client(&self) -> Option<ClientAddress> {
        match self {
            Self::Attached(attachment) => Some(attachment.client),
            _ => None,
        }
    }
}

/// A session that has proved to be a client.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    client: ClientAddress,
    key: SessionKey,
    by: ClaimedBy,
    /// Of a registration, how the client logs in later; of a login, its own form.
    logins: LoginForm,
}

impl Claim {
    const fn is_by_token(&self) -> bool {
        matches!((self.by, self.logins), (ClaimedBy::Login, LoginForm::Token))
    }
}

/// Why a client that has proved who it is was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// It is connected elsewhere, and that connection is alive.
    AlreadyConnected,
    /// The ledger cannot be read or written.
    StorageFailed,
}

/// Why a login came to nothing.
#[derive(Debug, thiserror::Error)]
enum LoginFailure {
    #[error(transparent)]
    Refused(#[from] LoginError),
    #[error("another claim to be the same client is being decided")]
    Contested,
    #[error("the client has logged in as often in this hour as it may")]
    TooMany,
    #[error(transparent)]
    Storage(#[from] MailboxError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClaimedBy {
    Registration,
    Login,
}

impl<M: Mailbox> Office<M> {
    pub(super) fn serve(&mut self, request: EdgeToStore, now: Instant) -> Result<(), Fault> {
        let session = request.session();
        let phase = self.sessions.get(&session).map_or(Phase::Fresh, Session::phase);
        match phase.admits(&request) {
            Admission::Proceed => {}
            Admission::Ignore => return Ok(()),
            Admission::Violation => return Err(Rule::Phase.into()),
        }
        if !self.sessions.contains_key(&session) && self.sessions.len() >= self.rules.max_sessions {
            return Err(Rule::TooManySessions.into());
        }
        match request {
            EdgeToStore::BeginHandshake { init, logins, .. } => {
                self.sessions.insert(session, Session::Computing);
                let visit = self.visit(session);
                self.orders.jobs.push(Job::BeginHandshake { visit, init, logins });
            }
            EdgeToStore::FinishHandshake { material, .. } => {
                if let Some(Session::Handshaking(begun)) = self.sessions.insert(session, Session::Computing) {
                    let visit = self.visit(session);
                    self.orders.jobs.push(Job::FinishHandshake { visit, begun, material });
                }
            }
            EdgeToStore::AbandonHandshake { .. } => {
                self.sessions.insert(session, Session::Fresh);
            }
            EdgeToStore::AuthenticateClient { proof, .. } => {
                self.sessions.insert(session, Session::Computing);
                let visit = self.visit(session);
                self.orders.jobs.push(Job::CheckLogin { visit, proof: Box::new(proof) });
            }
            EdgeToStore::ForgetClient { .. } => self.forget(session, now),
            EdgeToStore::ConfirmReceipt { up_to, .. } => self.receipt(session, up_to)?,
            EdgeToStore::AnswerProbe { alive, .. } => {
                if let Some(Session::Attached(attachment)) = self.sessions.get_mut(&session)
                    && let Some(newcomer) = attachment.newcomer.take()
                {
                    if alive {
                        self.refuse_claim(newcomer, Denial::AlreadyConnected);
                    } else {
                        self.supersede(session, newcomer, now);
                    }
                }
            }
            EdgeToStore::CloseSession { .. } => self.close(session, now),
        }
        Ok(())
    }

    pub(super) fn begun(&mut self, session: SessionId, outcome: Result<(Box<Begun>, Vec<u8>), HandshakeError>) {
        if !matches!(self.sessions.get(&session), Some(Session::Computing)) {
            return;
        }
        match outcome {
            Ok((begun, payload)) => {
                self.sessions.insert(session, Session::Handshaking(begun));
                self.orders.to_edge.push(StoreToEdge::ReplyHandshake { session, payload });
            }
            Err(error) => self.refuse_handshake(session, RegistrationRefusal::Handshake(error)),
        }
    }

    pub(super) fn finished(&mut self, session: SessionId, outcome: Result<Registration, HandshakeError>, now: Instant) {
        if !matches!(self.sessions.get(&session), Some(Session::Computing)) {
            return;
        }
        match outcome {
            Ok(Registration { client, key, logins }) => {
                if self.is_contested(&client) {
                    return self.refuse_handshake(session, RegistrationRefusal::AlreadyConnected);
                }
                self.claims.insert(client, session);
                let claim = Claim { client, key, by: ClaimedBy::Registration, logins };
                self.sessions.insert(session, Session::Claiming(Box::new(claim)));
                self.contest(session, now);
            }
            Err(error) => self.refuse_handshake(session, RegistrationRefusal::Handshake(error)),
        }
    }

    pub(super) fn log_in(&mut self, session: SessionId, outcome: Result<Box<LoginProof>, Unproven>, now: Instant) {
        if !matches!(self.sessions.get(&session), Some(Session::Computing)) {
            return;
        }
        let checked = match outcome {
            Ok(proof) => self.check_login(&proof, now).map(|key| (key, proof)),
            Err(Unproven { refusal, signed }) => {
                let barred = signed.map_or(Ok(()), |proof| self.bar_tokens(&proof));
                Err(barred.map_or_else(LoginFailure::from, |()| refusal.into()))
            }
        };
        match checked {
            Ok((key, proof)) => {
                let client = proof.address();
                self.claims.insert(client, session);
                let claim = Claim { client, key, by: ClaimedBy::Login, logins: proof.form() };
                self.sessions.insert(session, Session::Claiming(Box::new(claim)));
                let entry = LedgerEntry::Login { client, freshness: proof.freshness() };
                self.ledger.push(entry, Some(self.visit(session)));
            }
            Err(LoginFailure::Refused(refusal)) => {
                self.refuse_login(session, AuthenticationRefusal::Login(refusal));
            }
            Err(LoginFailure::TooMany) => {
                count(&self.counters.logins_refused_rate);
                self.refuse_login(session, AuthenticationRefusal::TooMany);
            }
            Err(LoginFailure::Contested) => self.refuse_login(session, AuthenticationRefusal::AlreadyConnected),
            Err(LoginFailure::Storage(error)) => {
                self.trouble(&error, now);
                self.refuse_login(
                    session,
                    match error {
                        MailboxError::UnknownRecord { .. } => AuthenticationRefusal::UnreadableEntry,
                        _ => AuthenticationRefusal::StorageFailed,
                    },
                );
            }
        }
    }

    /// The key of a client that has proved to hold it, and about whom nothing else is being decided.
    fn check_login(&mut self, proof: &LoginProof, now: Instant) -> Result<SessionKey, LoginFailure> {
        let client = &proof.address();
        let Some(key) = self.mailbox.key_of(client)? else { return Err(proof.not_registered().into()) };
        proof.check_key(&key)?;
        let freshness = proof.freshness();
        if self.ledger.has_shown(client, &freshness) || !self.mailbox.is_fresh(client, &freshness)? {
            return Err(proof.not_fresh().into());
        }
        if !self.logins.allows(client, proof.form(), now) {
            self.bar_tokens(proof)?;
            return Err(LoginFailure::TooMany);
        }
        if !self.is_contested(client) {
            return Ok(key);
        }
        // It was shown, so it must not be good later. Of one who is being forgotten nothing is kept.
        if !self.forgetting.contains_key(client) {
            self.ledger.push(LedgerEntry::Login { client: *client, freshness }, None);
        }
        Err(LoginFailure::Contested)
    }

    /// Whether something about the client is being decided already.
    pub(super) fn is_contested(&self, client: &ClientAddress) -> bool {
        self.claims.contains_key(client) || self.forgetting.contains_key(client) || self.ledger.concerns(client)
    }

    /// Refuses the client's mail from now on and has its ledger entry removed; the mail goes when that is committed.
    fn forget(&mut self, session: SessionId, now: Instant) {
        let Some(Detached { client, newcomer }) = self.detach(session) else { return };
        self.abandon(&client);
        self.forgetting.insert(client, Some(self.visit(session)));
        self.ledger.push(LedgerEntry::Forget { client }, Some(self.visit(session)));
        if let Some(newcomer) = newcomer {
            self.contest(newcomer, now);
        }
    }

    /// What the claim needed is in the ledger.
    pub(super) fn claim_written(&mut self, session: SessionId, now: Instant) {
        let Some(Session::Claiming(claim)) = self.sessions.get(&session) else { return };
        match claim.by {
            ClaimedBy::Login => self.contest(session, now),
            ClaimedBy::Registration => {
                let claim = claim.clone();
                self.attach(session, &claim, now);
            }
        }
    }

    /// Goes on with a claim if nobody else is attached as the client; otherwise has the other one probed first. While the client is
    /// being forgotten, who was claiming to be it already is refused, as who claims it then.
    pub(super) fn contest(&mut self, session: SessionId, now: Instant) {
        let Some(Session::Claiming(claim)) = self.sessions.get(&session) else { return };
        let claim = claim.clone();
        if self.forgetting.contains_key(&claim.client) {
            return self.refuse_claim(session, Denial::AlreadyConnected);
        }
        let other = self.inboxes.get(&claim.client).and_then(|inbox| inbox.attached);
        if let Some(other) = other
            && let Some(Session::Attached(attachment)) = self.sessions.get_mut(&other)
        {
            if attachment.is_by_token && !claim.is_by_token() {
                return self.supersede(other, session, now);
            }
            attachment.newcomer = Some(session);
            self.probes.push_back((now + PROBE_LIMIT, other, session));
            self.orders.to_edge.push(StoreToEdge::ProbeSession { session: other });
            return;
        }
        match claim.by {
            ClaimedBy::Login => self.attach(session, &claim, now),
            ClaimedBy::Registration if self.takes_new_clients(now) => {
                let Claim { client, key, logins, .. } = *claim;
                self.ledger.push(LedgerEntry::Register { client, key, logins }, Some(self.visit(session)));
            }
            ClaimedBy::Registration => self.refuse_claim(session, Denial::StorageFailed),
        }
    }

    /// Whether a registration may be written.
    fn takes_new_clients(&mut self, now: Instant) -> bool {
        if self.outlook.storage >= Storage::Full {
            return false;
        }
        match self.mailbox.ledger_room() {
            Ok(room) => {
                self.tell_of_ledger(room);
                !matches!(room, LedgerRoom::NoNewClients(_))
            }
            Err(error) => {
                self.trouble(&error, now);
                false
            }
        }
    }

    /// A probed session has not answered in time.
    pub(super) fn probe_over(&mut self, old: SessionId, newcomer: SessionId, now: Instant) {
        if let Some(Session::Attached(attachment)) = self.sessions.get_mut(&old)
            && attachment.newcomer == Some(newcomer)
        {
            attachment.newcomer = None;
            self.supersede(old, newcomer, now);
        }
    }

    fn supersede(&mut self, old: SessionId, newcomer: SessionId, now: Instant) {
        count(&self.counters.superseded);
        self.orders.to_edge.push(StoreToEdge::EndSession { session: old, reason: EndReason::Superseded });
        if let Some(detached) = self.detach(old) {
            self.spill_all(&detached.client);
        }
        self.contest(newcomer, now);
    }

    fn attach(&mut self, session: SessionId, claim: &Claim, now: Instant) {
        let inbox = match self.inboxes.open(self.mailbox.as_ref(), &claim.client, &self.batch) {
            Ok(Some(inbox)) => inbox,
            // It was in the ledger a moment ago: found there, or written just now.
            Ok(None) => return self.refuse_claim(session, Denial::StorageFailed),
            Err(error) => {
                self.trouble(&error, now);
                return self.refuse_claim(session, Denial::StorageFailed);
            }
        };
        self.claims.remove(&claim.client);
        inbox.attached = Some(session);
        let attachment = Attachment::new(
            claim.client,
            claim.is_by_token(),
            inbox.gone_end,
            self.rules.session_credit,
            &self.budgets,
        );
        self.sessions.insert(session, Session::Attached(Box::new(attachment)));
        self.orders.to_edge.push(StoreToEdge::AttachSession { session, key: claim.key.clone() });
        count(match claim.by {
            ClaimedBy::Registration => &self.counters.registered,
            ClaimedBy::Login => &self.counters.authenticated,
        });
        self.wake(session);
    }

    fn close(&mut self, session: SessionId, now: Instant) {
        match self.sessions.remove(&session) {
            Some(Session::Attached(attachment)) => {
                let (client, newcomer) = (attachment.client, attachment.newcomer);
                drop(attachment);
                self.memory_came_back();
                self.spill_all(&client);
                if let Some(newcomer) = newcomer {
                    self.contest(newcomer, now);
                }
            }
            Some(Session::Detached(held)) => self.left(held),
            Some(Session::Claiming(claim)) => {
                self.claims.remove(&claim.client);
                let other = self.inboxes.get(&claim.client).and_then(|inbox| inbox.attached);
                if let Some(Session::Attached(attachment)) = other.and_then(|other| self.sessions.get_mut(&other))
                    && attachment.newcomer == Some(session)
                {
                    attachment.newcomer = None;
                }
            }
            _ => {}
        }
    }

    /// Refuses a client that has proved who it is.
    pub(super) fn refuse_claim(&mut self, session: SessionId, denial: Denial) {
        let Some(Session::Claiming(claim)) = self.sessions.get(&session) else { return };
        let by = claim.by;
        self.claims.remove(&claim.client);
        match (by, denial) {
            (ClaimedBy::Registration, Denial::AlreadyConnected) => {
                self.refuse_handshake(session, RegistrationRefusal::AlreadyConnected);
            }
            (ClaimedBy::Registration, Denial::StorageFailed) => {
                self.refuse_handshake(session, RegistrationRefusal::StorageFailed);
            }
            (ClaimedBy::Login, Denial::AlreadyConnected) => {
                self.refuse_login(session, AuthenticationRefusal::AlreadyConnected);
            }
            (ClaimedBy::Login, Denial::StorageFailed) => {
                self.refuse_login(session, AuthenticationRefusal::StorageFailed);
            }
        }
    }

    fn refuse_handshake(&mut self, session: SessionId, reason: RegistrationRefusal) {
        count(&self.counters.registrations_refused);
        self.sessions.insert(session, Session::Fresh);
        self.orders.to_edge.push(StoreToEdge::RefuseHandshake { session, reason });
    }

    fn refuse_login(&mut self, session: SessionId, reason: AuthenticationRefusal) {
        count(&self.counters.authentications_refused);
        self.sessions.insert(session, Session::Fresh);
        self.orders.to_edge.push(StoreToEdge::RefuseAuthentication { session, reason });
    }
}
