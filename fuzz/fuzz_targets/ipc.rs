//! What one process may send another. Whatever decodes is encoded and decoded to the same again. Input: link, frame.
#![no_main]

use std::fmt::Debug;

use fuzz::check_body;
use ipc::{
    backup,
    codec::{decode_body, decode_one, encode_one},
    control::{WorkerCommand, WorkerReport},
    egress::ToEgress,
    http_api::StoreToHttpApi,
    ingress_store::{IngressToStore, StoreToIngress},
    operator::StoreAnswer,
};
use libfuzzer_sys::fuzz_target;
use session_ipc::{EdgeToStore, StoreToEdge};
use worker::lossy::NoReply;

macro_rules! check_one {
    ($message:ty, $bytes:expr) => {
        if let Ok(message) = decode_one::<$message>($bytes) {
            assert_eq!(decode_one::<$message>(&encode_one(&message).unwrap()).unwrap(), message);
        }
    };
}

fn refused<T: Debug>(result: Result<T, impl Debug>) {
    result.unwrap_err();
}

fuzz_target!(|data: &[u8]| {
    let Some((link, bytes)) = data.split_first() else { return };
    match link % 11 {
        0 => check_body::<IngressToStore>(bytes),
        1 => check_body::<StoreToIngress>(bytes),
        2 => check_body::<EdgeToStore>(bytes),
        3 => check_body::<StoreToEdge>(bytes),
        4 => check_body::<ToEgress>(bytes),
        5 => check_one!(WorkerCommand, bytes),
        6 => check_one!(WorkerReport, bytes),
        7 => check_body::<StoreToHttpApi>(bytes),
        8 => check_one!(StoreAnswer, bytes),
        9 => {
            let mut input = bytes;
            while backup::read(&mut input).is_ok() {}
        }
        _ if bytes.is_empty() => {}
        _ => refused(decode_body::<NoReply>(bytes)),
    }
});
