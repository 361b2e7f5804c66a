//! What refused clients read, in every version.

use super::*;
use crate::{
    protocol::{EntryRequest, Eras},
    vectors::dialogues,
};

fn said(text: &str) -> String {
    format!(r#"{{"type":"error","message":"{text}"}}"#)
}

fn refuse(protocol: Protocol, refusal: EntryRefusal) -> (Vec<String>, bool) {
    let refused = protocol.refuse_entry(&refusal);
    (refused.texts, refused.ends)
}

#[test]
fn today_a_refusal_before_login_is_one_answer_and_the_end() {
    let handshake = |failure| EntryRefusal::Handshake(failure);
    let registration = |why: &str| said(&format!("Failed to perform registration handshake: {why}"));
    let half_way = |why: &str| format!(r#"{{"type":"handshakeError","message":"{why}"}}"#);
    for (refusal, text) in [
        (EntryRefusal::NoRequest, said("Only 'Register' or 'Authenticate' requests are allowed")),
        (
            EntryRefusal::BinaryFrame,
            said("possibly received a sphinx packet without prior authentication. Request is going to be ignored"),
        ),
        (EntryRefusal::Late, said("timed out while waiting for initial data")),
        (
            EntryRefusal::Version(3),
            said(
                "Attempted to negotiate connection with client using incompatible protocol version. Ours is 6 and the \
                 client reports 3",
            ),
        ),
        (
            EntryRefusal::Login(LoginError::Skewed { got: 5, now: 500 }),
            said("the provided request timestamp is excessively skewed. got 5 whilst the server time is 500"),
        ),
        (
            EntryRefusal::Login(LoginError::NotNewer),
            said("the provided request timestamp is smaller or equal to one previously used"),
        ),
        (EntryRefusal::Login(LoginError::WrongKey), said("failed to verify provided address ciphertext")),
        (EntryRefusal::Login(LoginError::InvalidSignature), said("failed to verify request signature")),
        (EntryRefusal::Login(LoginError::NotRegistered), said("the client is not registered")),
        (EntryRefusal::DuplicateLogin, said("There is already an open connection to this client")),
        (EntryRefusal::DuplicateRegistration, half_way("There is already an open connection to this client")),
        (handshake(HandshakeError::MalformedInit), registration("sent request was malformed")),
        (handshake(HandshakeError::NoIdentity), registration("sent request was malformed")),
        (EntryRefusal::HandshakeGivenUp("nope".into()), registration("error on the remote: nope")),
        (
            EntryRefusal::LateHandshake,
            half_way("Failed to perform registration handshake: timed out waiting for a handshake message"),
        ),
        (handshake(HandshakeError::InvalidSignature), half_way("received invalid signature")),
        (
            EntryRefusal::TooManyRegistrations,
            half_way("too many registrations from this address, try again in a minute"),
        ),
        (EntryRefusal::UnwrittenLogin, said(STORAGE_FAILED)),
        (EntryRefusal::UnreadableEntry, said(UNREADABLE_ENTRY)),
        (EntryRefusal::UnwrittenRegistration, half_way(STORAGE_FAILED)),
    ] {
        assert_eq!(refuse(Protocol::CURRENT, refusal.clone()), (vec![text], true), "{refusal:?}");
    }
}

#[test]
fn a_replayed_login_of_version_3_is_status_false() {
    let protocol = Protocol::negotiate(KeyKind::GcmSiv, Some(3));
    let text =
        r#"{"type":"authenticate","protocol_version":3,"status":false,"bandwidth_remaining":0,"upgrade_mode":false}"#;
    assert_eq!(refuse(protocol, EntryRefusal::Login(LoginError::NotProven)), (vec![text.to_owned()], true));
}

/// Another first text may follow.
#[test]
fn first_texts_that_failed_in_2021_fail_with_the_same_words() {
    for name in [
        "authenticate_short_address",
        "authenticate_bad_b58_address",
        "authenticate_bad_enc",
        "authenticate_bad_iv",
        "authenticate_camelcase_field",
        "capitalised_type",
        "unknown_type",
        "no_type",
        "empty_text",
        "not_json",
        "handshake_data_over_255",
    ] {
        let (_, frames) = dialogues().into_iter().find(|(other, _)| other == name).unwrap();
        let rejected = EntryRequest::read(&frames[0].1, Protocol::UNKNOWN, Eras::All).unwrap_err();
        assert_eq!(refuse(rejected.protocol, rejected.refusal), (vec![frames[1].1.clone()], false), "{name}");
    }
}

#[test]
fn in_2021_refusals_have_the_words_of_then() {
    let handshake = |failure| EntryRefusal::Handshake(failure);
    for (refusal, texts) in [
        (EntryRefusal::BinaryFrame, vec![said("binary request without prior authentication")]),
        (EntryRefusal::Login(LoginError::NotProven), vec![r#"{"type":"authenticate","status":false}"#.to_owned()]),
        (EntryRefusal::DuplicateLogin, vec![said("Authentication failure - duplicate connection detected")]),
        (EntryRefusal::DuplicateRegistration, vec![said("Registration failure - duplicate connection detected")]),
        (handshake(HandshakeError::NoIdentity), vec![said("malformed request")]),
        (
            handshake(HandshakeError::InvalidSignature),
            vec![
                r#"{"type":"handshakeError","message":"received invalid signature"}"#.to_owned(),
                said("failed to perform the handshake - received invalid signature"),
            ],
        ),
        (
            EntryRefusal::HandshakeGivenUp("nope".into()),
            vec![said("failed to perform the handshake - error on the remote: nope")],
        ),
    ] {
        assert_eq!(refuse(Protocol::UNKNOWN, refusal.clone()), (texts, false), "{refusal:?}");
    }
}

#[test]
fn some_refusals_end_every_connection() {
    for protocol in [Protocol::UNKNOWN, Protocol::negotiate(KeyKind::CtrHmac, Some(1)), Protocol::CURRENT] {
        for refusal in [EntryRefusal::Late, EntryRefusal::LateHandshake, EntryRefusal::LegacyClient] {
            let (texts, ends) = refuse(protocol, refusal);
            assert_eq!((texts.len(), ends), (1, true));
        }
    }
    let (texts, _) = refuse(Protocol::UNKNOWN, EntryRefusal::LegacyClient);
    assert!(texts[0].contains("protocol version 3"), "{}", texts[0]);
}

#[test]
fn the_answer_to_a_credential_says_how_to_do_without() {
    for protocol in [Protocol::negotiate(KeyKind::CtrHmac, Some(2)), Protocol::CURRENT] {
        let text = protocol.refuse_request(RequestRefusal::Credential).to_string();
        assert!(text.contains("takes no credentials") && text.contains("claimFreeTestnetBandwidth"), "{text}");
    }
}
