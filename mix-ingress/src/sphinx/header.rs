//! The header of a packet: the point of its sender, the MAC, and the routing information of up to five hops.
//!
//! Only the part of the routing information that the last hop needs is decrypted: flag, version and destination. The identifier of a
//! SURB follows them, and is not used here.

use aes::Aes128;
use ctr::{
    Ctr64BE,
    cipher::{KeyIvInit, StreamCipher},
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wire::{address::ClientAddress, packet::HEADER_LEN};

use super::{error::UnwrapError, secret::SharedSecret, version::Version};

const POINT_LEN: usize = 32;
const MAC_LEN: usize = 16;
const ROUTING_LEN: usize = HEADER_LEN - POINT_LEN - MAC_LEN;

/// Bytes of flag, version and destination.
const FINAL_HOP_LEN: usize = 1 + Version::LEN + ClientAddress::LEN;

/// The flag of a packet for another node.
const FORWARD: u8 = 1;
/// The flag of a packet that is to be delivered.
const DELIVER: u8 = 2;

/// The parts of a header, before any check.
pub(super) struct Header<'a> {
    /// The point from which, with our key, the secret of the packet is computed.
    pub(super) point: &'a [u8; POINT_LEN],
    mac: &'a [u8; MAC_LEN],
    routing: &'a [u8; ROUTING_LEN],
}

/// The routing information for this gateway, still encrypted.
pub(super) struct Routing([u8; FINAL_HOP_LEN]);

impl<'a> Header<'a> {
    /// None if the length is not that of a header.
    pub(super) fn parse(header: &'a [u8]) -> Option<Self> {
        let (point, rest) = header.split_first_chunk()?;
        let (mac, routing) = rest.split_first_chunk()?;
        Some(Self { point, mac, routing: routing.try_into().ok()? })
    }

    /// Proves that the header was made for this secret. The MAC is compared in constant time.
    pub(super) fn check(&self, secret: &SharedSecret) -> Result<Routing, UnwrapError> {
        let mut mac: Hmac<Sha256> = KeyInit::new_from_slice(secret.mac_key()).map_err(|_| UnwrapError::BadMac)?;
        mac.update(self.routing);
        mac.verify_truncated_left(self.mac).map_err(|_| UnwrapError::BadMac)?;
        let mut for_us = [0; FINAL_HOP_LEN];
        for_us.iter_mut().zip(self.routing).for_each(|(to, from)| *to = *from);
        Ok(Routing(for_us))
    }
}

impl Routing {
    /// The destination of the packet, and its version.
    pub(super) fn decrypt(mut self, secret: &SharedSecret) -> Result<(ClientAddress, Version), UnwrapError> {
        Ctr64BE::<Aes128>::new(secret.cipher_key().into(), &Default::default()).apply_keystream(&mut self.0);
        let [flag, first, high, low, destination @ ..] = self.0;
        match flag {
            DELIVER => Ok((ClientAddress(destination), Version::from_bytes([first, high, low]))),
            FORWARD => Err(UnwrapError::ForwardHop),
            _ => Err(UnwrapError::UnknownFlag),
        }
    }
}
