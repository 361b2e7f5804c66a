//! What targets and seeds agree on: fixed keys, and the forms in which a target reads its input.

use std::fmt::Debug;

use bincode::{Decode, Encode};
use bytes::Bytes;
use client_wire::{
    aead_frame::{self, RequestKind},
    client_session::ClientSession,
    key::{CtrHmacKey, GcmSivKey},
    request::RotationMarks,
    session::GatewaySession,
};
use ipc::codec::{append, decode_body};
use serde_json::json;

/// The Sphinx private key of all packets.
pub const SPHINX_SECRET: [u8; 32] = [7; 32];

/// Of sessions of 2021.
pub fn ctr_hmac_key() -> CtrHmacKey {
    CtrHmacKey::from_bytes([1; 32])
}

/// Of sessions of today.
pub fn gcm_siv_key() -> GcmSivKey {
    GcmSivKey::from_bytes([2; 32])
}

/// A text of a session of today whose sealed part is `plaintext`, whatever that is.
pub fn sealed_text(plaintext: &[u8]) -> String {
    const NONCE_BEGINS: usize = 2;
    const NONCE_ENDS: usize = 14;
    // The frame is two bytes, nonce, ciphertext; the text has the latter two as fields.
    let frame = aead_frame::seal(&gcm_siv_key(), RequestKind::Forward, &[3; 12], plaintext);
    let (nonce, ciphertext) = (&frame[NONCE_BEGINS..NONCE_ENDS], &frame[NONCE_ENDS..]);
    json!({ "type": "encryptedRequest", "ciphertext": ciphertext, "nonce": nonce }).to_string()
}

/// Opens a frame of a session, whose other side is `client`. What was understood fits its header, and is understood the same when it is sealed as we would seal it.
pub fn open_request(session: &GatewaySession, client: &ClientSession, frame: impl Into<Bytes>) {
    match session.open_request(frame.into()) {
        Ok(request) => {
            let header = session.header(&request, RotationMarks::Kept);
            assert_eq!(header.size.packet_len(), request.request.packet.len());
            assert_eq!(session.open_request(client.seal_request([0; 12], &request)), Ok(request));
        }
        Err(refusal) => {
            let _ = session.refuse(refusal);
        }
    }
}

/// Reads the messages of a link. Those that decode are encoded and decoded to the same again.
pub fn check_body<M: Encode + Decode<()> + PartialEq + Debug>(body: &[u8]) {
    if let Ok(messages) = decode_body::<M>(body) {
        let mut again = Vec::new();
        for message in &messages {
            append(&mut again, message).unwrap();
        }
        assert_eq!(decode_body::<M>(&again).unwrap(), messages);
    }
}

/// The plaintext routing information of a final hop, as a target of the Sphinx packet takes it: flag, version, destination,
/// identifier.
pub fn final_hop_routing(version: [u8; 3]) -> Vec<u8> {
    [&[2][..], &version, &[9; 32], &[8; 16]].concat()
}

/// One record on disk, as the target of stored records takes it: kind, client, sequence, length, value.
pub fn record(kind: u8, client: u8, sequence: u8, value: &[u8]) -> Vec<u8> {
    let len = u8::try_from(value.len()).unwrap_or(u8::MAX);
    [&[kind, client, sequence, len][..], &value[..len.into()]].concat()
}

/// Where the number of the generation begins in a file of marks, and where its length does.
const NUMBER_BEGINS: usize = 12;
const LEN_BEGINS: usize = 56;
/// Where the marks begin, and how many bytes stand behind them.
pub const MARKS_BEGIN: usize = 64;
/// As above.
pub const CHECKSUM_LEN: usize = blake3::OUT_LEN;

/// A file of the marks of packets seen, as the store writes it.
pub fn replay_file(number: u64, marks: &[u8]) -> Vec<u8> {
    let header = [
        &b"packseen"[..],
        &3_u32.to_le_bytes(),
        &number.to_le_bytes(),
        &[3; 16],
        &17_u32.to_le_bytes(),
        &5_u64.to_le_bytes(),
        &1_700_000_000_u64.to_le_bytes(),
        &(marks.len() as u64).to_le_bytes(),
    ]
    .concat();
    with_checksum(&[&header, marks].concat())
}

/// Gives what stands before the checksum its true length and checksum.
pub fn made_whole(content: &[u8]) -> Vec<u8> {
    let mut content = content.to_vec();
    if let Some(marks) = content.len().checked_sub(MARKS_BEGIN) {
        content[LEN_BEGINS..MARKS_BEGIN].copy_from_slice(&(marks as u64).to_le_bytes());
    }
    with_checksum(&content)
}

/// The number of the generation that a file says it holds.
pub fn number_in(file: &[u8]) -> Option<u64> {
    file.get(NUMBER_BEGINS..NUMBER_BEGINS + 8)?.try_into().ok().map(u64::from_le_bytes)
}

fn with_checksum(content: &[u8]) -> Vec<u8> {
    [content, blake3::hash(content).as_bytes()].concat()
}
