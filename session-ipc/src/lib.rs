//! Link `store` ↔ `client-edge`: sessions, mail and receipts.
//!
//! *store trusts client-edge* only with the clients that are attached: `client-edge` may drop or falsely confirm *their* pushed mail.
//! It cannot attach a session without the client's proof, which `store` checks itself, nor confirm mail that was not pushed
//! in that session. *client-edge trusts store* to give it the key of each attached client and no other.
//!
//! What may be asked depends on the phase of the session: see [`Phase`]. What a peer can do against the rules is a [`Rule`].

mod phase;
mod rule;

use std::ops::Deref;

use bincode::{
    Decode, Encode,
    de::{Decoder, read::Reader as _},
    enc::{Encoder, write::Writer as _},
    error::{DecodeError, EncodeError},
};
use client_wire::{
    handshake::HandshakeError,
    key::{KeyKind, SessionKey},
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

/// What `client-edge` tells `store`: a request of one session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EdgeToStore {
    /// The session.
    pub session: SessionId,
    /// The request.
    pub request: SessionRequest,
}

/// What a session asks or tells `store`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SessionRequest {
    /// The client's first handshake message, unread.
    BeginHandshake {
        /// The bytes the client sent.
        init: Vec<u8>,
        /// How the client will log in later, which follows from its protocol version.
        #[bincode(with_serde)]
        logins: LoginForm,
    },
    /// The client's second handshake message, unread.
    FinishHandshake {
        /// The bytes the client sent.
        material: Vec<u8>,
    },
    /// The client gave up the handshake or took too long.
    AbandonHandshake,
    /// The client wants to log in.
    AuthenticateClient {
        /// The client's proof, unchecked.
        #[bincode(with_serde)]
        proof: LoginProof,
    },
    /// The client has proved that it read everything pushed up to and including this message.
    ConfirmReceipt {
        /// The last message whose receipt is proved.
        up_to: Sequence,
    },
    /// Answer to `ProbeSession`.
    AnswerProbe {
        /// Whether the client answered in time.
        alive: bool,
    },
    /// The client wants its registration and its mail removed. The session is detached from then on.
    ForgetClient,
    /// The client's connection is gone.
    CloseSession,
}

/// What `store` tells `client-edge`: an answer or a command to one session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct StoreToEdge {
    /// The session.
    pub session: SessionId,
    /// The answer or command.
    pub answer: SessionAnswer,
}

/// A session key on its way to the session: its kind (0 until protocol version 2, 1 since version 3), then its 32 bytes. It is decoded
/// into the place where it stays when the message moves, as what a move leaves behind is not wiped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedKey(Box<SessionKey>);

impl AttachedKey {
    /// Of a key that is in memory already.
    pub fn new(key: SessionKey) -> Self {
        Self(Box::new(key))
    }
}

impl Deref for AttachedKey {
    type Target = SessionKey;

    fn deref(&self) -> &SessionKey {
        &self.0
    }
}

impl Encode for AttachedKey {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let kind: u8 = match self.kind() {
            KeyKind::CtrHmac => 0,
            KeyKind::GcmSiv => 1,
        };
        kind.encode(encoder)?;
        encoder.writer().write(&self.to_bytes()[..])
    }
}

impl<Context> Decode<Context> for AttachedKey {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let kind = match u8::decode(decoder)? {
            0 => KeyKind::CtrHmac,
            1 => KeyKind::GcmSiv,
            _ => return Err(DecodeError::Other("no kind of session key")),
        };
        decoder.claim_bytes_read(size_of::<[u8; 32]>())?;
        SessionKey::read_in_place(kind, |bytes| decoder.reader().read(bytes)).map(Self)
    }
}

bincode::impl_borrow_decode!(AttachedKey);

/// What `store` answers or tells a session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SessionAnswer {
    /// The gateway's handshake message for the client.
    ReplyHandshake {
        /// The bytes to send.
        payload: Vec<u8>,
    },
    /// The registration was refused. The session is fresh again.
    RefuseHandshake {
        /// The reason.
        reason: RegistrationRefusal,
    },
    /// The login was refused. The session is fresh again.
    RefuseAuthentication {
        /// The reason.
        reason: AuthenticationRefusal,
    },
    /// The client is registered or logged in. After a registration its ledger entry is durable.
    AttachSession {
        /// The client's session key.
        key: AttachedKey,
    },
    /// Mail for the client, oldest first.
    PushMessage {
        /// Position in the inbox, strictly growing within a session.
        sequence: Sequence,
        /// The message, not yet sealed.
        message: Opaque,
    },
    /// Another connection claims to be the client. Find out within half a second whether this one still answers.
    ProbeSession,
    /// The client's registration and mail are removed. The session is detached.
    ConfirmForgotten,
    /// Close the connection. The session is detached.
    EndSession {
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

    #[test]
    fn a_message_costs_its_bytes_and_an_overhead_at_most_all() {
        assert_eq!([0, 40].map(message_cost), [MESSAGE_OVERHEAD, 40 + MESSAGE_OVERHEAD]);
        assert_eq!(message_cost(usize::MAX), u64::MAX);
    }

    /// Asserts the bytes of a message in both directions.
    fn pin<M: Encode + Decode<()> + PartialEq + std::fmt::Debug>(message: M, golden: &str) {
        let bytes = encode_one(&message).unwrap();
        assert_eq!(hex::encode(&bytes), golden, "{message:?}");
        assert_eq!(decode_one(&bytes), Ok(message));
    }

    fn requests() -> Vec<SessionRequest> {
        let token = AuthenticationToken { address: ClientAddress([1; 32]), enc_address: [2; 32], iv: [3; 16] };
        vec![
            SessionRequest::BeginHandshake { init: vec![1, 2], logins: LoginForm::Signed },
            SessionRequest::FinishHandshake { material: vec![3] },
            SessionRequest::AbandonHandshake,
            SessionRequest::AuthenticateClient { proof: LoginProof::CtrHmac(token) },
            SessionRequest::ConfirmReceipt { up_to: Sequence(9) },
            SessionRequest::AnswerProbe { alive: true },
            SessionRequest::ForgetClient,
            SessionRequest::CloseSession,
        ]
    }

    #[test]
    fn bytes_of_requests_are_pinned() {
        let token = format!("050300{}{}{}", "01".repeat(32), "02".repeat(32), "03".repeat(16));
        let golden = ["050002010201", "05010103", "0502", &token, "050409", "050501", "0506", "0507"];
        for (request, golden) in requests().into_iter().zip(golden) {
            pin(EdgeToStore { session: SESSION, request }, golden);
        }
    }

    #[test]
    fn bytes_of_answers_are_pinned() {
        let pin = |answer, golden: &str| pin(StoreToEdge { session: SESSION, answer }, golden);
        let key = AttachedKey::new(SessionKey::CtrHmac(CtrHmacKey::from_bytes([7; 32])));
        let message = Opaque(vec![8].into());
        pin(SessionAnswer::ReplyHandshake { payload: vec![1] }, "05000101");
        for (reason, golden) in [
            (RegistrationRefusal::Handshake(HandshakeError::NoIdentity), "05010000"),
            (RegistrationRefusal::Handshake(HandshakeError::MalformedInit), "05010001"),
            (RegistrationRefusal::Handshake(HandshakeError::MaterialLength { got: 63, expected: 64 }), "050100023f40"),
            (RegistrationRefusal::Handshake(HandshakeError::InvalidSignature), "05010003"),
            (RegistrationRefusal::AlreadyConnected, "050101"),
            (RegistrationRefusal::StorageFailed, "050102"),
        ] {
            pin(SessionAnswer::RefuseHandshake { reason }, golden);
        }
        for (reason, golden) in [
            (AuthenticationRefusal::Login(LoginError::NotProven), "05020000"),
            (AuthenticationRefusal::Login(LoginError::Skewed { got: 1, now: 2 }), "050200010102"),
            (AuthenticationRefusal::Login(LoginError::InvalidSignature), "05020002"),
            (AuthenticationRefusal::Login(LoginError::NotRegistered), "05020003"),
            (AuthenticationRefusal::Login(LoginError::WrongKey), "05020004"),
            (AuthenticationRefusal::Login(LoginError::NotNewer), "05020005"),
            (AuthenticationRefusal::AlreadyConnected, "050201"),
            (AuthenticationRefusal::StorageFailed, "050202"),
            (AuthenticationRefusal::UnreadableEntry, "050203"),
            (AuthenticationRefusal::TooMany, "050204"),
        ] {
            pin(SessionAnswer::RefuseAuthentication { reason }, golden);
        }
        pin(SessionAnswer::AttachSession { key }, &format!("050300{}", "07".repeat(32)));
        let key = AttachedKey::new(SessionKey::GcmSiv(GcmSivKey::from_bytes([7; 32])));
        pin(SessionAnswer::AttachSession { key }, &format!("050301{}", "07".repeat(32)));
        pin(SessionAnswer::PushMessage { sequence: Sequence(300), message }, "0504fb2c010108");
        pin(SessionAnswer::ProbeSession, "0505");
        pin(SessionAnswer::ConfirmForgotten, "0506");
        pin(SessionAnswer::EndSession { reason: EndReason::Superseded }, "050700");
        pin(SessionAnswer::EndSession { reason: EndReason::StorageFailed }, "050701");
        pin(SessionAnswer::EndSession { reason: EndReason::MemoryNeeded }, "050702");
    }

    #[test]
    fn bytes_of_newer_logins_are_pinned() {
        let key = GcmSivKey::from_bytes([7; 32]);
        let address = ClientAddress([1; 32]);
        let token = GcmSivToken { address, enc_address: [2; 48], nonce: [3; 12] };
        let golden = format!("050301{}{}{}", "01".repeat(32), "02".repeat(48), "03".repeat(12));
        pin(
            EdgeToStore {
                session: SESSION,
                request: SessionRequest::AuthenticateClient { proof: LoginProof::GcmSiv(token) },
            },
            &golden,
        );
        let claim = LoginClaim { address_ciphertext: [2; 48], ..LoginClaim::create(6, &key, address, [3; 12], 9) };
        let login = SignedLogin { claim, signature: [4; 64] };
        let (claim, signature) = ("02".repeat(48) + &"03".repeat(12) + "09", "04".repeat(64));
        let golden = format!("05030206{}{claim}{signature}", "01".repeat(32));
        pin(
            EdgeToStore {
                session: SESSION,
                request: SessionRequest::AuthenticateClient { proof: LoginProof::Signed(login) },
            },
            &golden,
        );
    }

    #[test]
    fn a_key_stays_where_it_is_when_its_message_moves() {
        let address = |messages: &[StoreToEdge]| match messages.first().map(|first| &first.answer) {
            Some(SessionAnswer::AttachSession { key }) => std::ptr::from_ref::<SessionKey>(&**key),
            other => panic!("no key but {other:?}"),
        };
        let key = AttachedKey::new(SessionKey::GcmSiv(GcmSivKey::from_bytes([7; 32])));
        let mut messages = vec![StoreToEdge { session: SESSION, answer: SessionAnswer::AttachSession { key } }];
        let before = address(&messages);
        messages.extend((0..1_000).map(|_| StoreToEdge { session: SESSION, answer: SessionAnswer::ProbeSession }));
        assert_eq!(address(&messages), before);
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
            let request = EdgeToStore { session: SESSION, request: SessionRequest::AuthenticateClient { proof } };
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
                let answer = SessionAnswer::AttachSession { key: AttachedKey::new(key) };
                let answer = StoreToEdge { session: SESSION, answer };
                let encoded = encode_one(&answer).unwrap();
                prop_assert_eq!(&encoded, &[&[5, 3, kind][..], &bytes].concat());
                prop_assert_eq!(decode_one(&encoded), Ok(answer));
            }
        }
    }
}
