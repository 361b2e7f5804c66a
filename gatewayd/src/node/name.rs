//! The DNS name at which clients connect.

use std::{fmt, str::FromStr};

use crate::endpoint::Host;

/// A DNS name, and no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

/// Why a text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a DNS name: give a name such as gateway.example; addresses are given with --public-ips, or in `public_ips`"
)]
pub struct NotAName;

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        match text.parse() {
            Ok(Host::Name(name)) => Ok(Self(name)),
            Ok(Host::Ip(_)) | Err(_) => Err(NotAName),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
