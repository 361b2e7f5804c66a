//! Frames and texts of a client of today, sealed ones among them. Input: kind, content.
#![no_main]

use bytes::Bytes;
use fuzz::{gcm_siv_key, sealed_text};
use libfuzzer_sys::fuzz_target;
use proto::wire::client::{
    aead_frame::{self, RequestKind},
    key::SessionKey,
    protocol::Protocol,
    request::RotationMarks,
    session::Session,
};

fuzz_target!(|data: &[u8]| {
    let Some((kind, content)) = data.split_first() else { return };
    let key = gcm_siv_key();
    let session = Session::new(Protocol::CURRENT, SessionKey::GcmSiv(gcm_siv_key())).unwrap();
    let sealed = |kind| {
        match session.open_request(aead_frame::seal(&key, kind, &[3; 12], content)) {
            Ok(request) => {
                let header = session.header(&request, RotationMarks::Kept);
                assert_eq!(header.size.packet_len(), request.request.packet.len());
                assert_eq!(session.open_request(session.seal_request([0; 12], &request)), Ok(request));
            }
            Err(refusal) => {
                let _ = session.refuse(refusal);
            }
        };
    };
    match kind % 5 {
        0 => {
            let _ = session.open_request(Bytes::copy_from_slice(content)).map_err(|refusal| session.refuse(refusal));
        }
        1 => sealed(RequestKind::Forward),
        2 => sealed(RequestKind::ForwardMarked),
        3 => {
            let Ok(text) = std::str::from_utf8(content) else { return };
            let _ = session.read_text(text, [0; 12]);
        }
        _ => {
            let _ = session.read_text(&sealed_text(content), [0; 12]);
        }
    }
});
