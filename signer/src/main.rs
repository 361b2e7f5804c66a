//! `signer`: explains or signs one text of the operator for `gatewayd sign`, and ends.
//!
//! The request comes on the control link, which is standard input. The answer goes to standard output.
//!
//! *Trusts*: `gatewayd`. The text may come from anybody. *Holds*: the identity key, in locked memory, once the operator has agreed to what
//! the text says; nothing before. *May do*: nothing but read the request and write the answer. *On compromise*: a text that is only explained
//! meets a process without a key. One that is signed has been explained before, by the same code.

use std::{
    io::{self, Write as _},
    os::fd::OwnedFd,
    process::ExitCode,
};

use identity::{Identity, contract_message::Bonding, plain_text, terminal};
use ipc::{
    codec,
    signer::{MAX_ANSWER, MAX_TEXT, SignAnswer, SignRequest, SignText, Step},
};
use sandbox::{Jail, close, descriptors::close_inherited, policy::SIGNER};
use worker::{birth::Birth, build};

// What `gatewayd` lets through is explained whole. The words around the text take less than 1 KiB.
const _: () = assert!(identity::MAX_TEXT == MAX_TEXT && terminal::MAX_GROWTH * MAX_TEXT + 1024 <= MAX_ANSWER);

fn main() -> ExitCode {
    if build::answer_if_asked() {
        return ExitCode::SUCCESS;
    }
    // Nothing is open but the control link and the two outputs.
    if close_inherited().is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(birth) = Birth::inherited() else { return ExitCode::FAILURE };
    let Ok((bytes, descriptors)) = birth.receive_bytes_and_descriptors() else { return ExitCode::FAILURE };
    let Ok(request) = codec::decode_one::<SignRequest>(&bytes) else { return ExitCode::FAILURE };
    let key = match request.step {
        Step::Explain => None,
        Step::Sign => match read_key(descriptors) {
            Ok(key) => Some(key),
            Err(why) => return write(&SignAnswer::Refused { why }),
        },
    };
    let Ok(closed) = close(Jail { policy: &SIGNER, spec: &request.jail, directories: &[] }) else {
        return ExitCode::FAILURE;
    };
    birth.report_jail(closed.layers());
    write(&answer(&request, key.as_ref()))
}

fn read_key(descriptors: Vec<OwnedFd>) -> Result<Identity, String> {
    let [file] = <[OwnedFd; 1]>::try_from(descriptors)
        .map_err(|_| "gatewayd passed no key; are signer and gatewayd of one version?")?;
    Identity::read(file).map_err(|error| error.to_string())
}

/// Without a key the text is explained, with one it is signed.
fn answer(request: &SignRequest, key: Option<&Identity>) -> SignAnswer {
    let refused = |why: String| SignAnswer::Refused { why };
    if let Some(key) = key
        && key.public() != request.identity
    {
        return refused(
            "the private identity key is not that of the public identity key: restore both files from one backup"
                .to_owned(),
        );
    }
    match (&request.text, key) {
        (SignText::ContractMessage(text), key) => match (Bonding::read(text, &request.identity), key) {
            (Err(error), _) => refused(error.to_string()),
            (Ok(bonding), None) => SignAnswer::Explained { words: bonding.in_words() },
            (Ok(bonding), Some(key)) => signed(bonding.signed(), key, bonding.sign(key)),
        },
        (SignText::Plain(text), None) => match plain_text::explain(text, &request.identity) {
            Ok(words) => SignAnswer::Explained { words },
            Err(error) => refused(error.to_string()),
        },
        (SignText::Plain(text), Some(key)) => match plain_text::sign(text, key) {
            Ok(signature) => signed(text, key, signature),
            Err(error) => refused(error.to_string()),
        },
    }
}

fn signed(message: &str, key: &Identity, signature: [u8; 64]) -> SignAnswer {
    SignAnswer::Signed { message: message.to_owned(), identity: key.public(), signature }
}

fn write(answer: &SignAnswer) -> ExitCode {
    match codec::encode_one(answer).map(|bytes| io::stdout().write_all(&bytes)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
