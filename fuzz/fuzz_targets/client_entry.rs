//! First requests of clients. Input: the protocol they spoke before, the text of the request.
#![no_main]

use client_wire::{
    control::request::ClientRequest,
    protocol::{EntryRequest, Eras, Protocol},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((spoken, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let spoken = if spoken % 2 == 0 { Protocol::UNKNOWN } else { Protocol::CURRENT };
    for served in [Eras::All, Eras::SinceVersion3] {
        match EntryRequest::read(text, spoken, served) {
            Ok(entry) => {
                let _ = entry.protocol();
                // What was understood is understood the same when it is written as we write it.
                let request: ClientRequest = text.parse().unwrap();
                assert_eq!(EntryRequest::read(&request.to_string(), spoken, served), Ok(entry));
            }
            Err(rejected) => {
                let _ = rejected.protocol.refuse_entry(&rejected.refusal);
            }
        }
    }
});
