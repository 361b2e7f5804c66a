//! Clients of every era: their keys, and what they show to log in.

use client_wire::{
    key::{CtrHmacKey, GcmSivKey, SessionKey},
    login::{LoginForm, LoginProof},
    token::{AuthenticationToken, GcmSivToken, LoginClaim, SignedLogin},
};
use wire::address::ClientAddress;

use super::oracle::address;

/// The only signature that holds. The arithmetic of signatures has no part in what is simulated.
pub(super) const SIGNATURE: [u8; 64] = [4; 64];

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    number: usize,
    /// The key that it was told it has.
    pub(super) key: Option<SessionKey>,
    /// Keys that it has proposed.
    keys: u8,
    /// Logins that it has made up.
    logins: u32,
    /// What it has logged in with.
    pub(super) shown: Option<LoginProof>,
}

impl Client {
    pub(super) const fn new(number: usize) -> Self {
        Self { number, key: None, keys: 0, logins: 0, shown: None }
    }

    pub(super) fn address(&self) -> ClientAddress {
        address(self.number)
    }

    /// Whether it is software of 2021.
    pub(super) const fn is_of_2021(&self) -> bool {
        self.number < 2
    }

    /// How it logs in.
    pub(super) const fn logins(&self) -> LoginForm {
        if self.number < 3 { LoginForm::Token } else { LoginForm::Signed }
    }

    /// A key that is not agreed on yet.
    pub(super) fn new_key(&mut self) -> SessionKey {
        self.keys = self.keys.wrapping_add(1);
        let mut bytes = [self.keys; 32];
        bytes[0] = self.number as u8;
        match self.is_of_2021() {
            true => SessionKey::CtrHmac(CtrHmacKey::from_bytes(bytes)),
            false => SessionKey::GcmSiv(GcmSivKey::from_bytes(bytes)),
        }
    }

    /// A login that was never shown; `now` is what time the client thinks it is.
    pub(super) fn log_in(&mut self, now: u64) -> Option<LoginProof> {
        let key = self.key.clone()?;
        self.logins += 1;
        let address = self.address();
        let mut nonce = [0x77; 12];
        nonce[..4].copy_from_slice(&self.logins.to_be_bytes());
        let mut iv = [0x77; 16];
        iv[..4].copy_from_slice(&self.logins.to_be_bytes());
        Some(match (key, self.logins()) {
            (SessionKey::CtrHmac(key), _) => LoginProof::CtrHmac(AuthenticationToken::create(&key, address, iv)),
            (SessionKey::GcmSiv(key), LoginForm::Token) => {
                LoginProof::GcmSiv(GcmSivToken::create(&key, address, nonce))
            }
            (SessionKey::GcmSiv(key), LoginForm::Signed) => {
                let claim = LoginClaim::create(6, &key, address, nonce, now);
                LoginProof::Signed(SignedLogin { claim, signature: SIGNATURE })
            }
        })
    }
}
