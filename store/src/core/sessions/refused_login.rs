//! Signed logins that are refused. Such a login has shown a seal of its client, which version 3 took for a token. So a client that signs
//! and holds the session key is known from then on as a client that signs, though this login does not let it in: no token of its key
//! is taken any more.
//!
//! *Promises*: this costs one commit for each key at the most.

use client_wire::{
    handshake::{PublicKey, Signature},
    login::{Freshness, LoginError, LoginProof},
};

use crate::{
    core::Core,
    mailbox::{LedgerEntry, Mailbox, MailboxError},
};

/// The time in the ledger of a client that has signed and has not logged in: earlier than any login.
const NEVER: Freshness = Freshness::Timestamp(0);

/// Why a login came to nothing before the ledger was asked.
#[derive(Debug)]
pub struct Unproven {
    /// What the client is told.
    pub refusal: LoginError,
    /// The login, if nothing is wrong with it but its time.
    pub signed: Option<Box<LoginProof>>,
}

impl From<LoginError> for Unproven {
    fn from(refusal: LoginError) -> Self {
        Self { refusal, signed: None }
    }
}

/// Checks what of a login needs no ledger, see [`LoginProof::check_claim`].
///
/// # Errors
/// [`Unproven`], which may still say that the client signs.
pub fn check_claim(
    proof: Box<LoginProof>,
    now: u64,
    verify: impl Fn(&PublicKey, &[u8], &Signature) -> bool,
) -> Result<Box<LoginProof>, Unproven> {
    match proof.check_claim(now, &verify) {
        Ok(()) => Ok(proof),
        Err(refusal @ LoginError::Skewed { .. }) if proof.is_signed(&verify) => {
            Err(Unproven { refusal, signed: Some(proof) })
        }
        Err(refusal) => Err(refusal.into()),
    }
}

impl<M: Mailbox> Core<M> {
    /// The client has signed this login, which is refused: if its key still takes tokens, it takes none from now on.
    pub(super) fn bar_tokens(&mut self, proof: &LoginProof) -> Result<(), MailboxError> {
        let (LoginProof::Signed(login), client) = (proof, proof.address()) else { return Ok(()) };
        let Some(key) = self.mailbox.key_of(&client)? else { return Ok(()) };
        let is_known = self.commits.ledger().has_shown(&client, &NEVER) || self.retention.is_forgetting(&client);
        let nonce = Freshness::Nonce(login.claim.nonce);
        if !is_known && proof.check_key(&key).is_ok() && self.mailbox.is_fresh(&client, &nonce)? {
            self.commits.ledger_mut().push(LedgerEntry::Login { client, freshness: NEVER }, None);
        }
        Ok(())
    }
}
