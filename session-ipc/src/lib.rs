//! Link `store` ↔ `client-edge`: sessions, mail and receipts.
//!
//! *store trusts client-edge* only with the clients that are attached: `client-edge` may drop or falsely confirm *their* pushed mail.
//! It cannot attach a session without the client's proof, which `store` checks itself, nor confirm mail that was not pushed
//! in that session. *client-edge trusts store* to give it the key of each attached client and no other.
//!
//! What may be asked depends on the phase of the session: see [`Phase`]. What a peer can do against the rules is a [`Rule`].

mod phase;
mod rule;

use bincode::{Decode, Encode};
use client_wire::{
    handshake::HandshakeError,
    key::SessionKey,
    login::{LoginError, LoginForm, LoginProof},
};
use ipc::Opaque;

pub use phase::{Admission, Phase};
pub use rule::Rule;

/// Bytes of memory that a waiting message takes beside its content.
pub const MESSAGE_OVERHEAD: u64 = 256;

/// Bytes that a message of `len` bytes takes of a memory budget, at both ends of the link.
pub const fn message_cost(len: usize) -> u64 {
    (len as u64).saturating_add(MESSAGE_OVERHEAD)
}

/// Names one session of one `client-edge`: one connection of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct SessionId(pub u64);

/// Position of a message in its inbox. Counts up; no position is used twice while the inbox holds a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Sequence(pub u64);

/// What `client-edge` tells `store`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EdgeToStore {
    /// The client's first handshake message, unread.
    BeginHandshake {
        /// The session.
        session: SessionId,
        /// The bytes the client sent.
        init: Vec<u8>,
        /// How the client will log in later, which follows from its protocol version.
        #[bincode(with_serde)]
        logins: LoginForm,
    },
    /// The client's second handshake message, unread.
    FinishHandshake {
        /// The session.
        session: SessionId,
        /// The bytes the client sent.
        material: Vec<u8>,
    },
    /// The client gave up the handshake or took too long.
    AbandonHandshake {
        /// The session.
        session: SessionId,
    },
    /// The client wants to log in.
    AuthenticateClient {
        /// The session.
        session: SessionId,
        /// The client's proof, unchecked.
        #[bincode(with_serde)]
        proof: LoginProof,
    },
    /// The client has proved that it read everything pushed up to and including this message.
    ConfirmReceipt {
        /// The session.
        session: SessionId,
        /// The last message whose receipt is proved.
        up_to: Sequence,
    },
    /// Answer to `ProbeSession`.
    AnswerProbe {
        /// The session.
        session: SessionId,
        /// Whether the client answered in time.
        alive: bool,
    },
    /// The client wants its registration and its mail removed. The session is detached from then on.
    ForgetClient {
        /// The session.
        session: SessionId,
    },
    /// The client's connection is gone.
    CloseSession {
        /// The session.
        session: SessionId,
    },
}

/// What `store` tells `client-edge`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StoreToEdge {
    /// The gateway's handshake message for the client.
    ReplyHandshake {
        /// The session.
        session: SessionId,
        /// The bytes to send.
        payload: Vec<u8>,
    },
    /// The registration was refused. The session is fresh again.
    RefuseHandshake {
        /// The session.
        session: SessionId,
        /// The reason.
        reason: RegistrationRefusal,
    },
    /// The login was refused. The session is fresh again.
    RefuseAuthentication {
        /// The session.
        session: SessionId,
        /// The reason.
        reason: AuthenticationRefusal,
    },
    /// The client is registered or logged in. After a registration its ledger entry is durable.
    AttachSession {
        /// The session.
        session: SessionId,
        /// The client's session key.
        #[bincode(with_serde)]
        key: SessionKey,
    },
    /// Mail for the client, oldest first.
    PushMessage {
        /// The session.
        session: SessionId,
        /// Position in the inbox, strictly growing within a session.
        sequence: Sequence,
        /// The message, not yet sealed.
        message: Opaque,
    },
    /// Another connection claims to be the client. Find out within half a second whether this one still answers.
    ProbeSession {
        /// The session.
        session: SessionId,
    },
    /// The client's registration and mail are removed. The session is detached.
    ConfirmForgotten {
        /// The session.
        session: SessionId,
    },
    /// Close the connection. The session is detached.
    EndSession {
        /// The session.
        session: SessionId,
        /// The reason.
        reason: EndReason,
    },
}

/// Why a registration was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RegistrationRefusal {
    /// A handshake message is malformed, or the client did not sign.
    Handshake(#[bincode(with_serde)] HandshakeError),
    /// The client is connected elsewhere, and that connection is alive.
    AlreadyConnected,
    /// The ledger could not be written.
    StorageFailed,
}

/// Why an authentication was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AuthenticationRefusal {
    /// The login proves nothing.
    Login(#[bincode(with_serde)] LoginError),
    /// The client is connected elsewhere, and that connection is alive.
    AlreadyConnected,
    /// The ledger could not be written.
    StorageFailed,
    /// The client's ledger entry is damaged.
    UnreadableEntry,
    /// The client's logins of this hour are used up.
    TooMany,
}

/// Why `store` ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EndReason {
    /// A newer connection of the same client took over.
    Superseded,
    /// The ledger could not be written, so the client is not forgotten.
    StorageFailed,
    /// The client has not read what was pushed, and the memory is needed for others. The mail is kept.
    MemoryNeeded,
}

impl EdgeToStore {
    /// The session of the request.
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
