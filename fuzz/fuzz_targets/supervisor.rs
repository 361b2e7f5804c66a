//! What others say to the supervisor, and it to them, beside its workers: the commands on the admin socket, and `validator-query`. What
//! decodes is encoded and decoded to the same again; texts of validators come out short and printable. Input: who speaks, bytes.
#![no_main]

use std::fmt::Debug;

use fuzz::check_body;
use gatewayd::admin::wire;
use ipc::validator_query::{ValidatorAnswer, ValidatorQuery};
use libfuzzer_sys::fuzz_target;

/// Characters of a text that is shown.
const MAX_SHOWN: usize = 1024;

fn same<M: PartialEq + Debug, E: Debug>(message: &M, again: Result<M, E>) {
    assert_eq!(again.unwrap(), *message);
}

fuzz_target!(|data: &[u8]| {
    let Some((speaker, bytes)) = data.split_first() else { return };
    match speaker % 4 {
        0 => check_body::<wire::AdminQuestion>(bytes),
        1 => check_body::<wire::AdminAnswer>(bytes),
        2 => {
            if let Ok(query) = ValidatorQuery::decode(bytes) {
                same(&query, ValidatorQuery::decode(&query.encode().unwrap()));
            }
        }
        _ => {
            if let Ok(answer) = ValidatorAnswer::decode(bytes) {
                if let ValidatorAnswer::Conflict { identity: text }
                | ValidatorAnswer::SameIdentity { also: Some(text) }
                | ValidatorAnswer::Disputed { identity: text, .. }
                | ValidatorAnswer::Unreachable { reasons: text } = &answer
                {
                    assert!(text.chars().count() <= MAX_SHOWN && !text.contains(char::is_control));
                }
                same(&answer, ValidatorAnswer::decode(&answer.encode().unwrap()));
            }
        }
    }
});
