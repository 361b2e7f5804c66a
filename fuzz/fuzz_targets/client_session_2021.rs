//! Frames and texts of a client of 2021, and of one with a version and the same kind of key. Input: kind, content.
#![no_main]

use client_wire::{
    client_session::ClientSession,
    frame,
    key::{KeyKind, SessionKey},
    protocol::Protocol,
    session::GatewaySession,
    side::GatewayKey,
};
use fuzz::{ctr_hmac_key, open_request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, content)) = data.split_first() else { return };
    let requested = (kind & 0x80 != 0).then_some(2);
    let protocol = Protocol::negotiate(KeyKind::CtrHmac, requested);
    let key = SessionKey::CtrHmac(ctr_hmac_key());
    let session = GatewaySession::new(protocol, GatewayKey::of(&key)).unwrap();
    let client = ClientSession::new(protocol, key).unwrap();
    match kind % 3 {
        0 => open_request(&session, &client, content.to_vec()),
        1 => open_request(&session, &client, frame::seal(&ctr_hmac_key(), content)),
        _ => {
            let Ok(text) = std::str::from_utf8(content) else { return };
            let _ = session.read_text(text, [0; 6]);
        }
    }
});
