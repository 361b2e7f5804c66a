//! A client's record in the ledger since version 3: its key, its last signed login, and how it logs in.

use client_wire::{key::GcmSivKey, login::LoginForm};

/// First byte of every record that is written now, and of those written before the form of logins was kept.
const VERSION: u8 = 2;
const WITHOUT_FORM: u8 = 1;
/// The only kind of key.
const GCM_SIV: u8 = 1;

/// An entry of `clients`.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) key: GcmSivKey,
    pub(super) last_login: u64,
    pub(super) logins: LoginForm,
}

/// The last byte of an entry.
const fn form_byte(logins: LoginForm) -> u8 {
    match logins {
        LoginForm::Token => 0,
        LoginForm::Signed => 1,
    }
}

impl Client {
    const LEN: usize = 2 + GcmSivKey::LEN + 8 + 1;

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(Self::LEN);
        value.extend_from_slice(&[VERSION, GCM_SIV]);
        value.extend_from_slice(self.key.to_bytes().as_slice());
        value.extend_from_slice(&self.last_login.to_be_bytes());
        value.push(form_byte(self.logins));
        value
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let ([version, GCM_SIV], rest) = value.split_first_chunk()? else { return None };
        let (key, rest) = rest.split_first_chunk()?;
        let (last_login, form) = rest.split_first_chunk()?;
        let last_login = u64::from_be_bytes(*last_login);
        let logins = match (*version, form) {
            (WITHOUT_FORM, []) if last_login == 0 => LoginForm::Token,
            (WITHOUT_FORM, []) => LoginForm::Signed,
            (VERSION, [form]) if *form == form_byte(LoginForm::Token) => LoginForm::Token,
            (VERSION, [form]) if *form == form_byte(LoginForm::Signed) => LoginForm::Signed,
            _ => return None,
        };
        Some(Self { key: GcmSivKey::from_bytes(*key), last_login, logins })
    }
}
