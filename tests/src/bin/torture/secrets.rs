//! What no log may say, at whatever level: a key, what is in a message, and whose connection or message it is.
//!
//! Bytes are looked for in the forms in which programs print them. Not looked for is what two lines say together.

use std::{fs, net::Ipv4Addr};

use ::tests::home::Home;
use aho_corasick::AhoCorasick;
use anyhow::Result;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD, Engine};
use proto::{
    address::ClientAddress,
    pem::{self, KeyTag},
};

/// Every key is two of these, and the older kind of session key is two keys.
const HALF: usize = 16;
/// Names of fields that say which message a line is about.
const ABOUT_MESSAGES: [&str; 5] = ["message=", "delivery=", "sequence=", "up_to=", "packet="];

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

    /// Bytes that nobody may see, as they are.
    pub(crate) fn add(&mut self, what: &str, bytes: &[u8]) {
        let parts = if bytes.len() == 2 * HALF { vec![bytes.split_at(HALF).0, bytes.split_at(HALF).1] } else { vec![] };
        for part in parts.into_iter().chain([bytes]) {
            for form in forms(part) {
                self.patterns.push(form);
                self.meanings.push(Meaning::Secret(what.to_owned()));
            }
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
        let mut findings = Vec::new();
        for line in lines {
            let found = search.find_iter(line).filter_map(|found| self.meanings.get(found.pattern().as_usize()));
            for meaning in found {
                match meaning {
                    Meaning::Secret(what) => findings.push(format!("a log says {what}: {line}")),
                    Meaning::Client if names_a_peer(line) => {
                        findings.push(format!("a log says where a client is: {line}"));
                    }
                    Meaning::Client if ABOUT_MESSAGES.iter().any(|field| line.contains(field)) => {
                        findings.push(format!("a log says whose message it is: {line}"));
                    }
                    Meaning::Client => {}
                }
            }
        }
        Ok(findings)
    }
}

fn names_a_peer(line: &str) -> bool {
    line.split(|other: char| !other.is_ascii_digit() && other != '.').any(|word| word.parse::<Ipv4Addr>().is_ok())
}

/// Bytes in the ways in which they are printed.
fn forms(bytes: &[u8]) -> [String; 8] {
    let each = |separator: &str, print: fn(&u8) -> String| bytes.iter().map(print).collect::<Vec<_>>().join(separator);
    [
        each("", |byte| format!("{byte:02x}")),
        each("", |byte| format!("{byte:02X}")),
        each(", ", |byte| format!("{byte:x}")),
        each(", ", |byte| byte.to_string()),
        each(",", |byte| byte.to_string()),
        bs58::encode(bytes).into_string(),
        BASE64_STANDARD_NO_PAD.encode(bytes),
        BASE64_URL_SAFE_NO_PAD.encode(bytes),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [0xab; 32];

    fn findings(line: &str) -> usize {
        let mut secrets = Secrets::default();
        secrets.add("a key", &KEY);
        secrets.add_client(ClientAddress([7; 32]));
        secrets.found_in([&line.to_owned()]).unwrap().len()
    }

    #[test]
    fn keys_are_found_in_every_form_and_in_halves() {
        let (first, _) = KEY.split_at(HALF);
        for form in forms(&KEY).into_iter().chain(forms(first)) {
            assert!(findings(&format!("2026 DEBUG store > key={form} and more")) > 0, "{form}");
        }
        assert!(findings(&format!("{KEY:?}")) > 0);
        assert!(findings(&format!("{KEY:x?}")) > 0);
        assert_eq!(findings("2026 INFO store > counters: pushed=171, 171, 171"), 0);
    }

    #[test]
    fn a_client_may_be_named_alone() {
        let client = ClientAddress([7; 32]);
        assert_eq!(findings(&format!("2026-11-22T21:49:04.889Z INFO store > set aside inbox={client} records=1")), 0);
        assert_eq!(findings(&format!("2026 DEBUG client-edge > let in client={client} peer=127.0.0.1:4711")), 1);
        assert_eq!(findings(&format!("2026 DEBUG store > pushed client={client} sequence=9")), 1);
    }
}
