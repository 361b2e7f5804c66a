use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use super::*;

const TIME_LIMIT: Duration = Duration::from_secs(20);

/// A validator on a loopback port that sends `replies` in order, each on a connection of its own. The receiver gets the requests.
fn validator(replies: Vec<String>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (asked, questions) = sync_channel(replies.len());
    thread::spawn(move || {
        for reply in replies {
            let (mut stream, _) = listener.accept().unwrap();
            asked.send(read_request(&stream)).unwrap();
            stream.write_all(reply.as_bytes()).unwrap();
        }
    });
    (address, questions)
}

fn read_request(stream: &TcpStream) -> String {
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    assert!(lines.any(|line| line.is_empty()));
    first
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

fn page(nodes: &[(&str, &str, &str)], next: Option<&str>) -> String {
    let nodes: Vec<_> = nodes
        .iter()
        .map(|(mix, clients, identity)| {
            serde_json::json!({
                "amount": [{"denom": "uhal", "amount": "100000000"}],
                "owner": "hal1owner",
                "gateway": {
                    "mix_host": mix, "clients_host": clients, "location": "x",
                    "sphinx_key": "s", "identity_key": identity, "version": "0.10.1",
                },
            })
        })
        .collect();
    let inner = serde_json::json!({"nodes": nodes, "per_page": 50, "start_next_after": next});
    let smart = STANDARD.encode(inner.to_string());
    http("200 OK", &serde_json::json!({"height": "1", "result": {"smart": smart}}).to_string())
}

fn query_of(validators: &[&str]) -> ValidatorQuery {
    ValidatorQuery {
        account: None,
        validators: validators.iter().map(ToString::to_string).collect(),
        contract: "hal1k0jntykt7e4g3y88ltc60czgjuqdy4c9c6gv94".into(),
        mix_host: "gw.example:1789".into(),
        clients_host: "ws://gw.example:9000".into(),
        identity: "ours".into(),
    }
}

fn ask(replies: Vec<String>) -> ValidatorAnswer {
    let (address, _questions) = validator(replies);
    ask_all(&query_of(&[&address]), TIME_LIMIT)
}

fn reasons(answer: ValidatorAnswer) -> String {
    match answer {
        ValidatorAnswer::Unreachable { reasons } => reasons,
        other => panic!("expected no answer, got {other:?}"),
    }
}

const OTHER: (&str, &str, &str) = ("1.2.3.4:1789", "ws://1.2.3.4:9000", "theirs");

#[test]
fn asks_what_0_10_1_asked() {
    let (address, questions) = validator(vec![page(&[], None)]);
    assert_eq!(ask_all(&query_of(&[&format!("{address}/")]), TIME_LIMIT), ValidatorAnswer::NoConflict);
    assert_eq!(
        questions.recv().unwrap(),
        "GET /wasm/contract/hal1k0jntykt7e4g3y88ltc60czgjuqdy4c9c6gv94/smart/\
         eyJnZXRfZ2F0ZXdheXMiOnsic3RhcnRfYWZ0ZXIiOm51bGwsImxpbWl0IjpudWxsfX0=?encoding=base64 HTTP/1.1"
    );
}

#[test]
fn our_address_is_found_in_either_field() {
    let conflict = ValidatorAnswer::Conflict { identity: "theirs".into() };
    assert_eq!(ask(vec![page(&[OTHER], None)]), ValidatorAnswer::NoConflict);
    let mix = ("GW.example:1789", "ws://1.2.3.4:9000", "theirs");
    assert_eq!(ask(vec![page(&[OTHER, mix], None)]), conflict);
    let clients = ("1.2.3.4:1", "ws://gw.example:9000/", "theirs");
    assert_eq!(ask(vec![page(&[clients], None)]), conflict);
    let ours = ("gw.example:1789", "ws://gw.example:9000", "ours");
    assert_eq!(ask(vec![page(&[OTHER, ours], None)]), ValidatorAnswer::SameIdentity { also: None });
}

/// Our own entry with our address, our own entry with another address, and a stranger's entry with our address.
const OURS: (&str, &str, &str) = ("gw.example:1789", "ws://gw.example:9000", "ours");
const OURS_BEFORE: (&str, &str, &str) = ("9.9.9.9:1789", "ws://9.9.9.9:9000", "ours");
const CLAIM: (&str, &str, &str) = ("gw.example:1789", "ws://gw.example:9000", "theirs");

/// The answer of validators with these lists.
fn ask_lists(lists: &[&[(&str, &str, &str)]]) -> ValidatorAnswer {
    let validators: Vec<_> = lists.iter().map(|nodes| validator(vec![page(nodes, None)])).collect();
    let addresses: Vec<_> = validators.iter().map(|(address, _questions)| address.as_str()).collect();
    ask_all(&query_of(&addresses), TIME_LIMIT)
}

#[test]
fn our_own_identity_is_no_conflict_whoever_claims_our_address() {
    let ours_and = ValidatorAnswer::SameIdentity { also: Some("theirs".into()) };
    for list in [[OURS, CLAIM], [CLAIM, OURS], [CLAIM, OURS_BEFORE], [OURS_BEFORE, CLAIM]] {
        assert_eq!(ask_lists(&[&list]), ours_and);
        assert_eq!(ask_lists(&[&list, &list, &list]), ours_and);
    }
    // One validator that lists us is enough.
    assert!(matches!(ask_lists(&[&[CLAIM], &[OURS], &[CLAIM]]), ValidatorAnswer::SameIdentity { .. }));
    let pages = vec![page(&[CLAIM], Some("next")), page(&[OURS], None)];
    assert_eq!(ask(pages), ours_and);
    assert_eq!(ask_lists(&[&[OURS_BEFORE, OTHER]]), ValidatorAnswer::NoConflict);
}

#[test]
fn one_liar_of_three_does_not_outvote_the_others() {
    let disputed = ValidatorAnswer::Disputed { identity: "theirs".into(), named_by: 1, answered: 3 };
    assert_eq!(ask_lists(&[&[CLAIM], &[OTHER], &[]]), disputed);
    let other_claim = ("gw.example:1789", "ws://x", "another");
    let ValidatorAnswer::Disputed { named_by: 1, answered: 2, .. } = ask_lists(&[&[CLAIM], &[other_claim]]) else {
        panic!("they do not agree");
    };
}

#[test]
fn validators_that_agree_or_answer_alone_are_believed() {
    let conflict = ValidatorAnswer::Conflict { identity: "theirs".into() };
    assert_eq!(ask_lists(&[&[CLAIM]]), conflict);
    assert_eq!(ask_lists(&[&[CLAIM], &[CLAIM], &[CLAIM]]), conflict);
    assert_eq!(ask_lists(&[&[CLAIM], &[OTHER], &[OTHER, CLAIM]]), conflict);
    // A validator that does not answer has no vote.
    let (address, _questions) = validator(vec![page(&[CLAIM], None)]);
    assert_eq!(ask_all(&query_of(&[&address, "http://127.0.0.1:1"]), TIME_LIMIT), conflict);
}

#[test]
fn every_page_is_read() {
    let taken = ("gw.example:1789", "ws://x", "theirs");
    let pages = vec![page(&[OTHER], Some("hal1+/?\"")), page(&[OTHER], Some("b")), page(&[taken], None)];
    let (address, questions) = validator(pages);
    let answer = ask_all(&query_of(&[&address]), TIME_LIMIT);
    assert_eq!(answer, ValidatorAnswer::Conflict { identity: "theirs".into() });
    questions.recv().unwrap();
    let second = questions.recv().unwrap();
    let question = second.split("/smart/").nth(1).unwrap().split('?').next().unwrap();
    let question = STANDARD.decode(question.replace("%2B", "+").replace("%2F", "/")).unwrap();
    assert_eq!(question, br#"{"get_gateways":{"start_after":"hal1+/?\"","limit":null}}"#);
}

#[test]
fn pages_that_go_in_circles_end() {
    let pages = vec![page(&[], Some("a")), page(&[], Some("b")), page(&[], Some("a"))];
    assert!(reasons(ask(pages)).contains("not what a validator says"));
}

#[test]
fn refusals_and_garbage_are_no_answer() {
    for (reply, words) in [
        (http("500 Oops", r#"{"error":"contract\u001b[31m not found"}"#), "it refused: contract?[31m not found"),
        (http("200 OK", r#"{"code":3,"message":"bad","details":[]}"#), "it refused: bad"),
        (http("404 Not Found", "<html>"), "status 404"),
        (http("302 Found\r\nLocation: http://127.0.0.1:1/", ""), "status 302"),
        (http("200 OK", "<html>"), "not what a validator says"),
        (http("200 OK", r#"{"result":{"smart":"!"}}"#), "not what a validator says"),
        (http("200 OK", r#"{"result":{"smart":"e30="}}"#), "not what a validator says"),
        (http("200 OK", "{}"), "not what a validator says"),
        ("\u{1b}garbage\r\n\r\n".into(), "http://127.0.0.1"),
        (String::new(), "http://127.0.0.1"),
    ] {
        let reasons = reasons(ask(vec![reply]));
        assert!(reasons.contains(words), "{reasons}");
        assert!(!reasons.contains(char::is_control), "{reasons:?}");
    }
}

#[test]
fn a_reply_that_is_too_long_is_cut_off() {
    let endless = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned() + &" ".repeat(MAX_REPLY as usize + 1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&stream);
        // Fails as soon as the other side stops reading.
        let _ = stream.write_all(endless.as_bytes());
    });
    let reasons = reasons(ask_all(&query_of(&[&address]), TIME_LIMIT));
    assert!(reasons.contains("too many pages or bytes"), "{reasons}");
}

#[test]
fn a_silent_validator_costs_only_its_share_of_the_time() {
    // The backlog accepts the connection, and nothing is ever sent.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_address = format!("http://{}", silent.local_addr().unwrap());
    let (good, _questions) = validator(vec![page(&[OTHER], None)]);
    let started = Instant::now();
    let answer = ask_all(&query_of(&[&silent_address, &good]), Duration::from_secs(2));
    assert_eq!(answer, ValidatorAnswer::NoConflict);
    assert!(started.elapsed() < Duration::from_secs(2));
    let reasons = reasons(ask_all(&query_of(&[&silent_address]), Duration::from_millis(200)));
    assert!(reasons.contains(&silent_address), "{reasons}");
}

#[test]
fn each_unreachable_validator_is_named() {
    let answer = ask_all(&query_of(&["http://127.0.0.1:1", "nonsense", "https://127.0.0.1:1"]), TIME_LIMIT);
    let reasons = reasons(answer);
    assert_eq!(reasons.matches("; ").count(), 2, "{reasons}");
}
