//! Proofs that the sender of a login holds the session key: [`AuthenticationToken`] of clients before protocol version 3, [`GcmSivToken`]
//! of version 3, and [`SignedLogin`], which came with version 4.

mod ctr_hmac;
mod gcm_siv;
mod signed;
mod text;

pub use ctr_hmac::{AuthenticationToken, TokenError, is_reserved_iv};
pub use gcm_siv::{GcmSivToken, SealedAddress};
pub use signed::{LoginClaim, MAX_SKEW, SignedLogin, SignedLoginError};
pub use text::TokenTextError;
