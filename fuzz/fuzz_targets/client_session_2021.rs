//! Frames and texts of a client of 2021, and of one with a version and the same kind of key. Input: kind, content.
#![no_main]

use bytes::Bytes;
use fuzz::ctr_hmac_key;
use libfuzzer_sys::fuzz_target;
use proto::wire::client::{
    frame,
    key::{KeyKind, SessionKey},
    protocol::Protocol,
    request::RotationMarks,
    session::Session,
};

fuzz_target!(|data: &[u8]| {
    let Some((kind, content)) = data.split_first() else { return };
    let requested = (kind & 0x80 != 0).then_some(2);
    let protocol = Protocol::negotiate(KeyKind::CtrHmac, requested);
    let session = Session::new(protocol, SessionKey::CtrHmac(ctr_hmac_key())).unwrap();
    match kind % 3 {
        0 => {
            let _ = session.open_request(Bytes::copy_from_slice(content)).map_err(|refusal| session.refuse(refusal));
        }
        1 => match session.open_request(frame::seal(&ctr_hmac_key(), content)) {
            Ok(request) => {
                let header = session.header(&request, RotationMarks::Kept);
                assert_eq!(header.size.packet_len(), request.request.packet.len());
                assert_eq!(session.open_request(session.seal_request([0; 12], &request)), Ok(request));
            }
            Err(refusal) => {
                let _ = session.refuse(refusal);
            }
        },
        _ => {
            let Ok(text) = std::str::from_utf8(content) else { return };
            let _ = session.read_text(text, [0; 12]);
        }
    }
});
