//! A session key in a message, and its bytes.

use std::ops::Deref;

use bincode::{
    Decode, Encode,
    de::{Decoder, read::Reader as _},
    enc::{Encoder, write::Writer as _},
    error::{DecodeError, EncodeError},
};
use client_wire::key::{KeyKind, SessionKey};

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
