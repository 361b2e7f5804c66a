//! Frames and texts of a client of today, sealed ones among them. Input: kind, content.
#![no_main]

use client_wire::{
    aead_frame::{self, RequestKind},
    client_session::ClientSession,
    key::SessionKey,
    protocol::Protocol,
    session::GatewaySession,
    side::{GatewayKey, MarkingKey},
};
use fuzz::{gcm_siv_key, open_request, sealed_text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, content)) = data.split_first() else { return };
    let key = gcm_siv_key();
    let session = GatewaySession::new(Protocol::CURRENT, GatewayKey::GcmSiv(MarkingKey::of(&key))).unwrap();
    let client = ClientSession::new(Protocol::CURRENT, SessionKey::GcmSiv(gcm_siv_key())).unwrap();
    match kind % 6 {
        0 => open_request(&session, &client, content.to_vec()),
        1 => open_request(&session, &client, aead_frame::seal(&key, RequestKind::Forward, &[3; 12], content)),
        2 => open_request(&session, &client, aead_frame::seal(&key, RequestKind::ForwardMarked, &[3; 12], content)),
        3 => {
            let Ok(text) = std::str::from_utf8(content) else { return };
            let _ = session.read_text(text, [0; 6]);
        }
        4 => {
            let _ = session.read_text(&sealed_text(content), [0; 6]);
        }
        // Whatever the gateway sealed is refused when it comes back.
        _ => assert!(session.open_request(session.seal_push([4; 6], content)).is_err()),
    }
});
