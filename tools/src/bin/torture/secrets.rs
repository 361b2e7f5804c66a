//! What no log may say, at whatever level: a key, what is in a message, and whose connection or message it is.
//!
//! Bytes are looked for in the forms in which programs print them. Not looked for is what two lines say together.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

use aho_corasick::AhoCorasick;
use anyhow::Result;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD, Engine};
use bytes::Bytes;
use harness::home::Home;
use pem::KeyTag;
use wire::address::ClientAddress;

/// Every key is two of these, and the older kind of session key is two keys.
const HALF: usize = 16;
/// What a line that names a client may say. It has no other fields than the client, a number of records, a file and an error.
const MAY_NAME_A_CLIENT: [&str; 9] = [
    "a stored message has an unknown form and is set aside",
    "stored messages have an unknown form and are set aside",
    "a client cannot be served",
    "two different messages have the same number",
    "a stored message is damaged",
    "a stored message cannot be read",
    "an inbox folder ",
    "a file too large to be a message",
    "not a plain file with one name",
];
/// Names of fields that say which message a line is about.
const ABOUT_MESSAGES: [&str; 5] = ["message=", "delivery=", "sequence=", "up_to=", "packet="];
/// Letters and digits of base58 that hold a half or more, and no more than are worth reading.
const BASE58_WORDS: std::ops::RangeInclusive<usize> = 20..=2_048;
/// Lines that are told; a log that says too much says it all the time.
const FINDINGS: usize = 20;

/// Something that must not be in a log, or only alone.
enum Meaning {
    Secret(String),
    Client,
}

/// Everything that is looked for.
#[derive(Default)]
pub(crate) struct Secrets {
    patterns: Vec<String>,
    meanings: Vec<Meaning>,
    /// The secrets as they are, and what they are.
    bytes: Vec<Vec<u8>>,
    names: Vec<String>,
}

impl Secrets {
    /// The private keys of a gateway.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(crate) fn of(home: &Home) -> Result<Self> {
        let mut secrets = Self::default();
        for (tag, name) in
            [(KeyTag::Ed25519Private, "private_identity.pem"), (KeyTag::X25519Private, "private_sphinx.pem")]
        {
            let key = pem::decode(tag, &fs::read(home.data().join(name))?)?;
            secrets.add(name, key.as_slice());
        }
        Ok(secrets)
    }

    /// Secret bytes, as they are.
    pub(crate) fn add(&mut self, what: &str, bytes: &[u8]) {
        let parts = if bytes.len() == 2 * HALF { vec![bytes.split_at(HALF).0, bytes.split_at(HALF).1] } else { vec![] };
        for part in parts.into_iter().chain([bytes]) {
            for form in forms(part) {
                self.patterns.push(form);
                self.meanings.push(Meaning::Secret(what.to_owned()));
            }
            self.bytes.push(part.to_vec());
            self.names.push(what.to_owned());
        }
    }

    /// A client, who may be named, but not together with a peer or a message.
    pub(crate) fn add_client(&mut self, client: ClientAddress) {
        for form in forms(client.as_bytes()) {
            self.patterns.push(form);
            self.meanings.push(Meaning::Client);
        }
    }

    /// Lines that say too much, and why.
    ///
    /// # Errors
    /// If there is too much to look for.
    pub(crate) fn found_in<'a>(&self, lines: impl IntoIterator<Item = &'a String>) -> Result<Vec<String>> {
        let search = AhoCorasick::new(&self.patterns)?;
        let in_words = AhoCorasick::new(&self.bytes)?;
        let complaint = |line: &String| {
            let found = search.find_overlapping_iter(line);
            let mut found = found.filter_map(|found| self.meanings.get(found.pattern().as_usize()));
            found.find_map(|meaning| meaning.complaint(line)).or_else(|| {
                let mut words = base58_words(line);
                let found = words.find_map(|word| self.names.get(in_words.find(&word)?.pattern().as_usize()));
                found.map(|what| format!("a log says {what}"))
            })
        };
        let findings = lines.into_iter().filter_map(|line| Some(format!("{}: {line:.300}", complaint(line)?)));
        Ok(findings.take(FINDINGS).collect())
    }
}

impl Meaning {
    /// What is wrong with a line that says this, if anything is.
    fn complaint(&self, line: &str) -> Option<String> {
        match self {
            Self::Secret(what) => Some(format!("a log says {what}")),
            Self::Client => {
                let is_about_message = ABOUT_MESSAGES.iter().any(|field| line.contains(field));
                let wrong = [
                    (names_a_peer(line), "a log says where a client is"),
                    (is_about_message, "a log says whose message it is"),
                    (!MAY_NAME_A_CLIENT.iter().any(|words| line.contains(words)), "no such line may name a client"),
                ];
                wrong.into_iter().find_map(|(is_so, why)| is_so.then(|| why.to_owned()))
            }
        }
    }
}

fn names_a_peer(line: &str) -> bool {
    let between = |other: char| other.is_whitespace() || "\"'=(),<>".contains(other);
    let is_address = |word: &str| {
        let word = word.trim_end_matches(['.', ';', ':']);
        word.parse::<SocketAddr>().is_ok() || word.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
    };
    line.split(between).any(is_address)
}

/// What is printed in base58, which looks different with each byte before or behind it.
fn base58_words(line: &str) -> impl Iterator<Item = Vec<u8>> {
    let words =
        line.split(|other: char| !other.is_ascii_alphanumeric()).filter(|word| BASE58_WORDS.contains(&word.len()));
    words.filter_map(|word| bs58::decode(word).into_vec().ok())
}

/// The letters of base64 that stand for these bytes alone, wherever in a longer text they are: there are three alignments. Letters
/// that are of a neighbour, too, are left out.
fn base64_forms(bytes: &[u8], engine: &impl Engine) -> Vec<String> {
    let form = |before: usize| {
        let text = engine.encode([&vec![0; before], bytes].concat());
        let first = (before * 8).div_ceil(6);
        let end = (before + bytes.len()) * 8 / 6;
        text.get(first..end).unwrap_or_default().to_owned()
    };
    (0..3).map(form).collect()
}

/// Bytes in the ways in which they are printed.
fn forms(bytes: &[u8]) -> Vec<String> {
    let each = |separator: &str, print: fn(&u8) -> String| bytes.iter().map(print).collect::<Vec<_>>().join(separator);
    let quoted = format!("{:?}", Bytes::copy_from_slice(bytes));
    let mut forms = vec![
        each("", |byte| format!("{byte:02x}")),
        each("", |byte| format!("{byte:02X}")),
        each(", ", |byte| format!("{byte:x}")),
        each(", ", |byte| format!("{byte:02x}")),
        each(", ", |byte| byte.to_string()),
        each(",", |byte| byte.to_string()),
        each("", |byte| format!("\\x{byte:02x}")),
        bytes.escape_ascii().to_string(),
        quoted.trim_start_matches("b\"").trim_end_matches('"').to_owned(),
        bs58::encode(bytes).into_string(),
    ];
    forms.extend(base64_forms(bytes, &BASE64_STANDARD_NO_PAD));
    forms.extend(base64_forms(bytes, &BASE64_URL_SAFE_NO_PAD));
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that differ, as text and not.
    fn key() -> [u8; 32] {
        std::array::from_fn(|n| (n as u8).wrapping_mul(37) ^ 0x5c)
    }

    const CLIENT: ClientAddress = ClientAddress([7; 32]);

    fn findings(line: &str) -> usize {
        let mut secrets = Secrets::default();
        secrets.add("a key", &key());
        secrets.add_client(CLIENT);
        secrets.found_in([&line.to_owned()]).unwrap().len()
    }

    #[test]
    fn keys_are_found_in_every_form_and_in_halves() {
        let key = key();
        let (first, last) = key.split_at(HALF);
        for form in forms(&key).into_iter().chain(forms(first)).chain(forms(last)) {
            assert!(findings(&format!("2026 DEBUG store > key={form} and more")) > 0, "{form}");
        }
        assert!(findings(&format!("{key:?}")) > 0);
        assert!(findings(&format!("{key:x?}")) > 0);
        assert!(findings(&format!("{:?}", Bytes::copy_from_slice(&key))) > 0);
        assert!(findings(&format!("{}", key.escape_ascii())) > 0);
        assert_eq!(findings("2026 INFO store > counters: pushed=171, 171, 171"), 0);
    }

    #[test]
    fn keys_are_found_within_longer_bytes() {
        for (before, behind) in [(0, 1), (1, 0), (1, 7), (2, 2), (3, 1), (40, 9)] {
            let bytes = [vec![0xe5; before], key().to_vec(), vec![0x5e; behind]].concat();
            for text in [
                BASE64_STANDARD_NO_PAD.encode(&bytes),
                BASE64_URL_SAFE_NO_PAD.encode(&bytes),
                bs58::encode(&bytes).into_string(),
                format!("{bytes:?}"),
                format!("{:?}", Bytes::from(bytes.clone())),
            ] {
                assert!(findings(&format!("2026 DEBUG store > request={text}")) > 0, "{before} before: {text}");
            }
        }
    }

    #[test]
    fn a_client_may_be_named_alone_where_it_has_to_be() {
        let set_aside = format!("2026-11-22T21:49:04.889Z ERROR store > a stored message is damaged inbox={CLIENT}");
        assert_eq!(findings(&set_aside), 0);
        for peer in ["127.0.0.1:4711", "[::1]:4711", "2001:db8::7", "[2001:db8::7]", "10.0.0.7"] {
            assert_eq!(findings(&format!("{set_aside} peer={peer}")), 1, "{peer}");
            assert_eq!(findings(&format!("{set_aside} from {peer}.")), 1, "{peer}");
        }
        assert_eq!(findings(&format!("{set_aside} sequence=9")), 1);
        assert_eq!(findings(&format!("2026 DEBUG store > let in client={CLIENT}")), 1);
    }
}
