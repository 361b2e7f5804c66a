//! The last search: whatever looks like an address, a key or a name of this machine is masked, wherever it stands.
//!
//! *Promises*: no text of a bundle has an IP address, a run of base58 or hexadecimal letters as long as a key, or one of the names that are
//! known to the gateway: of its host, its hosts as announced, its folder and its id.

use std::net::IpAddr;

use super::Subject;

/// In the place of what is masked.
const MASKED: &str = "<masked>";
/// The shortest run of letters and digits that may be a key, in base58, base64 or hexadecimal.
const KEY: usize = 24;
/// A name that is shorter is found in too many words.
const SHORTEST_NAME: usize = 3;

/// The names that are masked.
pub(super) struct Mask(Vec<String>);

impl Mask {
    /// What must not be in a bundle of this gateway.
    pub(super) fn of(gateway: &Subject<'_>) -> Self {
        let config = gateway.config();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
        let mut names: Vec<String> = host.into_iter().collect();
        names.extend(config.node.hostname.iter().map(ToString::to_string));
        names.extend([&config.home, &config.root].map(|path| path.display().to_string()));
        names.push(gateway.root.as_path().display().to_string());
        names.extend([config.mix_announce().to_string(), config.clients_announce().to_string()]);
        names.extend(of_id(gateway.id.as_str()));
        Self::names(names)
    }

    fn names(mut names: Vec<String>) -> Self {
        names.retain(|name| name.len() >= SHORTEST_NAME);
        // The longest first: a name may be part of another.
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        Self(names)
    }

    /// The text without what must not be in it.
    pub(super) fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for name in &self.0 {
            text = text.replace(name.as_str(), MASKED);
        }
        let mut masked = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(start) = rest.find(is_of_word) {
            let (before, word) = rest.split_at(start);
            let end = word.find(|letter| !is_of_word(letter)).unwrap_or(word.len());
            let (word, after) = word.split_at(end);
            masked.push_str(before);
            masked.push_str(if is_telling(word) { MASKED } else { word });
            rest = after;
        }
        masked.push_str(rest);
        masked
    }
}

/// An id, and how commands and units name it. There it is known however short it is.
fn of_id(id: &str) -> [String; 4] {
    [id.to_owned(), format!("--id {id}"), format!("gatewayd@{id}"), format!("gatewayd-user@{id}")]
}

/// Letters of addresses and keys.
fn is_of_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || ".:+/=-_%".contains(letter)
}

/// Whether a word has an IP address or something as long as a key in it.
fn is_telling(word: &str) -> bool {
    let is_address = |text: &str| {
        let bare = text.trim_matches('.');
        let without_port = bare.rsplit_once(':').map_or(bare, |(host, _)| host);
        [text, bare, without_port].iter().any(|text| text.len() > 2 && text.parse::<IpAddr>().is_ok())
    };
    let has_address = is_address(word) || word.split(['/', '=', '%', '-', '_', '+']).any(is_address);
    let run = word.split(|letter: char| !letter.is_ascii_alphanumeric()).map(str::len).max().unwrap_or_default();
    has_address || run >= KEY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        Mask::names(vec!["gateway.example".into(), "/home/alice/.nym".into(), "ab".into()]).apply(text)
    }

    #[test]
    fn addresses_keys_and_names_are_masked_wherever_they_are() {
        let key = "Gj7jCwwZmPiMbgxAvJZ3CPfscKmCr3v9xvrEsBgGaNMM";
        for text in [
            "198.51.100.7",
            "peer=198.51.100.7:1789",
            "[2001:db8::7]:9000",
            "2001:db8::7",
            "wss://gateway.example/x",
            "/home/alice/.nym/gateways",
            key,
            "fe80::1%eth0",
            "http://198.51.100.7/x",
            &"ab".repeat(32),
        ] {
            let shown = masked(&format!("before {text} after"));
            assert!(shown.starts_with("before ") && shown.ends_with(" after") && shown.contains(MASKED), "{shown}");
            for part in ["198.51", "2001:db8", "gateway.example", "alice", "Gj7j", "fe80", "abab"] {
                assert!(!shown.contains(part), "{shown}");
            }
        }
    }

    #[test]
    fn a_short_id_is_masked_in_commands_and_units() {
        let text = "systemctl kill gatewayd@z; gatewayd run --id z --home '/x'";
        let shown = Mask::names(of_id("z").into()).apply(text);
        assert_eq!(shown, "systemctl kill <masked>; gatewayd run <masked> --home '/x'");
    }

    #[test]
    fn versions_numbers_and_times_stay() {
        for text in
            ["gatewayd 1.2.3", "6.12.0-amd64", "17days 3h", "landlock-files, seccomp", "[limits]", "a = 99", "8 GiB"]
        {
            assert_eq!(masked(text), text);
        }
    }
}
