//! Logins: from a proof that needed no ledger to a claim, or a refusal.

use std::time::Instant;

use client_wire::{
    key::SessionKey,
    login::{LoginError, LoginProof},
};
use session_ipc::{AuthenticationRefusal, SessionId};
use worker::counter::count;

use super::{
    Unproven,
    claim::{Claim, ClaimedBy},
};
use crate::{
    core::{Core, session_ref::SessionRef},
    mailbox::{LedgerEntry, Mailbox, MailboxError},
};

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

impl<M: Mailbox> Core<M> {
    /// What of a login needs no ledger was checked.
    pub(in crate::core) fn login_checked(
        &mut self,
        session_ref: SessionRef,
        outcome: Result<Box<LoginProof>, Unproven>,
        now: Instant,
    ) {
        let Some(session) = self.sessions.computing(session_ref) else { return };
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
                self.claim(session, Claim { client, key, by: ClaimedBy::Login, logins: proof.form() });
                let entry = LedgerEntry::Login { client, freshness: proof.freshness() };
                self.commits.ledger_mut().push(entry, Some(session_ref));
            }
            Err(failure) => self.login_failed(session, &failure, now),
        }
    }

    fn login_failed(&mut self, session: SessionId, failure: &LoginFailure, now: Instant) {
        let reason = match failure {
            LoginFailure::Refused(refusal) => AuthenticationRefusal::Login(*refusal),
            LoginFailure::TooMany => {
                count(&self.counters.logins_refused_rate);
                AuthenticationRefusal::TooMany
            }
            LoginFailure::Contested => AuthenticationRefusal::AlreadyConnected,
            LoginFailure::Storage(error) => {
                self.note_failure(error, now);
                match error {
                    MailboxError::UnknownRecord { .. } => AuthenticationRefusal::UnreadableEntry,
                    _ => AuthenticationRefusal::StorageFailed,
                }
            }
        };
        self.refuse_login(session, reason);
    }

    /// The key of a client that has proved to hold it, and about which nothing else is being decided.
    fn check_login(&mut self, proof: &LoginProof, now: Instant) -> Result<SessionKey, LoginFailure> {
        let client = &proof.address();
        let Some(key) = self.mailbox.key_of(client)? else { return Err(proof.not_registered().into()) };
        proof.check_key(&key)?;
        let freshness = proof.freshness();
        if self.commits.ledger().has_shown(client, &freshness) || !self.mailbox.is_fresh(client, &freshness)? {
            return Err(proof.not_fresh().into());
        }
        if !self.sessions.logins.allows(client, proof.form(), now) {
            self.bar_tokens(proof)?;
            return Err(LoginFailure::TooMany);
        }
        if !self.is_contested(client) {
            return Ok(key);
        }
        // It was shown, so it must not be good later. Of a client that is being forgotten nothing is kept.
        if !self.retention.is_forgetting(client) {
            self.commits.ledger_mut().push(LedgerEntry::Login { client: *client, freshness }, None);
        }
        Err(LoginFailure::Contested)
    }
}
