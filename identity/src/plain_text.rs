//! A text that the operator signs to prove that the gateway is theirs.
//!
//! The identity key also signs what the network believes by itself: descriptions of the host, requests to read them again, contract
//! messages and handshakes. None of these passes for a text of the operator, or somebody could have them signed under another name.

use client_wire::handshake::Signature;

use crate::{Identity, MAX_TEXT, terminal};

/// Why a text is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is nothing to sign.
    #[error("the text is empty: give what is to be signed after --text")]
    Empty,
    /// Too much.
    #[error(
        "the text has {0} bytes, and at most {MAX_TEXT} are signed, as all of it is shown first: sign a hash of it instead"
    )]
    TooLong(usize),
    /// A contract message in its decoded form.
    #[error(
        "the text is a message for a contract: give --contract-msg the text that the wallet shows, so that what it says can be shown and checked"
    )]
    ContractMessage,
    /// What the gateway itself tells the network.
    #[error("the text is a description of a host, which only a running gateway signs")]
    HostInformation,
    /// Bytes that a running gateway or a client of it signs.
    #[error("the text has the form of a request that the network understands, and is not signed: choose another text")]
    NetworkRequest,
}

/// What a signature of `text` would mean, with all of the text.
///
/// # Errors
/// [`Refused`], whose words are for the operator.
pub fn explain(text: &str, identity: &[u8; 32]) -> Result<String, Refused> {
    check(text, identity)?;
    Ok(format!(
        "This signature lets anybody prove that the operator of this gateway signed these {} bytes:\n  \"{}\"\n",
        text.len(),
        terminal::whole(text)
    ))
}

/// Signs `text`, byte for byte.
///
/// # Errors
/// [`Refused`], whose words are for the operator.
pub fn sign(text: &str, identity: &Identity) -> Result<Signature, Refused> {
    check(text, &identity.public())?;
    Ok(identity.sign(text.as_bytes()))
}

fn check(text: &str, identity: &[u8; 32]) -> Result<(), Refused> {
    if text.is_empty() {
        return Err(Refused::Empty);
    }
    if text.len() > MAX_TEXT {
        return Err(Refused::TooLong(text.len()));
    }
    // A request to read the description again begins with the identity; both sides of a handshake sign two X25519 keys.
    if text.as_bytes().starts_with(identity) || text.len() == 64 && !text.is_ascii() {
        return Err(Refused::NetworkRequest);
    }
    if let Ok(serde_json::Value::Object(members)) = serde_json::from_str(text) {
        if members.contains_key("message_type") {
            return Err(Refused::ContractMessage);
        }
        if members.contains_key("keys") || members.contains_key("ip_address") {
            return Err(Refused::HostInformation);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: [u8; 32] = [b'i'; 32];

    #[test]
    fn a_text_of_the_operator_is_signed() {
        for text in ["I run this gateway", "{\"proof\":1}", "äöü", "{}", &"a".repeat(64)] {
            assert_eq!(check(text, &IDENTITY), Ok(()), "{text}");
        }
    }

    #[test]
    fn the_end_of_the_longest_text_is_shown() {
        let text = format!("{}\n and my stake", "I agree. ".repeat(900));
        let words = explain(&text, &IDENTITY).unwrap();
        assert!(words.ends_with("I agree. \\n and my stake\"\n"), "{words}");
        let longest = "\u{7f}".repeat(MAX_TEXT);
        let words = explain(&longest, &IDENTITY).unwrap();
        assert!(words.contains(&"\\u{7f}".repeat(MAX_TEXT)));
    }

    #[test]
    fn what_the_network_believes_is_not_signed_as_text() {
        assert_eq!(check("", &IDENTITY), Err(Refused::Empty));
        assert_eq!(check(&"a".repeat(MAX_TEXT + 1), &IDENTITY), Err(Refused::TooLong(MAX_TEXT + 1)));
        assert_eq!(check(r#" {"nonce":1,"message_type":"any"}"#, &IDENTITY), Err(Refused::ContractMessage));
        assert_eq!(check(r#"{"ip_address":["1.2.3.4"],"keys":{}}"#, &IDENTITY), Err(Refused::HostInformation));
        let refresh = format!("{}{}", "i".repeat(32), "\0\0\0\0\0\0\0\0describe-cache-refresh-request");
        assert_eq!(check(&refresh, &IDENTITY), Err(Refused::NetworkRequest));
        assert_eq!(check(&"é".repeat(32), &IDENTITY), Err(Refused::NetworkRequest));
    }
}
