//! Unwraps a packet with `sphinx-packet`, the library of the network.
//!
//! The fuzz target of final hops includes this file.

use mix_ingress::sphinx::UnwrapError;
use sphinx_packet::{
    ProcessedPacketData, SphinxPacket,
    header::{SphinxHeader, shared_secret::ExpandedSharedSecret},
    payload::Payload,
};
use wire::packet::{HEADER_LEN, PacketSize};
use x25519_dalek::StaticSecret;

/// The version of 2021, and one that was never released. Newer libraries mistake them for versions whose payload key comes from a seed.
const MISTAKEN: [u16; 2] = [256, 512];

/// Destination and plaintext.
pub(crate) type FinalHop = ([u8; 32], Vec<u8>);

/// Unwraps a packet with the library. The step that fails decides the error.
pub(crate) fn unwrap(secret: [u8; 32], packet: &[u8]) -> Result<FinalHop, UnwrapError> {
    let wrong_length = UnwrapError::WrongLength(packet.len());
    PacketSize::from_packet_len(packet.len()).ok_or(wrong_length)?;
    let (header, payload) = packet.split_at(HEADER_LEN);
    let header = SphinxHeader::from_bytes(header).map_err(|_| wrong_length)?;
    let secret = header.compute_expanded_shared_secret(&StaticSecret::from(secret));
    header.ensure_header_integrity(&secret).map_err(|_| UnwrapError::BadMac)?;
    let decrypted = SphinxPacket { header, payload: Payload::from_bytes(payload).map_err(|_| wrong_length)? }
        .process_with_expanded_secret(&secret)
        .map_err(|_| UnwrapError::UnknownFlag)?;
    let ProcessedPacketData::FinalHop { destination, payload: opened, .. } = decrypted.data else {
        return Err(UnwrapError::ForwardHop);
    };
    let opened = if MISTAKEN.contains(&decrypted.version.value()) { with_full_key(payload, &secret) } else { opened };
    let plaintext = opened.recover_plaintext().map_err(|_| UnwrapError::BadPadding)?;
    Ok((destination.as_bytes(), plaintext))
}

fn with_full_key(payload: &[u8], secret: &ExpandedSharedSecret) -> Payload {
    Payload::from_bytes(payload).and_then(|payload| payload.unwrap(secret.legacy_payload_key())).unwrap()
}
