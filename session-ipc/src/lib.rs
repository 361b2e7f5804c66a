//! Link `store` ↔ `client-edge`: sessions, mail and receipts.
//!
//! *store trusts client-edge* only with the clients that are attached: it may drop or falsely confirm *their* pushed mail.
//! It cannot attach a session without the client's proof, which `store` checks itself, nor confirm what was not pushed
//! in that session. *client-edge trusts store* to name one session key at a time.
//!
//! What may be asked depends on the phase of the session, as one table ([`Phase::admits`]):
//!
//! | request | fresh | handshaking | deciding | attached | detached |
//! |---|---|---|---|---|---|
//! | `BeginHandshake` | yes | violation | violation | violation | ignored |
//! | `FinishHandshake`, `AbandonHandshake` | violation | yes | violation | violation | ignored |
//! | `AuthenticateClient` | yes | violation | violation | violation | ignored |
//! | `ConfirmReceipt`, `AnswerProbe`, `ForgetClient` | violation | violation | violation | yes | ignored |
//! | `CloseSession` | yes | yes | yes | yes | yes |
//!
//! *Ignored* is for what may have crossed `EndSession` on its way. A session is born by its first request and lives, in
//! phase *detached* if need be, until `CloseSession`; its number is never used again.

mod rule;

use bincode::{Decode, Encode};

use client_wire::{
    handshake::HandshakeError,
    key::SessionKey,
    login::{LoginError, LoginForm, LoginProof},
};
use ipc::Opaque;

pub use rule::Rule;

/// Bytes that a message takes in memory beside its own, wherever it waits.
pub const MESSAGE_OVERHEAD: u64 = 256;

/// What a message of so many bytes takes of a budget of memory, at both ends of the link.
pub const fn message_cost(len: usize) -> u64 {
    (len as u64).saturating_add(MESSAGE_OVERHEAD)
}

/// Names one connection of one `client-edge`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct SessionId(pub u64);

/// Position of a message in its inbox. Counts up; never used twice while a message of the inbox exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Sequence(pub u64);

/// From `client-edge`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EdgeToStore {
    /// The client's first handshake message, unread.
    BeginHandshake {
        /// Which connection.
        session: SessionId,
        /// The bytes the client sent.
        init: Vec<u8>,
        /// How the client will log in, by the version that it gave.
        #[bincode(with_serde)]
        logins: LoginForm,
    },
    /// The client's second handshake message, unread.
    FinishHandshake {
        /// Which connection.
        session: SessionId,
        /// The bytes the client sent.
        material: Vec<u8>,
    },
    /// The client gave up or took too long.
    AbandonHandshake {
        /// Which connection.
        session: SessionId,
    },
    /// The client says who it is, with a proof that `store` checks.
    AuthenticateClient {
        /// Which connection.
        session: SessionId,
        /// The proof.
        #[bincode(with_serde)]
        proof: LoginProof,
    },
    /// The client has proved that it read everything pushed up to and including this message.
    ConfirmReceipt {
        /// Which connection.
        session: SessionId,
        /// The last message proved.
        up_to: Sequence,
    },
    /// Answer to `ProbeSession`.
    AnswerProbe {
        /// Which connection.
        session: SessionId,
        /// Whether the client answered in time.
        alive: bool,
    },
    /// The client wants to be forgotten: its registration and its mail. The session is detached from then on.
    ForgetClient {
        /// Which connection.
        session: SessionId,
    },
    /// The connection is gone.
    CloseSession {
        /// Which connection.
        session: SessionId,
    },
}

/// From `store`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StoreToEdge {
    /// The gateway's handshake message for the client.
    ReplyHandshake {
        /// Which connection.
        session: SessionId,
        /// The bytes to send.
        payload: Vec<u8>,
    },
    /// The registration failed; the session is fresh again.
    RefuseHandshake {
        /// Which connection.
        session: SessionId,
        /// Why.
        reason: RegistrationRefusal,
    },
    /// The authentication failed; the session is fresh again.
    RefuseAuthentication {
        /// Which connection.
        session: SessionId,
        /// Why.
        reason: AuthenticationRefusal,
    },
    /// Registered or authenticated; after a registration the ledger entry is durable.
    AttachSession {
        /// Which connection.
        session: SessionId,
        /// The key of this one client.
        #[bincode(with_serde)]
        key: SessionKey,
    },
    /// Mail for the client, oldest first.
    PushMessage {
        /// Which connection.
        session: SessionId,
        /// Position in the inbox, strictly growing within a session.
        sequence: Sequence,
        /// What the client is to get.
        message: Opaque,
    },
    /// Find out within half a second whether the client still answers: another connection claims to be it.
    ProbeSession {
        /// Which connection.
        session: SessionId,
    },
    /// Registration and mail of the client are gone; the session is detached.
    ConfirmForgotten {
        /// Which connection.
        session: SessionId,
    },
    /// Close the connection; the session is detached.
    EndSession {
        /// Which connection.
        session: SessionId,
        /// Why.
        reason: EndReason,
    },
}

/// Why a registration was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RegistrationRefusal {
    /// A message of the client is none, or the client did not sign.
    Handshake(#[bincode(with_serde)] HandshakeError),
    /// The client is connected elsewhere, and that connection is alive.
    AlreadyConnected,
    /// The ledger could not be written.
    StorageFailed,
}

/// Why an authentication was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AuthenticationRefusal {
    /// The proof is none.
    Login(#[bincode(with_serde)] LoginError),
    /// The client is connected elsewhere, and that connection is alive.
    AlreadyConnected,
    /// The login could not be written down.
    StorageFailed,
    /// The client's ledger entry is there and cannot be read.
    UnreadableEntry,
    /// The client has logged in as often in this hour as it may.
    TooMany,
}

/// Why `store` ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EndReason {
    /// A newer connection of the same client took over.
    Superseded,
    /// The ledger could not be written, so the client is not forgotten.
    StorageFailed,
    /// The client has not taken what it was pushed, and the memory is needed for others. Its mail is kept.
    MemoryNeeded,
}

/// Where a session stands, as `store` sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing asked, or refused.
    Fresh,
    /// Waiting for the client's second handshake message.
    Handshaking,
    /// `store` is at work on an answer.
    Deciding,
    /// Proven; mail flows.
    Attached,
    /// Ended by `store`, or for good.
    Detached,
}

/// What the table says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Do it.
    Proceed,
    /// It crossed the end of the session on its way.
    Ignore,
    /// A bug or an attack: drop the link.
    Violation,
}

impl Phase {
    /// The table above.
    pub const fn admits(self, request: &EdgeToStore) -> Admission {
        use EdgeToStore as Request;
        match (request, self) {
            (Request::CloseSession { .. }, _)
            | (Request::BeginHandshake { .. } | Request::AuthenticateClient { .. }, Self::Fresh)
            | (Request::FinishHandshake { .. } | Request::AbandonHandshake { .. }, Self::Handshaking)
            | (
                Request::ConfirmReceipt { .. } | Request::AnswerProbe { .. } | Request::ForgetClient { .. },
                Self::Attached,
            ) => Admission::Proceed,
            (_, Self::Detached) => Admission::Ignore,
            _ => Admission::Violation,
        }
    }
}

impl EdgeToStore {
    /// The session the request is about.
    pub const fn session(&self) -> SessionId {
        match self {
            Self::BeginHandshake { session, .. }
            | Self::FinishHandshake { session, .. }
            | Self::AbandonHandshake { session }
            | Self::AuthenticateClient { session, .. }
            | Self::ConfirmReceipt { session, .. }
            | Self::AnswerProbe { session, .. }
            | Self::ForgetClient { session }
            | Self::CloseSession { session } => *session,
        }
    }
}

#[cfg(test)]
mod tests {
    use client_wire::{
        key::{CtrHmacKey, GcmSivKey},
        token::{AuthenticationToken, GcmSivToken, LoginClaim, SignedLogin},
    };
    use ipc::codec::{decode_body, decode_one, encode_one};
    use wire::address::ClientAddress;

    use super::*;
    use proptest::prelude::*;

    const SESSION: SessionId = SessionId(5);

    /// Asserts the bytes of a message in both directions.
    fn pin<M: Encode + Decode<()> + PartialEq + std::fmt::Debug>(message: M, golden: &str) {
        let bytes = encode_one(&message).unwrap();
        assert_eq!(hex::encode(&bytes), golden, "{message:?}");
        assert_eq!(decode_one(&bytes), Ok(message));
    }

    fn requests() -> Vec<EdgeToStore> {
        let token = AuthenticationToken { address: ClientAddress([1; 32]), enc_address: [2; 32], iv: [3; 16] };
        vec![
            EdgeToStore::BeginHandshake { session: SESSION, init: vec![1, 2], logins: LoginForm::Signed },
            EdgeToStore::FinishHandshake { session: SESSION, material: vec![3] },
            EdgeToStore::AbandonHandshake { session: SESSION },
            EdgeToStore::AuthenticateClient { session: SESSION, proof: LoginProof::CtrHmac(token) },
            EdgeToStore::ConfirmReceipt { session: SESSION, up_to: Sequence(9) },
            EdgeToStore::AnswerProbe { session: SESSION, alive: true },
            EdgeToStore::ForgetClient { session: SESSION },
            EdgeToStore::CloseSession { session: SESSION },
        ]
    }

    #[test]
    fn bytes_of_requests_are_pinned() {
        let token = format!("030500{}{}{}", "01".repeat(32), "02".repeat(32), "03".repeat(16));
        let golden = ["000502010201", "01050103", "0205", &token, "040509", "050501", "0605", "0705"];
        for (request, golden) in requests().into_iter().zip(golden) {
            assert_eq!(request.session(), SESSION);
            pin(request, golden);
        }
    }

    #[test]
    fn bytes_of_answers_are_pinned() {
        let session = SESSION;
        let key = SessionKey::CtrHmac(CtrHmacKey::from_bytes([7; 32]));
        let message = Opaque(vec![8].into());
        pin(StoreToEdge::ReplyHandshake { session, payload: vec![1] }, "00050101");
        for (reason, golden) in [
            (RegistrationRefusal::Handshake(HandshakeError::NoIdentity), "01050000"),
            (RegistrationRefusal::Handshake(HandshakeError::MalformedInit), "01050001"),
            (RegistrationRefusal::Handshake(HandshakeError::MaterialLength { got: 63, expected: 64 }), "010500023f40"),
            (RegistrationRefusal::Handshake(HandshakeError::InvalidSignature), "01050003"),
            (RegistrationRefusal::AlreadyConnected, "010501"),
            (RegistrationRefusal::StorageFailed, "010502"),
        ] {
            pin(StoreToEdge::RefuseHandshake { session, reason }, golden);
        }
        for (reason, golden) in [
            (AuthenticationRefusal::Login(LoginError::NotProven), "02050000"),
            (AuthenticationRefusal::Login(LoginError::Skewed { got: 1, now: 2 }), "020500010102"),
            (AuthenticationRefusal::Login(LoginError::InvalidSignature), "02050002"),
            (AuthenticationRefusal::Login(LoginError::NotRegistered), "02050003"),
            (AuthenticationRefusal::Login(LoginError::WrongKey), "02050004"),
            (AuthenticationRefusal::Login(LoginError::NotNewer), "02050005"),
            (AuthenticationRefusal::AlreadyConnected, "020501"),
            (AuthenticationRefusal::StorageFailed, "020502"),
            (AuthenticationRefusal::UnreadableEntry, "020503"),
            (AuthenticationRefusal::TooMany, "020504"),
        ] {
            pin(StoreToEdge::RefuseAuthentication { session, reason }, golden);
        }
        pin(StoreToEdge::AttachSession { session, key }, &format!("030500{}", "07".repeat(32)));
        let key = SessionKey::GcmSiv(GcmSivKey::from_bytes([7; 32]));
        pin(StoreToEdge::AttachSession { session, key }, &format!("030501{}", "07".repeat(32)));
        pin(StoreToEdge::PushMessage { session, sequence: Sequence(300), message }, "0405fb2c010108");
        pin(StoreToEdge::ProbeSession { session }, "0505");
        pin(StoreToEdge::ConfirmForgotten { session }, "0605");
        pin(StoreToEdge::EndSession { session, reason: EndReason::Superseded }, "070500");
        pin(StoreToEdge::EndSession { session, reason: EndReason::StorageFailed }, "070501");
        pin(StoreToEdge::EndSession { session, reason: EndReason::MemoryNeeded }, "070502");
    }

    #[test]
    fn bytes_of_newer_logins_are_pinned() {
        let key = GcmSivKey::from_bytes([7; 32]);
        let address = ClientAddress([1; 32]);
        let token = GcmSivToken { address, enc_address: [2; 48], nonce: [3; 12] };
        let golden = format!("030501{}{}{}", "01".repeat(32), "02".repeat(48), "03".repeat(12));
        pin(EdgeToStore::AuthenticateClient { session: SESSION, proof: LoginProof::GcmSiv(token) }, &golden);
        let claim = LoginClaim { address_ciphertext: [2; 48], ..LoginClaim::create(6, &key, address, [3; 12], 9) };
        let login = SignedLogin { claim, signature: [4; 64] };
        let (claim, signature) = ("02".repeat(48) + &"03".repeat(12) + "09", "04".repeat(64));
        let golden = format!("03050206{}{claim}{signature}", "01".repeat(32));
        pin(EdgeToStore::AuthenticateClient { session: SESSION, proof: LoginProof::Signed(login) }, &golden);
    }

    #[test]
    fn the_table_of_phases_is_the_documented_one() {
        use Admission::{Ignore as I, Proceed as P, Violation as V};
        let phases = [Phase::Fresh, Phase::Handshaking, Phase::Deciding, Phase::Attached, Phase::Detached];
        let table = [
            [P, V, V, V, I],
            [V, P, V, V, I],
            [V, P, V, V, I],
            [P, V, V, V, I],
            [V, V, V, P, I],
            [V, V, V, P, I],
            [V, V, V, P, I],
            [P, P, P, P, P],
        ];
        for (request, row) in requests().into_iter().zip(table) {
            for (phase, expected) in phases.into_iter().zip(row) {
                assert_eq!(phase.admits(&request), expected, "{request:?} when {phase:?}");
            }
        }
    }

    #[test]
    fn every_proof_travels() {
        let (ctr, gcm) = (CtrHmacKey::from_bytes([5; 32]), GcmSivKey::from_bytes([5; 32]));
        let (address, claim) =
            (ClientAddress([1; 32]), LoginClaim::create(6, &gcm, ClientAddress([1; 32]), [3; 12], 1_000));
        for (proof, len) in [
            (LoginProof::CtrHmac(AuthenticationToken::create(&ctr, address, [2; 16])), 1 + 80),
            (LoginProof::GcmSiv(GcmSivToken::create(&gcm, address, [3; 12])), 1 + 92),
            (LoginProof::Signed(SignedLogin { claim, signature: [4; 64] }), 1 + 1 + 32 + 48 + 12 + 3 + 64),
        ] {
            let request = EdgeToStore::AuthenticateClient { session: SESSION, proof };
            let encoded = encode_one(&request).unwrap();
            assert_eq!(encoded.len(), 2 + len);
            assert_eq!(decode_one(&encoded), Ok(request));
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode_body::<EdgeToStore>(&bytes);
            let _ = decode_body::<StoreToEdge>(&bytes);
        }

        #[test]
        fn a_session_key_travels_as_its_kind_and_its_32_bytes(bytes: [u8; 32]) {
            for (kind, key) in [
                (0, SessionKey::CtrHmac(CtrHmacKey::from_bytes(bytes))),
                (1, SessionKey::GcmSiv(GcmSivKey::from_bytes(bytes))),
            ] {
                let answer = StoreToEdge::AttachSession { session: SESSION, key };
                let encoded = encode_one(&answer).unwrap();
                prop_assert_eq!(&encoded, &[&[3, 5, kind][..], &bytes].concat());
                prop_assert_eq!(decode_one(&encoded), Ok(answer));
            }
        }
    }
}
