//! What the operator asks about one client, and wants done with it.
//!
//! *Promises*: a client whose login or registration is being decided is left alone, so that no outcome finds it gone. A client is
//! forgotten by order as it would be by its own wish: its session ends, its mail is refused from that moment on, and the answer comes
//! when neither ledger nor mail log has anything of it.

use std::time::Instant;

use client_wire::{key::KeyKind, login::LoginForm};
use ipc::operator::{ClientCount, ClientFacts, ClientKind, DAY, Mail, StoreAnswer};
use session_ipc::EndReason;
use wire::address::ClientAddress;

use super::{Core, inbox::Inbox, question::QuestionId, retention::ForgottenFor};
use crate::mailbox::{Mailbox, MailboxError};

impl<M: Mailbox> Core<M> {
    /// What is known of a client.
    pub fn show_client(&mut self, client: &ClientAddress, now: Instant) -> StoreAnswer {
        if self.retention.is_forgetting(client) {
            return StoreAnswer::NotRegistered;
        }
        match self.facts_of(client) {
            Ok(Some(facts)) => StoreAnswer::Shown(facts),
            Ok(None) => StoreAnswer::NotRegistered,
            Err(error) => self.failed_question(&error, now),
        }
    }

    /// Has a client forgotten, and answers when that is committed.
    pub fn forget_by_order(&mut self, question: QuestionId, client: &ClientAddress, now: Instant) {
        let refusal = match self.mailbox.key_of(client) {
            Ok(None) => Some(StoreAnswer::NotRegistered),
            // What cannot be read can be removed.
            Ok(Some(_)) | Err(MailboxError::UnknownRecord { .. }) if self.is_contested(client) => {
                Some(StoreAnswer::Contested)
            }
            Ok(Some(_)) | Err(MailboxError::UnknownRecord { .. }) if self.health.is_broken() => {
                Some(StoreAnswer::StorageFailed)
            }
            Ok(Some(_)) | Err(MailboxError::UnknownRecord { .. }) => None,
            Err(error) => Some(self.failed_question(&error, now)),
        };
        if let Some(refusal) = refusal {
            self.effects.to_operator.push((question, refusal));
            return;
        }
        if let Some(session) = self.inboxes.get(client).and_then(Inbox::attached) {
            self.end_session(session, EndReason::Forgotten, now);
        }
        self.forget_client(*client, ForgottenFor::Operator(question));
    }

    fn facts_of(&mut self, client: &ClientAddress) -> Result<Option<ClientFacts>, MailboxError> {
        let Some(kind) = self.mailbox.kind_of(client)? else { return Ok(None) };
        let last_seen = self.mailbox.last_seen(client)?.map(|seen| seen / DAY.as_secs());
        let (filling, shares) = (self.filling_now(), *self.inboxes.shares());
        let Some(inbox) = self.inboxes.open(self.mailbox.as_ref(), client, self.commits.mail())? else {
            return Ok(None);
        };
        let (load, share) = (inbox.load(), shares.share(inbox.class(), filling));
        Ok(Some(ClientFacts {
            kind,
            connected: inbox.attached().is_some(),
            last_seen,
            mail: Mail { messages: load.messages, bytes: load.bytes, without_ack: inbox.ackless() },
            quota: Mail { messages: share.messages, bytes: share.bytes, without_ack: shares.ackless(filling) },
        }))
    }

    fn failed_question(&mut self, error: &MailboxError, now: Instant) -> StoreAnswer {
        self.note_failure(error, now);
        StoreAnswer::StorageFailed
    }
}

/// How a client with this key proves who it is.
pub(crate) const fn kind_of(key: KeyKind, logins: LoginForm) -> ClientKind {
    match (key, logins) {
        (KeyKind::CtrHmac, _) => ClientKind::Of2021,
        (KeyKind::GcmSiv, LoginForm::Token) => ClientKind::Token,
        (KeyKind::GcmSiv, LoginForm::Signed) => ClientKind::Signed,
    }
}

/// Counts one more client of this kind.
pub(crate) const fn count_kind(count: &mut ClientCount, kind: ClientKind) {
    let of_kind = match kind {
        ClientKind::Of2021 => &mut count.of_2021,
        ClientKind::Token => &mut count.token,
        ClientKind::Signed => &mut count.signed,
    };
    *of_kind += 1;
}
