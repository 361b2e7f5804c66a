//! What a client of the 2021 protocol reads when `store` refuses it.

use proto::{
    ipc::store_edge::{AuthenticationRefusal, HandshakeRefusal},
    wire::client::{
        control::GatewayResponse,
        refusal::{HandshakeFailure, LegacyRefusal},
    },
};

/// 0.10.1 has no words for this: it answered as if it had written.
const STORAGE_FAILED: &str = "the gateway could not write this down and has changed nothing; try again later";

/// The texts that end a registration, in order.
pub(crate) fn of_handshake(reason: HandshakeRefusal) -> Vec<String> {
    let failure = match reason {
        HandshakeRefusal::NoIdentity => HandshakeFailure::NoIdentity,
        HandshakeRefusal::MalformedInit => HandshakeFailure::MalformedInit,
        HandshakeRefusal::MaterialLength { got, expected } => {
            HandshakeFailure::MaterialLength { got: got as usize, expected: expected as usize }
        }
        HandshakeRefusal::InvalidSignature => HandshakeFailure::InvalidSignature,
        HandshakeRefusal::AlreadyConnected => return vec![of_request(LegacyRefusal::DuplicateRegistration)],
        HandshakeRefusal::StorageFailed => return vec![storage_failed()],
    };
    of_failure(&failure)
}

/// The texts that end a registration the two sides could not agree on, in order.
pub(crate) fn of_failure(failure: &HandshakeFailure) -> Vec<String> {
    let (end, answer) = failure.answers();
    end.map(|end| end.to_string()).into_iter().chain([answer.to_string()]).collect()
}

/// The text that ends an authentication.
pub(crate) fn of_authentication(reason: AuthenticationRefusal) -> String {
    match reason {
        AuthenticationRefusal::NotProven => GatewayResponse::Authenticate { status: false }.to_string(),
        AuthenticationRefusal::AlreadyConnected => of_request(LegacyRefusal::DuplicateAuthentication),
        AuthenticationRefusal::StorageFailed => storage_failed(),
    }
}

/// The text that refuses one request.
pub(crate) fn of_request(refusal: LegacyRefusal) -> String {
    GatewayResponse::from(refusal).to_string()
}

fn storage_failed() -> String {
    GatewayResponse::Error { message: STORAGE_FAILED.to_owned() }.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_refused_in_the_words_of_2021() {
        let error = |message: &str| format!(r#"{{"type":"error","message":"{message}"}}"#);
        let failed = |why: &str| {
            vec![
                format!(r#"{{"type":"handshakeError","message":"{why}"}}"#),
                error(&format!("failed to perform the handshake - {why}")),
            ]
        };
        let length = "received key material of invalid length - 63. Expected: 64";
        for (reason, texts) in [
            (HandshakeRefusal::NoIdentity, vec![error("malformed request")]),
            (HandshakeRefusal::MalformedInit, failed("sent request was malformed")),
            (HandshakeRefusal::MaterialLength { got: 63, expected: 64 }, failed(length)),
            (HandshakeRefusal::InvalidSignature, failed("received invalid signature")),
            (HandshakeRefusal::AlreadyConnected, vec![error("Registration failure - duplicate connection detected")]),
            (HandshakeRefusal::StorageFailed, vec![error(STORAGE_FAILED)]),
        ] {
            assert_eq!(of_handshake(reason), texts, "{reason:?}");
        }
    }

    #[test]
    fn an_authentication_is_refused_in_the_words_of_2021() {
        for (reason, text) in [
            (AuthenticationRefusal::NotProven, r#"{"type":"authenticate","status":false}"#.to_owned()),
            (
                AuthenticationRefusal::AlreadyConnected,
                r#"{"type":"error","message":"Authentication failure - duplicate connection detected"}"#.to_owned(),
            ),
            (AuthenticationRefusal::StorageFailed, storage_failed()),
        ] {
            assert_eq!(of_authentication(reason), text, "{reason:?}");
        }
    }
}
