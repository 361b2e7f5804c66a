//! The program that asks validators, as the supervisor starts it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    os::fd::AsFd as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use ipc::validator_query::{ValidatorAnswer, ValidatorQuery};
use link::descriptor::{control_pair, send};

fn ask(input: &[u8]) -> (Option<i32>, Vec<u8>) {
    let (ours, theirs) = control_pair().unwrap();
    send(ours.as_fd(), input, &[]).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_validator-query"))
        .env_clear()
        .stdin(theirs)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(ours);
    let output = child.wait_with_output().unwrap();
    (output.status.code(), output.stdout)
}

fn query(validator: String) -> Vec<u8> {
    let query = ValidatorQuery {
        account: None,
        validators: vec![validator],
        contract: "hal1x".into(),
        mix_host: "gw.example:1789".into(),
        clients_host: "ws://gw.example:9000".into(),
        identity: "ours".into(),
    };
    query.encode().unwrap()
}

#[test]
fn a_refused_connection_is_an_answer() {
    let (code, answer) = ask(&query("http://127.0.0.1:1".into()));
    assert_eq!(code, Some(0));
    let ValidatorAnswer::Unreachable { reasons } = ValidatorAnswer::decode(&answer).unwrap() else {
        panic!("nobody listens there");
    };
    assert!(reasons.contains("http://127.0.0.1:1"), "{reasons}");
}

#[test]
fn validators_are_found_by_name_in_the_jail() {
    let validator = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = validator.local_addr().unwrap().port();
    let served = thread::spawn(move || {
        let (mut stream, _) = validator.accept().unwrap();
        let mut question = [0; 4096];
        let asked = stream.read(&mut question).unwrap();
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").unwrap();
        asked
    });
    let (code, answer) = ask(&query(format!("http://localhost:{port}")));
    assert_eq!(code, Some(0));
    let ValidatorAnswer::Unreachable { reasons } = ValidatorAnswer::decode(&answer).unwrap() else {
        panic!("it knew nothing")
    };
    assert!(reasons.contains("503"), "{reasons}");
    assert!(served.join().unwrap() > 0);
}

#[test]
fn a_name_that_nobody_has_is_an_answer() {
    let (code, answer) = ask(&query("https://no-such-name.invalid".into()));
    assert_eq!(code, Some(0));
    assert!(matches!(ValidatorAnswer::decode(&answer), Ok(ValidatorAnswer::Unreachable { .. })));
}

#[test]
fn a_silent_validator_is_given_up_within_the_time_limit() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let started = Instant::now();
    let (code, answer) = ask(&query(format!("http://{}", silent.local_addr().unwrap())));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(code, Some(0));
    assert!(matches!(ValidatorAnswer::decode(&answer), Ok(ValidatorAnswer::Unreachable { .. })));
}

#[test]
fn nonsense_is_refused_without_an_answer() {
    for input in [&b""[..], b"\xff\xff\xff", &[0; 10_000]] {
        assert_eq!(ask(input), (Some(1), Vec::new()));
    }
}
