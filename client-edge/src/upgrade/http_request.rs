//! The HTTP request that a connection begins with, and the answer to it.
//!
//! *Trusts* nothing: every byte is a stranger's.
//!
//! *Promises*: complete requests, and bytes that cannot become a request, get exactly one answer; a websocket is opened for each
//! request that RFC 6455 allows, on any path.

use std::net::IpAddr;

use httparse::{Header, Request, Status};
use ipc::trusted_network::TrustedNetwork;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::forwarded::{forwarded, x_forwarded_for};

/// Header lines of one request. Browsers behind several proxies send about 40.
const MAX_HEADERS: usize = 124;
/// Paths at which proxies and uptime checks ask whether the gateway is up.
const PAGES: [&str; 2] = ["/", "/health"];
/// The text of the page at these paths.
const PAGE: &str = "This is a websocket service, and it is up.\n";

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The connection becomes a websocket.
    Switch {
        /// The value of `Sec-WebSocket-Accept`.
        accept: String,
    },
    /// A page for proxies and uptime checks.
    Page {
        /// Whether the answer has a body; the answer to HEAD has none.
        body: bool,
    },
    /// The request is valid, but a websocket is needed.
    UpgradeRequired,
    /// The request has more header lines or bytes than any client sends.
    TooLarge,
    /// The bytes are not an HTTP request that is served.
    BadRequest,
    /// The request has begun and did not end in time.
    TimedOut,
}

/// A request that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Length of the request, in bytes. Further bytes belong to the websocket.
    pub len: usize,
    /// The answer to it.
    pub answer: Answer,
    /// The client that trusted proxies name.
    pub client: Option<IpAddr>,
}

impl RequestHead {
    /// Reads the request at the beginning of `bytes`; none if it is not complete yet. `proxies` is empty if the peer is not one of them:
    /// then whatever client it names does not count.
    pub fn read(bytes: &[u8], proxies: &[TrustedNetwork]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = Request::new(&mut headers);
        let refused = |answer| Some(Self { len: bytes.len(), answer, client: None });
        match request.parse(bytes) {
            Ok(Status::Complete(len)) => {
                Some(Self { len, answer: answer(&request), client: client(request.headers, proxies) })
            }
            Ok(Status::Partial) => None,
            Err(httparse::Error::TooManyHeaders) => refused(Answer::TooLarge),
            Err(_) => refused(Answer::BadRequest),
        }
    }
}

impl Answer {
    /// The bytes to send.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (status, more, text) = match self {
            Self::Switch { accept } => {
                let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
                return format!("{head}Sec-WebSocket-Accept: {accept}\r\n\r\n").into_bytes();
            }
            Self::Page { .. } => ("200 OK", "Connection: close\r\nCache-Control: no-store\r\n", PAGE),
            Self::UpgradeRequired => (
                "426 Upgrade Required",
                "Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                "A websocket is needed here (RFC 6455, HTTP/1.1).\n",
            ),
            Self::TooLarge => {
                ("431 Request Header Fields Too Large", "Connection: close\r\n", "The request is too large.\n")
            }
            Self::TimedOut => ("408 Request Timeout", "Connection: close\r\n", "The request did not end in time.\n"),
            Self::BadRequest => ("400 Bad Request", "Connection: close\r\n", "The request cannot be understood.\n"),
        };
        let len = text.len();
        let body = if matches!(self, Self::Page { body: false }) { "" } else { text };
        format!("HTTP/1.1 {status}\r\n{more}Content-Type: text/plain\r\nContent-Length: {len}\r\n\r\n{body}")
            .into_bytes()
    }
}

fn answer(request: &Request<'_, '_>) -> Answer {
    let (method, path) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let headers: &[Header<'_>] = request.headers;
    if has_word(headers, "Upgrade", "websocket") && method == "GET" {
        let is_wanted = has_word(headers, "Connection", "upgrade");
        if request.version != Some(1) || !is_wanted || !has_word(headers, "Sec-WebSocket-Version", "13") {
            return Answer::UpgradeRequired;
        }
        let key = values(headers, "Sec-WebSocket-Key").next().filter(|key| is_key(key));
        return key.map_or(Answer::BadRequest, |key| Answer::Switch { accept: derive_accept_key(key) });
    }
    let path = path.split('?').next().unwrap_or_default();
    match method {
        "GET" | "HEAD" if PAGES.contains(&path) => Answer::Page { body: method == "GET" },
        "GET" | "HEAD" => Answer::UpgradeRequired,
        _ => Answer::BadRequest,
    }
}

/// The last address that is not a trusted proxy's. A proxy that sets one of the two headers passes on what its client has written
/// into the other, so if there are both, they must name the same client.
fn client(headers: &[Header<'_>], proxies: &[TrustedNetwork]) -> Option<IpAddr> {
    if proxies.is_empty() {
        return None;
    }
    let is_client = |hop: &Option<IpAddr>| hop.is_none_or(|hop| !proxies.iter().any(|proxy| proxy.contains(hop)));
    let lines = |name| values(headers, name).map(|line| str::from_utf8(line).unwrap_or_default()).collect::<Vec<_>>();
    let first = lines("Forwarded").into_iter().rev().flat_map(|line| forwarded(line).rev()).find(is_client);
    let second =
        lines("X-Forwarded-For").into_iter().rev().flat_map(|line| x_forwarded_for(line).rev()).find(is_client);
    match (first, second) {
        (Some(client), None) | (None, Some(client)) => client,
        (first, second) if first == second => first.flatten(),
        _ => None,
    }
}

/// The values of a header, one for each line.
fn values<'a>(headers: &'a [Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value.trim_ascii())
}

/// Whether the word is in the list of one of the header's lines.
fn has_word(headers: &[Header<'_>], name: &str, word: &str) -> bool {
    let is_separator = |byte: &u8| matches!(byte, b',' | b' ' | b'\t');
    values(headers, name)
        .flat_map(|value| value.split(is_separator))
        .any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether the key is 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let digits = key.strip_suffix(b"==").unwrap_or_default();
    digits.len() == 22 && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";

    fn answer_to(request: &str) -> Answer {
        RequestHead::read(request.as_bytes(), &[]).unwrap().answer
    }

    fn is_switched(lines: &str) -> bool {
        // RFC 6455, section 1.3, has this pair.
        answer_to(&format!("GET /any HTTP/1.1\r\nHost: x\r\n{lines}{VERSION}{KEY}\r\n"))
            == Answer::Switch { accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into() }
    }

    #[test]
    fn legal_variants_of_the_upgrade_are_taken() {
        for lines in [
            "Upgrade: websocket\r\nConnection: Upgrade\r\n",
            "Upgrade: websocket\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n",
            "upgrade: WebSocket\r\nconnection: keep-alive, upgrade\r\n",
            "Upgrade: h2c, websocket\r\nConnection: Upgrade,HTTP2-Settings\r\n",
            "Upgrade:\twebsocket \r\nConnection:Upgrade\r\n",
        ] {
            assert!(is_switched(lines), "{lines}");
        }
    }

    #[test]
    fn other_requests_when_complete_get_their_status() {
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
        let status = |request: &str| {
            let bytes = answer_to(request).to_bytes();
            String::from_utf8(bytes).unwrap().split(' ').nth(1).unwrap().to_owned()
        };
        for (request, expected) in [
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), "200"),
            ("GET /health?x=1 HTTP/1.0\r\n\r\n".to_owned(), "200"),
            ("HEAD / HTTP/1.1\r\n\r\n".to_owned(), "200"),
            ("GET /other HTTP/1.1\r\n\r\n".to_owned(), "426"),
            ("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx".to_owned(), "400"),
            (format!("GET / HTTP/1.0\r\n{upgrade}{VERSION}{KEY}\r\n"), "426"),
            (format!("GET / HTTP/1.1\r\nUpgrade: websocket\r\n{VERSION}{KEY}\r\n"), "426"),
            (format!("GET / HTTP/1.1\r\n{upgrade}Sec-WebSocket-Version: 8\r\n{KEY}\r\n"), "426"),
            (format!("GET / HTTP/1.1\r\n{upgrade}{VERSION}\r\n"), "400"),
            (format!("GET / HTTP/1.1\r\n{upgrade}{VERSION}Sec-WebSocket-Key: short==\r\n\r\n"), "400"),
            ("\x16\x03\x01\x02".to_owned(), "400"),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "400"),
            (format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1)), "431"),
        ] {
            assert_eq!(status(&request), expected, "{request:?}");
        }
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let (with, without) = (Answer::Page { body: true }.to_bytes(), Answer::Page { body: false }.to_bytes());
        assert_eq!(with.strip_suffix(PAGE.as_bytes()), Some(&without[..]));
    }

    #[test]
    fn nobody_but_a_proxy_names_a_client() {
        for line in ["X-Forwarded-For: 203.0.113.1", "Forwarded: for=203.0.113.1"] {
            let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n");
            assert_eq!(RequestHead::read(request.as_bytes(), &[]).unwrap().client, None, "{line}");
        }
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_client() {
        let proxies = ["10.0.0.0/8".parse().unwrap()];
        let client = |lines: &str| {
            let request = format!("GET / HTTP/1.1\r\n{lines}\r\n");
            RequestHead::read(request.as_bytes(), &proxies).unwrap().client.map(|client| client.to_string())
        };
        for (lines, expected) in [
            ("X-Forwarded-For: 203.0.113.1, 192.0.2.7, 10.0.0.2\r\n", Some("192.0.2.7")),
            ("X-Forwarded-For: 203.0.113.1\r\nX-Forwarded-For: 192.0.2.7\r\n", Some("192.0.2.7")),
            ("Forwarded: for=203.0.113.1, for=192.0.2.7;proto=https\r\n", Some("192.0.2.7")),
            ("Forwarded: for=192.0.2.7\r\nX-Forwarded-For: 192.0.2.7\r\n", Some("192.0.2.7")),
            ("Forwarded: for=203.0.113.1\r\nX-Forwarded-For: 192.0.2.7\r\n", None),
            ("X-Forwarded-For: 203.0.113.1, unknown\r\n", None),
            ("", None),
        ] {
            assert_eq!(client(lines).as_deref(), expected, "{lines}");
        }
    }

    proptest! {
        #[test]
        fn a_request_when_cut_anywhere_is_waited_for(cut in 0..100_usize, rest in any::<Vec<u8>>()) {
            let whole = format!("GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{VERSION}{KEY}\r\n");
            prop_assert_eq!(RequestHead::read(&whole.as_bytes()[..cut], &[]), None);
            let mut bytes = whole.clone().into_bytes();
            bytes.extend(rest);
            prop_assert_eq!(RequestHead::read(&bytes, &[]).unwrap().len, whole.len());
        }

        #[test]
        fn any_bytes_are_waited_for_or_answered(bytes in any::<Vec<u8>>()) {
            if let Some(head) = RequestHead::read(&bytes, &[]) {
                prop_assert!(head.len <= bytes.len() && head.answer.to_bytes().starts_with(b"HTTP/1.1 "));
            }
        }
    }
}
