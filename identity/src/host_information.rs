//! The host information of today's network: addresses, name and keys of a node, signed with its identity key.
//!
//! The signed bytes are JSON without spaces, in exactly the order in which readers write it again before they verify the signature
//! (`nym-node-requests` 2.0.0, `HostInformationV3`). It holds no time, so that one signature is good until a key or an address changes.
//! It begins with `{"ip_address":`, and so passes for nothing else that the key signs: not for a half of a registration (64 bytes), and not
//! for a contract message, whose JSON has a `message_type`.

use std::fmt::Write as _;

use ipc::http_api::{HostFacts, MAX_HOST_INFORMATION, SignedHostInformation};

use crate::Identity;

/// The rotation id that means: this Sphinx key is always used.
const NO_ROTATION: u32 = u32::MAX;

/// Facts that make no host information.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFacts {
    /// Readers refuse a node without an address.
    #[error("there is no address to announce")]
    NoAddress,
    /// The name would need to be escaped, or is none.
    #[error("the name to announce has characters that no DNS name has")]
    Hostname,
    /// Longer than [`MAX_HOST_INFORMATION`].
    #[error("there is too much to announce")]
    TooLong,
}

impl Identity {
    /// Composes the host information of this gateway and signs it.
    ///
    /// # Errors
    /// If the facts make none.
    pub fn sign_host_information(&self, facts: &HostFacts) -> Result<SignedHostInformation, InvalidFacts> {
        let data = compose(facts, &self.public())?;
        let signature = self.sign(data.as_bytes());
        Ok(SignedHostInformation { data, signature })
    }
}

fn compose(facts: &HostFacts, identity: &[u8; 32]) -> Result<String, InvalidFacts> {
    let HostFacts { addresses, hostname, sphinx } = facts;
    if addresses.is_empty() {
        return Err(InvalidFacts::NoAddress);
    }
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if hostname.as_ref().is_some_and(|name| name.is_empty() || !name.bytes().all(is_of_name)) {
        return Err(InvalidFacts::Hostname);
    }
    let addresses: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    let hostname = hostname.as_ref().map_or_else(|| "null".to_owned(), |name| format!("\"{name}\""));
    let (identity, sphinx) = (bs58::encode(identity).into_string(), bs58::encode(sphinx).into_string());
    let mut data = format!("{{\"ip_address\":[{}],\"hostname\":{hostname},\"keys\":{{", addresses.join(","));
    // Writing to a `String` does not fail.
    let _ = write!(
        data,
        "\"ed25519_identity\":\"{identity}\",\"x25519_sphinx\":\"{sphinx}\",\
         \"primary_x25519_sphinx_key\":{{\"rotation_id\":{NO_ROTATION},\"public_key\":\"{sphinx}\"}},\
         \"pre_announced_x25519_sphinx_key\":null,\"x25519_versioned_noise\":null}}}}"
    );
    if data.len() > MAX_HOST_INFORMATION {
        return Err(InvalidFacts::TooLong);
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::VerifyingKey;

    use super::*;

    fn facts() -> HostFacts {
        HostFacts { addresses: vec![[1, 2, 3, 4].into()], hostname: None, sphinx: [9; 32] }
    }

    #[test]
    fn the_signed_text_is_pinned_and_verifies() {
        let identity = Identity::from_seed(&[7; 32]).unwrap();
        let signed = identity.sign_host_information(&facts()).unwrap();
        assert_eq!(
            signed.data,
            "{\"ip_address\":[\"1.2.3.4\"],\"hostname\":null,\"keys\":{\
             \"ed25519_identity\":\"GmaDrppBC7P5ARKV8g3djiwP89vz1jLK23V2GBjuAEGB\",\
             \"x25519_sphinx\":\"cGfHiC6Kgg3FpFZvgwGcswsCRtp4aBP2fzuXRQPizuN\",\
             \"primary_x25519_sphinx_key\":{\"rotation_id\":4294967295,\
             \"public_key\":\"cGfHiC6Kgg3FpFZvgwGcswsCRtp4aBP2fzuXRQPizuN\"},\
             \"pre_announced_x25519_sphinx_key\":null,\"x25519_versioned_noise\":null}}"
        );
        let key = VerifyingKey::from_bytes(&identity.public()).unwrap();
        key.verify_strict(signed.data.as_bytes(), &signed.signature.into()).unwrap();
    }

    #[test]
    fn names_and_both_kinds_of_addresses_are_written_canonically() {
        let addresses = vec![[1, 2, 3, 4].into(), "2001:DB8:0:0::0:1".parse().unwrap()];
        let data =
            compose(&HostFacts { addresses, hostname: Some("nym.example".into()), ..facts() }, &[1; 32]).unwrap();
        assert!(
            data.starts_with(r#"{"ip_address":["1.2.3.4","2001:db8::1"],"hostname":"nym.example","keys":"#),
            "{data}"
        );
    }

    #[test]
    fn facts_that_no_reader_takes_are_refused() {
        let with = |hostname: &str| HostFacts { hostname: Some(hostname.into()), ..facts() };
        for hostname in ["", "a\"b", "a b", "ü"] {
            assert_eq!(compose(&with(hostname), &[1; 32]), Err(InvalidFacts::Hostname), "{hostname}");
        }
        assert_eq!(compose(&HostFacts { addresses: vec![], ..facts() }, &[1; 32]), Err(InvalidFacts::NoAddress));
        let long = HostFacts { addresses: vec![[1, 1, 1, 1].into(); 1_000], ..facts() };
        assert_eq!(compose(&long, &[1; 32]), Err(InvalidFacts::TooLong));
    }
}
