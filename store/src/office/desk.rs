//! The desk: who a session is. Requests are admitted by the phase of their session and by nothing else.
//!
//! A claim to be a client is decided in this order. Registration: signature, live session elsewhere, ledger, attached. Login:
//! proof, spent nonce, ledger (the nonce is spent even if the login is refused next), live session elsewhere, attached.
//! One claim for a client at a time.

use std::time::{Duration, Instant};

use proto::{
    address::ClientAddress,
    counter::count,
    ipc::store_edge::{
        Admission, AuthenticationRefusal, EdgeToStore, EndReason, HandshakeRefusal, Phase, SessionId, SessionKey,
        StoreToEdge,
    },
    wire::client::token::AuthenticationToken,
};

use super::{Fault, Job, Office, attachment::Attachment, edge_broke};
use crate::{
    mailbox::{LedgerEntry, Mailbox},
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
    Claiming(Claim),
    /// Mail flows.
    Attached(Box<Attachment>),
    /// Ended by us; the edge does not know yet.
    Detached,
}

impl Session {
    const fn phase(&self) -> Phase {
        match self {
            Self::Fresh => Phase::Fresh,
            Self::Computing | Self::Claiming(_) => Phase::Deciding,
            Self::Handshaking(_) => Phase::Handshaking,
            Self::Attached(_) => Phase::Attached,
            Self::Detached => Phase::Detached,
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
            Admission::Violation => return Err(edge_broke("asked for what its session's phase does not allow")),
        }
        match request {
            EdgeToStore::BeginHandshake { init, .. } => {
                self.sessions.insert(session, Session::Computing);
                let visit = self.visit(session);
                self.orders.jobs.push(Job::BeginHandshake { visit, init });
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
            EdgeToStore::AuthenticateClient { token, .. } => self.log_in(session, &token)?,
            EdgeToStore::ConfirmReceipt { up_to, .. } => self.receipt(session, up_to)?,
            EdgeToStore::AnswerProbe { alive, .. } => {
                if let Some(Session::Attached(attachment)) = self.sessions.get_mut(&session)
                    && let Some(newcomer) = attachment.newcomer.take()
                {
                    if alive {
                        self.refuse_claim(newcomer);
                    } else {
                        self.supersede(session, newcomer, now)?;
                    }
                }
            }
            EdgeToStore::CloseSession { .. } => self.close(session, now)?,
        }
        Ok(())
    }

    pub(super) fn begun(&mut self, session: SessionId, outcome: Result<(Box<Begun>, Vec<u8>), HandshakeRefusal>) {
        if !matches!(self.sessions.get(&session), Some(Session::Computing)) {
            return;
        }
        match outcome {
            Ok((begun, payload)) => {
                self.sessions.insert(session, Session::Handshaking(begun));
                self.orders.to_edge.push(StoreToEdge::ReplyHandshake { session, payload });
            }
            Err(reason) => self.refuse_handshake(session, reason),
        }
    }

    pub(super) fn finished(
        &mut self,
        session: SessionId,
        outcome: Result<Registration, HandshakeRefusal>,
        now: Instant,
    ) -> Result<(), Fault> {
        if !matches!(self.sessions.get(&session), Some(Session::Computing)) {
            return Ok(());
        }
        match outcome {
            Ok(Registration { client, key }) => {
                let claim = Claim { client, key, by: ClaimedBy::Registration };
                if self.claims.contains_key(&client) {
                    self.refuse_handshake(session, HandshakeRefusal::AlreadyConnected);
                    return Ok(());
                }
                self.claims.insert(client, session);
                self.sessions.insert(session, Session::Claiming(claim));
                self.contest(session, now)
            }
            Err(reason) => {
                self.refuse_handshake(session, reason);
                Ok(())
            }
        }
    }

    fn log_in(&mut self, session: SessionId, token: &AuthenticationToken) -> Result<(), Fault> {
        let client = token.address;
        self.sessions.insert(session, Session::Fresh);
        let Some(key) = self.mailbox.key_of(&client)? else {
            self.refuse_login(session, AuthenticationRefusal::NotProven);
            return Ok(());
        };
        let SessionKey::CtrHmac(cipher) = &key;
        if token.verify(cipher).is_err() || self.mailbox.login_used(&client, &token.iv)? {
            self.refuse_login(session, AuthenticationRefusal::NotProven);
            return Ok(());
        }
        if self.claims.contains_key(&client) {
            self.refuse_login(session, AuthenticationRefusal::AlreadyConnected);
            return Ok(());
        }
        self.claims.insert(client, session);
        self.sessions.insert(session, Session::Claiming(Claim { client, key, by: ClaimedBy::Login }));
        self.entries.push((LedgerEntry::Login { client, nonce: token.iv }, session));
        Ok(())
    }

    /// What the claim needed is in the ledger.
    pub(super) fn claim_written(&mut self, session: SessionId, now: Instant) -> Result<(), Fault> {
        let Some(Session::Claiming(claim)) = self.sessions.get(&session) else { return Ok(()) };
        match claim.by {
            ClaimedBy::Login => self.contest(session, now),
            ClaimedBy::Registration => {
                let claim = claim.clone();
                self.inboxes.registered(&claim.client, &claim.key);
                self.attach(session, &claim)
            }
        }
    }

    /// Goes on with a claim if nobody else is attached as the client; otherwise has the other one probed first.
    fn contest(&mut self, session: SessionId, now: Instant) -> Result<(), Fault> {
        let Some(Session::Claiming(claim)) = self.sessions.get(&session) else { return Ok(()) };
        let claim = claim.clone();
        let other = self.inboxes.get(&claim.client).and_then(|inbox| inbox.attached);
        if let Some(other) = other
            && let Some(Session::Attached(attachment)) = self.sessions.get_mut(&other)
        {
            attachment.newcomer = Some(session);
            self.probes.push_back((now + PROBE_LIMIT, other, session));
            self.orders.to_edge.push(StoreToEdge::ProbeSession { session: other });
            return Ok(());
        }
        match claim.by {
            ClaimedBy::Login => self.attach(session, &claim),
            ClaimedBy::Registration => {
                let entry = LedgerEntry::Register { client: claim.client, key: claim.key };
                self.entries.push((entry, session));
                Ok(())
            }
        }
    }

    /// A probed session has not answered in time.
    pub(super) fn probe_over(&mut self, old: SessionId, newcomer: SessionId, now: Instant) -> Result<(), Fault> {
        match self.sessions.get_mut(&old) {
            Some(Session::Attached(attachment)) if attachment.newcomer == Some(newcomer) => {
                attachment.newcomer = None;
                self.supersede(old, newcomer, now)
            }
            _ => Ok(()),
        }
    }

    fn supersede(&mut self, old: SessionId, newcomer: SessionId, now: Instant) -> Result<(), Fault> {
        count(&self.counters.superseded);
        self.orders.to_edge.push(StoreToEdge::EndSession { session: old, reason: EndReason::Superseded });
        if let Some(Session::Attached(attachment)) = self.sessions.insert(old, Session::Detached) {
            self.spill_all(&attachment.client);
        }
        self.contest(newcomer, now)
    }

    fn attach(&mut self, session: SessionId, claim: &Claim) -> Result<(), Fault> {
        self.claims.remove(&claim.client);
        // It is in the ledger: either it was found there or it was written just now.
        let Some(inbox) = self.inboxes.open(self.mailbox.as_ref(), &claim.client, &self.batch)? else { return Ok(()) };
        inbox.attached = Some(session);
        let attachment = Attachment::new(claim.client, inbox.proved_end);
        self.sessions.insert(session, Session::Attached(Box::new(attachment)));
        self.orders.to_edge.push(StoreToEdge::AttachSession { session, key: claim.key.clone() });
        count(match claim.by {
            ClaimedBy::Registration => &self.counters.registered,
            ClaimedBy::Login => &self.counters.authenticated,
        });
        self.wake(session);
        Ok(())
    }

    fn close(&mut self, session: SessionId, now: Instant) -> Result<(), Fault> {
        match self.sessions.remove(&session) {
            Some(Session::Attached(attachment)) => {
                self.spill_all(&attachment.client);
                if let Some(newcomer) = attachment.newcomer {
                    self.contest(newcomer, now)?;
                }
            }
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
        Ok(())
    }

    /// The client is connected elsewhere, and that connection is alive.
    fn refuse_claim(&mut self, session: SessionId) {
        let Some(Session::Claiming(claim)) = self.sessions.get(&session) else { return };
        let by = claim.by;
        self.claims.remove(&claim.client);
        match by {
            ClaimedBy::Registration => self.refuse_handshake(session, HandshakeRefusal::AlreadyConnected),
            ClaimedBy::Login => self.refuse_login(session, AuthenticationRefusal::AlreadyConnected),
        }
    }

    fn refuse_handshake(&mut self, session: SessionId, reason: HandshakeRefusal) {
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
