//! A login of any protocol version: what proves the login, and what must be remembered so that the login is valid only once.
//!
//! | version | proof | remembered |
//! |---|---|---|
//! | 2021, 1, 2 | [`AuthenticationToken`] | its IV |
//! | 3 | [`GcmSivToken`] | its nonce |
//! | 4 to 6 | [`SignedLogin`] | its time |
//!
//! A login is checked in these steps:
//!
//! 1. [`LoginProof::check_claim`].
//! 2. The ledger's key for [`LoginProof::address`]; if there is none, [`LoginProof::not_registered`].
//! 3. [`LoginProof::check_key`].
//! 4. [`LoginProof::freshness`] against the ledger; if it is used up, [`LoginProof::not_fresh`].
//!
//! Tokens and signed logins since version 3 seal the same address under the same key. Somebody who has read a signed login could
//! therefore send its sealed part as a token. To prevent this, the ledger keeps the [`LoginForm`] of each key, and no token is accepted
//! for a key whose client signs.
//!
//! *Holds* no clock, no ledger and no signature scheme. *Promises*: the older two kinds of login fail in one way only, so the
//! client is not told whether it is registered.

use serde::{Deserialize, Serialize};
use wire::address::ClientAddress;

use super::{
    handshake::{PublicKey, Signature},
    key::{Iv, Nonce, SessionKey},
    side::MarkingKey,
    token::{AuthenticationToken, GcmSivToken, SignedLogin},
};

/// The proof that a client sends to log in, parsed and unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoginProof {
    /// The proof of 2021, versions 1 and 2.
    CtrHmac(AuthenticationToken),
    /// The proof of version 3.
    GcmSiv(GcmSivToken),
    /// The proof of version 4 and later.
    Signed(SignedLogin),
}

/// How a client logs in with its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LoginForm {
    /// With a token, before version 4.
    Token,
    /// With a signed login and nothing else.
    Signed,
}

/// What the ledger must remember of a login, durably, before the client is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// Must not be among those that the client has used before.
    Iv(Iv),
    /// Must not be among those that the client has used before.
    Nonce(Nonce),
    /// Must be later than in the client's last login. In seconds since 1970.
    Timestamp(u64),
}

/// Why a login proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum LoginError {
    /// Nobody is registered under the address, or the token was made with another key, or has been used before.
    #[error("a login was not made with the key of a registered client, or was used before; the client has to register")]
    NotProven,
    /// The time in the login is more than [`MAX_SKEW`](super::token::MAX_SKEW) seconds off.
    #[error(
        "a login was made at {got}, now it is {now}, in seconds since 1970; one of the two clocks must be set right"
    )]
    Skewed {
        /// The time in the login, in seconds since 1970.
        got: u64,
        /// The time of the gateway's clock, in seconds since 1970.
        now: u64,
    },
    /// The login is not signed with the identity key.
    #[error("a login was not signed with the client's identity key")]
    InvalidSignature,
    /// Nobody is registered under the address.
    #[error("a login names an address under which nobody is registered; the client has to register")]
    NotRegistered,
    /// The login was not made with the session key.
    #[error("a login was not made with the client's session key; the client has to register again")]
    WrongKey,
    /// The client has logged in with this time or a later one.
    #[error("a login is not newer than the client's last one; the client has to try again a second later")]
    NotNewer,
}

impl LoginProof {
    /// The address that the sender claims.
    pub const fn address(&self) -> ClientAddress {
        match self {
            Self::CtrHmac(token) => token.address,
            Self::GcmSiv(token) => token.address,
            Self::Signed(login) => login.claim.identity,
        }
    }

    /// Makes the checks that need no ledger: the time against `now` (seconds since 1970), and the signature through `verify`, which
    /// gets key, message and signature. Tokens have neither.
    ///
    /// # Errors
    /// [`LoginError::Skewed`] or [`LoginError::InvalidSignature`].
    pub fn check_claim(
        &self,
        now: u64,
        verify: impl FnOnce(&PublicKey, &[u8], &Signature) -> bool,
    ) -> Result<(), LoginError> {
        match self {
            Self::CtrHmac(_) | Self::GcmSiv(_) => Ok(()),
            Self::Signed(login) if !login.claim.is_timely(now) => {
                Err(LoginError::Skewed { got: login.claim.timestamp, now })
            }
            Self::Signed(login) => login.is_signed(verify).then_some(()).ok_or(LoginError::InvalidSignature),
        }
    }

    /// Whether this is a signed login whose signature holds, whatever its time. `verify` gets key, message and signature.
    pub fn is_signed(&self, verify: impl FnOnce(&PublicKey, &[u8], &Signature) -> bool) -> bool {
        match self {
            Self::CtrHmac(_) | Self::GcmSiv(_) => false,
            Self::Signed(login) => login.is_signed(verify),
        }
    }

    /// Checks in constant time that `key` made this proof. A key of another kind did not.
    ///
    /// # Errors
    /// [`LoginError::NotProven`] or [`LoginError::WrongKey`].
    pub fn check_key(&self, key: &SessionKey) -> Result<(), LoginError> {
        let proven = match (self, key) {
            (Self::CtrHmac(token), SessionKey::CtrHmac(key)) => token.verify(key).is_ok(),
            (Self::GcmSiv(token), SessionKey::GcmSiv(key)) => token.is_of(&MarkingKey::of(key)),
            (Self::Signed(login), SessionKey::GcmSiv(key)) => login.claim.is_of(&MarkingKey::of(key)),
            (Self::CtrHmac(_), SessionKey::GcmSiv(_)) | (Self::GcmSiv(_) | Self::Signed(_), SessionKey::CtrHmac(_)) => {
                false
            }
        };
        proven.then_some(()).ok_or(self.unless_vague(LoginError::WrongKey))
    }

    /// The form of this login. A signed one proves the identity key, a token does not.
    pub const fn form(&self) -> LoginForm {
        match self {
            Self::CtrHmac(_) | Self::GcmSiv(_) => LoginForm::Token,
            Self::Signed(_) => LoginForm::Signed,
        }
    }

    /// What the ledger must remember of this login.
    pub const fn freshness(&self) -> Freshness {
        match self {
            Self::CtrHmac(token) => Freshness::Iv(token.iv),
            Self::GcmSiv(token) => Freshness::Nonce(token.nonce),
            Self::Signed(login) => Freshness::Timestamp(login.claim.timestamp),
        }
    }

    /// The error if nobody is registered under [`LoginProof::address`].
    pub const fn not_registered(&self) -> LoginError {
        self.unless_vague(LoginError::NotRegistered)
    }

    /// The error if [`LoginProof::freshness`] is used up.
    pub const fn not_fresh(&self) -> LoginError {
        self.unless_vague(LoginError::NotNewer)
    }

    const fn unless_vague(&self, refusal: LoginError) -> LoginError {
        match self {
            Self::CtrHmac(_) | Self::GcmSiv(_) => LoginError::NotProven,
            Self::Signed(_) => refusal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::{CtrHmacKey, GcmSivKey},
        token::LoginClaim,
    };

    const ADDRESS: ClientAddress = ClientAddress([1; 32]);

    fn keys(byte: u8) -> (CtrHmacKey, GcmSivKey) {
        (CtrHmacKey::from_bytes([byte; 32]), GcmSivKey::from_bytes([byte; 32]))
    }

    fn proofs() -> [LoginProof; 3] {
        let (ctr, gcm) = keys(5);
        let claim = LoginClaim::create(6, &gcm, ADDRESS, [3; 12], 1_000);
        [
            LoginProof::CtrHmac(AuthenticationToken::create(&ctr, ADDRESS, [2; 16])),
            LoginProof::GcmSiv(GcmSivToken::create(&gcm, ADDRESS, [3; 12])),
            LoginProof::Signed(SignedLogin { claim, signature: [4; 64] }),
        ]
    }

    #[test]
    fn each_proof_holds_under_the_key_that_made_it_and_no_other() {
        for proof in proofs() {
            assert_eq!(proof.address(), ADDRESS);
            let wrong = match proof {
                LoginProof::Signed(_) => LoginError::WrongKey,
                _ => LoginError::NotProven,
            };
            for byte in [5, 6] {
                let (ctr, gcm) = keys(byte);
                for key in [SessionKey::CtrHmac(ctr), SessionKey::GcmSiv(gcm)] {
                    let own = byte == 5
                        && matches!(
                            (&proof, &key),
                            (LoginProof::CtrHmac(_), SessionKey::CtrHmac(_))
                                | (LoginProof::GcmSiv(_) | LoginProof::Signed(_), SessionKey::GcmSiv(_))
                        );
                    assert_eq!(proof.check_key(&key), if own { Ok(()) } else { Err(wrong) }, "{proof:?} {key:?}");
                }
            }
        }
    }

    /// A kind of login that has no time or no signature is not judged by the missing one.
    #[test]
    fn the_time_is_judged_before_the_signature() {
        let [ctr, gcm, signed] = proofs();
        for token in [ctr, gcm] {
            assert_eq!(token.check_claim(0, |_, _, _| false), Ok(()));
        }
        assert_eq!(signed.check_claim(1_121, |_, _, _| false), Err(LoginError::Skewed { got: 1_000, now: 1_121 }));
        assert_eq!(signed.check_claim(1_120, |_, _, _| false), Err(LoginError::InvalidSignature));
        let verify = |key: &PublicKey, message: &[u8], signature: &Signature| {
            (*key, message.len(), *signature) == (ADDRESS.0, 101, [4; 64])
        };
        assert_eq!(signed.check_claim(1_000, verify), Ok(()));
    }

    #[test]
    fn only_a_signature_that_holds_makes_a_login_signed() {
        let [ctr, gcm, signed] = proofs();
        for token in [ctr, gcm] {
            assert!(!token.is_signed(|_, _, _| true));
        }
        // At any time, unlike in `check_claim`.
        assert!(signed.is_signed(|_, _, _| true) && !signed.is_signed(|_, _, _| false));
    }

    #[test]
    fn only_a_signed_login_is_told_what_is_wrong() {
        let [ctr, gcm, signed] = proofs();
        for token in [ctr, gcm] {
            assert_eq!([token.not_registered(), token.not_fresh()], [LoginError::NotProven; 2]);
        }
        assert_eq!(signed.not_registered(), LoginError::NotRegistered);
        assert_eq!(signed.not_fresh(), LoginError::NotNewer);
        assert_eq!(ctr.freshness(), Freshness::Iv([2; 16]));
        assert_eq!(gcm.freshness(), Freshness::Nonce([3; 12]));
        assert_eq!(signed.freshness(), Freshness::Timestamp(1_000));
    }
}
