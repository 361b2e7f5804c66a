//! A claim to be a client, from its proof to the attached session or the refusal.
//!
//! A live session elsewhere is probed, and stays if it answers. A session that was let in by a token has proved the session key only:
//! a connection that proves the identity key, by a signed login or a registration, takes over from it at once.

use std::time::{Duration, Instant};

use client_wire::handshake::HandshakeError;
use session_ipc::{
    AttachedKey, AuthenticationRefusal, EndReason, RegistrationRefusal, SessionAnswer, SessionId, StoreToEdge,
};
use wire::address::ClientAddress;
use worker::counter::count;

use super::{
    Session,
    claim::{Claim, ClaimedBy, Denial},
};
use crate::{
    core::{Core, delivery::Start, session_ref::SessionRef},
    mailbox::{LedgerEntry, LedgerRoom, Mailbox},
    registrar::Registration,
};

/// `client-edge` answers a probe after half a second; this is when its silence counts as an answer.
const PROBE_LIMIT: Duration = Duration::from_millis(750);

impl<M: Mailbox> Core<M> {
    /// Whether something about the client is being decided already.
    pub(in crate::core) fn is_contested(&self, client: &ClientAddress) -> bool {
        self.sessions.claims.contains_key(client)
            || self.retention.is_forgetting(client)
            || self.commits.ledger().concerns(client)
    }

    /// A session has proved to be a client.
    pub(super) fn claim(&mut self, session: SessionId, claim: Claim) {
        let earlier = self.sessions.claims.insert(claim.client, session);
        debug_assert!(earlier.is_none(), "a client has two claims");
        self.sessions.open.insert(session, Session::Claiming(Box::new(claim)));
    }

    /// A second handshake message was checked.
    pub(in crate::core) fn handshake_finished(
        &mut self,
        session_ref: SessionRef,
        outcome: Result<Registration, HandshakeError>,
        now: Instant,
    ) {
        let Some(session) = self.sessions.computing(session_ref) else { return };
        match outcome {
            Ok(Registration { client, key, logins }) => {
                if self.is_contested(&client) {
                    return self.refuse_handshake(session, RegistrationRefusal::AlreadyConnected);
                }
                self.claim(session, Claim { client, key, by: ClaimedBy::Registration, logins });
                self.contest(session, now);
            }
            Err(error) => self.refuse_handshake(session, RegistrationRefusal::Handshake(error)),
        }
    }

    /// What the claim needed is in the ledger.
    pub(in crate::core) fn claim_written(&mut self, session: SessionId, now: Instant) {
        let Some(Session::Claiming(claim)) = self.sessions.open.get(&session) else { return };
        match claim.by {
            ClaimedBy::Login => self.contest(session, now),
            ClaimedBy::Registration => {
                let claim = claim.clone();
                self.attach(session, &claim, now);
            }
        }
    }

    /// Goes on with a claim if no session is attached as the client; otherwise has the attached one probed first. While the client is
    /// being forgotten, a claim from before is refused, as a later one is.
    pub(super) fn contest(&mut self, session: SessionId, now: Instant) {
        let Some(Session::Claiming(claim)) = self.sessions.open.get(&session) else { return };
        let claim = claim.clone();
        if self.retention.is_forgetting(&claim.client) {
            return self.refuse_claim(session, Denial::AlreadyConnected);
        }
        let other = self.inboxes.get(&claim.client).and_then(|inbox| inbox.attached());
        if let Some(other) = other
            && let Some(attachment) = self.sessions.attachment_mut(other)
        {
            if attachment.is_by_token() && !claim.is_by_token() {
                return self.supersede(other, session, now);
            }
            attachment.challenge(session);
            self.sessions.probes.push_back((now + PROBE_LIMIT, other, session));
            self.effects.to_edge.push(StoreToEdge { session: other, answer: SessionAnswer::ProbeSession });
            return;
        }
        match claim.by {
            ClaimedBy::Login => self.attach(session, &claim, now),
            ClaimedBy::Registration if self.takes_new_clients(now) => {
                let Claim { client, key, logins, .. } = *claim;
                let waiting = self.sessions.reference(session);
                self.commits.ledger_mut().push(LedgerEntry::Register { client, key, logins }, Some(waiting));
            }
            ClaimedBy::Registration => self.refuse_claim(session, Denial::StorageFailed),
        }
    }

    /// Whether a registration may be written.
    fn takes_new_clients(&mut self, now: Instant) -> bool {
        if !self.health.takes_clients() {
            return false;
        }
        match self.mailbox.ledger_room() {
            Ok(room) => {
                self.log_ledger_room(room);
                !matches!(room, LedgerRoom::NoNewClients(_))
            }
            Err(error) => {
                self.note_failure(&error, now);
                false
            }
        }
    }

    /// A probed session has answered, or `client-edge` says that it is dead.
    pub(super) fn probe_answered(&mut self, session: SessionId, alive: bool, now: Instant) {
        let attachment = self.sessions.attachment_mut(session);
        let Some(challenger) = attachment.and_then(|attachment| attachment.take_challenger()) else { return };
        if alive {
            self.refuse_claim(challenger, Denial::AlreadyConnected);
        } else {
            self.supersede(session, challenger, now);
        }
    }

    /// Probed sessions that have not answered in time count as dead.
    pub(in crate::core) fn end_probes(&mut self, now: Instant) {
        while let Some((_, old, challenger)) = self.sessions.probes.pop_front_if(|(at, ..)| *at <= now) {
            if let Some(attachment) = self.sessions.attachment_mut(old)
                && attachment.challenger() == Some(challenger)
            {
                attachment.take_challenger();
                self.supersede(old, challenger, now);
            }
        }
    }

    fn supersede(&mut self, old: SessionId, challenger: SessionId, now: Instant) {
        count(&self.counters.superseded);
        self.end_session(old, EndReason::Superseded, now);
        self.contest(challenger, now);
    }

    fn attach(&mut self, session: SessionId, claim: &Claim, now: Instant) {
        let inbox = match self.inboxes.open(self.mailbox.as_ref(), &claim.client, self.commits.mail()) {
            Ok(Some(inbox)) => inbox,
            // It was in the ledger a moment ago: found there, or written just now.
            Ok(None) => return self.refuse_claim(session, Denial::StorageFailed),
            Err(error) => {
                self.note_failure(&error, now);
                return self.refuse_claim(session, Denial::StorageFailed);
            }
        };
        self.sessions.claims.remove(&claim.client);
        inbox.attach(session);
        let attachment = self.delivery.begin(Start {
            client: claim.client,
            is_by_token: claim.is_by_token(),
            oldest: inbox.gone_end(),
            credit: self.config.session_credit,
        });
        self.sessions.open.insert(session, Session::Attached(Box::new(attachment)));
        self.effects.to_edge.push(StoreToEdge {
            session,
            answer: SessionAnswer::AttachSession { key: AttachedKey::new(claim.key.clone()) },
        });
        count(match claim.by {
            ClaimedBy::Registration => &self.counters.registered,
            ClaimedBy::Login => &self.counters.authenticated,
        });
        self.wake(session);
    }

    /// The connection that made a claim is gone.
    pub(super) fn withdraw(&mut self, session: SessionId, claim: &Claim) {
        self.sessions.claims.remove(&claim.client);
        let other = self.inboxes.get(&claim.client).and_then(|inbox| inbox.attached());
        if let Some(attachment) = other.and_then(|other| self.sessions.attachment_mut(other))
            && attachment.challenger() == Some(session)
        {
            attachment.take_challenger();
        }
    }

    /// Refuses a client that has proved who it is.
    pub(in crate::core) fn refuse_claim(&mut self, session: SessionId, denial: Denial) {
        let Some(Session::Claiming(claim)) = self.sessions.open.get(&session) else { return };
        let by = claim.by;
        self.sessions.claims.remove(&claim.client);
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
}
