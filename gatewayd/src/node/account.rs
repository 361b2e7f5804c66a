//! An account on the network's chain.

use std::{fmt, str::FromStr};

use bech32::{Bech32, Hrp};

/// What accounts of the network begin with.
const PREFIX: &str = "n";
/// Bytes of an account of a person or of a contract.
const LENGTHS: [usize; 2] = [20, 32];

/// The address of an account: `n1...`, with a checksum that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account(String);

/// Why a text is no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an account of the network: copy the address from your wallet; it begins with n1 and has a checksum, which does not hold here"
)]
pub struct InvalidAccount;

impl FromStr for Account {
    type Err = InvalidAccount;

    fn from_str(text: &str) -> Result<Self, InvalidAccount> {
        let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32>(text).map_err(|_| InvalidAccount)?;
        let is_account = checked.hrp() == Hrp::parse(PREFIX).map_err(|_| InvalidAccount)?
            && LENGTHS.contains(&checked.byte_iter().count())
            && text.bytes().all(|byte| !byte.is_ascii_uppercase());
        if is_account { Ok(Self(text.to_owned())) } else { Err(InvalidAccount) }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_prefix_length_and_checksum() {
        let of = |prefix, bytes: &[u8]| bech32::encode::<Bech32>(Hrp::parse(prefix).unwrap(), bytes).unwrap();
        for good in [of("n", &[7; 20]), of("n", &[8; 32])] {
            assert_eq!(good.parse::<Account>().unwrap().to_string(), good);
            let mistyped = good.replace(&good[10..11], if &good[10..11] == "q" { "p" } else { "q" });
            assert_eq!(mistyped.parse::<Account>(), Err(InvalidAccount));
            assert_eq!(good.to_uppercase().parse::<Account>(), Err(InvalidAccount));
        }
        for bad in [of("cosmos", &[7; 20]), of("n", &[7; 19]), String::new(), "n1".into(), "n1ü".into()] {
            assert_eq!(bad.parse::<Account>(), Err(InvalidAccount), "{bad}");
        }
    }
}
