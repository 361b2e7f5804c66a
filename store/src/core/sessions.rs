//! The state machine of sessions. Only the phase of a session decides whether a request is admitted.
//!
//! A claim to be a client is decided in this order. Registration: signature, live session elsewhere, ledger, attached. Login:
//! proof, spent nonce, ledger (the nonce is spent even if the login is refused next), live session elsewhere, attached.
//! One claim for a client at a time, and none while the outcome of an earlier one is on its way to the ledger.

mod claim;
mod claims;
mod login;
mod login_limit;
mod refused_login;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Instant,
};

use client_wire::handshake::HandshakeError;
use ipc::control::StoreConfig;
use session_ipc::{
    Admission, AuthenticationRefusal, EdgeToStore, EndReason, Phase, RegistrationRefusal, Rule, SessionAnswer,
    SessionId, SessionRequest, StoreToEdge,
};
use wire::address::ClientAddress;
use worker::{budget::BytePermit, counter::count};

use self::{claim::Claim, login_limit::LoginLimit};
pub(super) use claim::Denial;
pub use refused_login::{Unproven, check_claim};

use super::{Core, Fault, delivery::Attachment, effects::Job, retention::ForgottenFor, session_ref::SessionRef};
use crate::{mailbox::Mailbox, registrar::Begun};

/// The state of a session.
#[derive(Debug)]
enum Session {
    /// Nothing asked, or refused.
    Fresh,
    /// A handshake message or a login is being worked on.
    Computing,
    /// Waiting for the client's second handshake message.
    Handshaking(Box<Begun>),
    /// Proven; waiting for the ledger or for a probe.
    Claiming(Box<Claim>),
    /// Mail flows.
    Attached(Box<Attachment>),
    /// Ended by the store; `client-edge` does not know yet, and may still hold what was pushed.
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
}

/// The sessions of the `client-edge` that is connected.
///
/// *Promises*: a client has at most one claim, which is that of a session in the state `Claiming`, and at most one attached session,
/// which its inbox names. Probes are in order of time.
#[derive(Debug)]
pub(super) struct Sessions {
    /// Which incarnation of `client-edge` is connected; 0 before the first.
    incarnation: u64,
    open: HashMap<SessionId, Session>,
    /// More sessions are a violation.
    most: usize,
    /// Clients with a claim that is being decided, and the session of each claim.
    claims: HashMap<ClientAddress, SessionId>,
    /// When a probed session counts as dead: the probed one and its challenger.
    probes: VecDeque<(Instant, SessionId, SessionId)>,
    logins: LoginLimit,
}

impl Sessions {
    pub(super) fn new(config: &StoreConfig, now: Instant) -> Self {
        Self {
            incarnation: 0,
            open: HashMap::new(),
            most: config.max_sessions as usize,
            claims: HashMap::new(),
            probes: VecDeque::new(),
            logins: LoginLimit::new(config.client_logins_per_hour, now),
        }
    }

    /// A new incarnation of `client-edge` is connected.
    pub(super) const fn up(&mut self) {
        self.incarnation += 1;
    }

    /// All sessions are gone. Returns the clients that were attached.
    pub(super) fn clear(&mut self) -> BTreeSet<ClientAddress> {
        let attached = self.attachments().map(|(_, attachment)| attachment.client()).collect();
        self.open.clear();
        self.claims.clear();
        self.probes.clear();
        attached
    }

    /// The name of a session that lasts beyond its incarnation.
    pub(super) const fn reference(&self, session: SessionId) -> SessionRef {
        SessionRef { edge: self.incarnation, session }
    }

    /// The session of this name, unless its incarnation is gone.
    pub(super) fn session_of(&self, session_ref: SessionRef) -> Option<SessionId> {
        (session_ref.edge == self.incarnation).then_some(session_ref.session)
    }

    /// The same, if a job of the session is under way.
    fn computing(&self, session_ref: SessionRef) -> Option<SessionId> {
        let session = self.session_of(session_ref)?;
        matches!(self.open.get(&session), Some(Session::Computing)).then_some(session)
    }

    /// An attached session.
    pub(super) fn attachment(&self, session: SessionId) -> Option<&Attachment> {
        match self.open.get(&session) {
            Some(Session::Attached(attachment)) => Some(attachment),
            _ => None,
        }
    }

    /// An attached session.
    pub(super) fn attachment_mut(&mut self, session: SessionId) -> Option<&mut Attachment> {
        match self.open.get_mut(&session) {
            Some(Session::Attached(attachment)) => Some(attachment),
            _ => None,
        }
    }

    /// The attached sessions.
    pub(super) fn attachments(&self) -> impl Iterator<Item = (SessionId, &Attachment)> {
        self.open.iter().filter_map(|(session, state)| match state {
            Session::Attached(attachment) => Some((*session, attachment.as_ref())),
            _ => None,
        })
    }

    /// The attached sessions, in order of their numbers.
    pub(super) fn attached(&self) -> BTreeSet<SessionId> {
        self.attachments().map(|(session, _)| session).collect()
    }

    /// When the next probed session counts as dead.
    pub(super) fn probe_due(&self) -> Option<Instant> {
        self.probes.front().map(|(at, ..)| *at)
    }

    /// Whether the request is to be done, by the phase of its session.
    fn admit(&self, EdgeToStore { session, request }: &EdgeToStore) -> Result<bool, Fault> {
        let session = self.open.get(session);
        match session.map_or(Phase::Fresh, Session::phase).admits(request) {
            Admission::Proceed => {}
            Admission::Ignore => return Ok(false),
            Admission::Violation => return Err(Rule::Phase.into()),
        }
        if session.is_none() && self.open.len() >= self.most {
            return Err(Rule::TooManySessions.into());
        }
        Ok(true)
    }
}

impl<M: Mailbox> Core<M> {
    /// A request of `client-edge` for a session.
    ///
    /// # Errors
    /// If it breaks a rule.
    pub fn handle_request(&mut self, message: EdgeToStore, now: Instant) -> Result<(), Fault> {
        if !self.sessions.admit(&message)? {
            return Ok(());
        }
        let EdgeToStore { session, request } = message;
        match request {
            SessionRequest::ConfirmReceipt { up_to } => return self.confirm_receipt(session, up_to),
            SessionRequest::BeginHandshake { init, logins } => {
                self.compute(session, |session_ref| Job::BeginHandshake { session_ref, init, logins });
            }
            SessionRequest::FinishHandshake { material } => {
                if let Some(Session::Handshaking(begun)) = self.sessions.open.remove(&session) {
                    self.compute(session, |session_ref| Job::FinishHandshake { session_ref, begun, material });
                }
            }
            SessionRequest::AbandonHandshake => {
                self.sessions.open.insert(session, Session::Fresh);
            }
            SessionRequest::AuthenticateClient { proof } => {
                self.compute(session, |session_ref| Job::CheckLogin { session_ref, proof: Box::new(proof) });
            }
            SessionRequest::ForgetClient => self.forget(session, now),
            SessionRequest::AnswerProbe { alive } => self.probe_answered(session, alive, now),
            SessionRequest::CloseSession => self.close(session, now),
        }
        Ok(())
    }

    /// Has a job done for a session, which waits for its outcome.
    fn compute(&mut self, session: SessionId, job: impl FnOnce(SessionRef) -> Job) {
        self.sessions.open.insert(session, Session::Computing);
        self.effects.jobs.push(job(self.sessions.reference(session)));
    }

    /// A first handshake message was answered, or refused.
    pub(super) fn handshake_begun(
        &mut self,
        session_ref: SessionRef,
        outcome: Result<(Box<Begun>, Vec<u8>), HandshakeError>,
    ) {
        let Some(session) = self.sessions.computing(session_ref) else { return };
        match outcome {
            Ok((begun, payload)) => {
                self.sessions.open.insert(session, Session::Handshaking(begun));
                self.effects.to_edge.push(StoreToEdge { session, answer: SessionAnswer::ReplyHandshake { payload } });
            }
            Err(error) => self.refuse_handshake(session, RegistrationRefusal::Handshake(error)),
        }
    }

    /// Refuses the client's mail from now on and has its ledger entry removed; the mail goes when that is committed.
    fn forget(&mut self, session: SessionId, now: Instant) {
        let Some((client, challenger)) = self.detach(session) else { return };
        let session_ref = self.sessions.reference(session);
        self.forget_client(client, ForgottenFor::Client(session_ref));
        if let Some(challenger) = challenger {
            self.contest(challenger, now);
        }
    }

    fn close(&mut self, session: SessionId, now: Instant) {
        match self.sessions.open.remove(&session) {
            Some(Session::Attached(attachment)) => {
                let (client, challenger) = (attachment.client(), attachment.challenger());
                drop(attachment);
                self.resume_pushing();
                self.spill_all(&client);
                if let Some(challenger) = challenger {
                    self.contest(challenger, now);
                }
            }
            Some(Session::Detached(held)) => {
                self.delivery.end_leaving(held);
                self.resume_pushing();
            }
            Some(Session::Claiming(claim)) => self.withdraw(session, &claim),
            _ => {}
        }
    }

    /// Ends an attached session for a reason of the store, and goes on with the claim of its challenger.
    pub(super) fn end_session(&mut self, session: SessionId, reason: EndReason, now: Instant) {
        self.effects.to_edge.push(StoreToEdge { session, answer: SessionAnswer::EndSession { reason } });
        let Some((client, challenger)) = self.detach(session) else { return };
        self.spill_all(&client);
        if let Some(challenger) = challenger {
            self.contest(challenger, now);
        }
    }

    /// Ends an attached session; its memory comes back when `client-edge` confirms that. Returns its client and its challenger.
    fn detach(&mut self, session: SessionId) -> Option<(ClientAddress, Option<SessionId>)> {
        let Some(Session::Attached(attachment)) = self.sessions.open.remove(&session) else { return None };
        let (client, challenger) = (attachment.client(), attachment.challenger());
        let held = attachment.into_held();
        self.delivery.begin_leaving(&held);
        self.sessions.open.insert(session, Session::Detached(held));
        Some((client, challenger))
    }

    fn refuse_handshake(&mut self, session: SessionId, reason: RegistrationRefusal) {
        count(&self.counters.registrations_refused);
        self.sessions.open.insert(session, Session::Fresh);
        self.effects.to_edge.push(StoreToEdge { session, answer: SessionAnswer::RefuseHandshake { reason } });
    }

    fn refuse_login(&mut self, session: SessionId, reason: AuthenticationRefusal) {
        count(&self.counters.authentications_refused);
        self.sessions.open.insert(session, Session::Fresh);
        self.effects.to_edge.push(StoreToEdge { session, answer: SessionAnswer::RefuseAuthentication { reason } });
    }
}
