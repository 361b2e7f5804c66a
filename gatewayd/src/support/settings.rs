//! The configuration as a maintainer may see it.
//!
//! *Promises*: whether a value is shown depends on its key. Where the default is a number, a truth value, a time, a size or a range of ports,
//! a value of one of these kinds is shown. Of any other key a value is shown only if it is the default, else only that it is set, whatever the
//! value looks like: a telephone number is not a size. A key or section that the gateway does not know is not named. Comments are left out.

use std::collections::HashMap;

use toml_edit::{DocumentMut, TableLike, Value};

use crate::config::{TEMPLATE, known_keys};

/// In the place of a value.
const SET: &str = "<set>";

/// The settings in the text of a configuration, masked.
pub(super) fn masked(text: &str) -> String {
    let (Ok(document), Ok(template)) = (text.parse::<DocumentMut>(), TEMPLATE.parse::<DocumentMut>()) else {
        return "it is no TOML, so nothing of it is shown\n".to_owned();
    };
    let known = KnownKeys::new();
    let mut shown = String::new();
    let mut unknown = 0_u32;
    for (name, section) in document.iter() {
        let is_known = template.contains_key(name) || known.has_section(name);
        let Some(section) = section.as_table_like().filter(|_| is_known) else {
            unknown += 1;
            continue;
        };
        shown.push_str(&format!("[{name}]\n"));
        unknown += show_section(name, section, &known, &mut shown);
    }
    if unknown > 0 {
        shown.push_str(&format!("and {unknown} keys or sections that this version does not know\n"));
    }
    shown
}

/// The keys that a file may have, each with its default.
struct KnownKeys(HashMap<(String, String), Option<Value>>);

impl KnownKeys {
    fn new() -> Self {
        Self(known_keys().into_iter().map(|(section, key, default)| ((section, key), default.parse().ok())).collect())
    }

    fn has_section(&self, name: &str) -> bool {
        self.0.keys().any(|(section, _)| section == name)
    }
}

/// Shows the known keys of a section. Returns how many are not known.
fn show_section(name: &str, section: &dyn TableLike, known: &KnownKeys, shown: &mut String) -> u32 {
    let mut unknown = 0;
    for (key, item) in section.iter() {
        match known.0.get(&(name.to_owned(), key.to_owned())) {
            Some(default) => {
                let text = item.as_value().map_or_else(|| SET.to_owned(), |value| mask(value, default.as_ref()));
                shown.push_str(&format!("{key} = {text}\n"));
            }
            None => unknown += 1,
        }
    }
    unknown
}

fn mask(value: &Value, default: Option<&Value>) -> String {
    match default {
        Some(default) if is_same(value, default) => plain(value),
        Some(default) if is_measure(default) => mask_measure(value),
        _ => SET.to_owned(),
    }
}

/// The value of a key that takes measures. A file that is wrong may have anything there.
fn mask_measure(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(mask_measure).collect();
            format!("[{}]", values.join(", "))
        }
        value if is_measure(value) => plain(value),
        _ => SET.to_owned(),
    }
}

fn plain(value: &Value) -> String {
    let mut value = value.clone();
    value.decor_mut().clear();
    value.to_string()
}

/// Whether two values are the same, however they are written.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => one.value() == other.value(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (one, other) => plain(one) == plain(other),
    }
}

/// Whether a value is a number, a truth value, a time, a size, a range of ports, or a list of these.
fn is_measure(value: &Value) -> bool {
    match value {
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => true,
        Value::String(text) => is_measure_text(text.value()),
        Value::Array(values) => !values.is_empty() && values.iter().all(is_measure),
        Value::Datetime(_) | Value::InlineTable(_) => false,
    }
}

/// Whether a text is a time (`2days 3h`), a size (`10 GiB`), or a range of ports (`1024-65535`).
fn is_measure_text(text: &str) -> bool {
    const UNITS: [&str; 9] = ["b", "kb", "mb", "gb", "tb", "kib", "mib", "gib", "tib"];
    let is_number = |text: &str| (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_range = || text.split_once('-').is_some_and(|(first, last)| is_number(first) && is_number(last));
    let is_size = || {
        let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let number = text.strip_suffix(unit).unwrap_or_default();
        is_number(number) && UNITS.contains(&unit.trim().to_ascii_lowercase().as_str())
    };
    is_range() || is_size() || humantime::parse_duration(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_values_are_shown() {
        let text = "\
# written by alice at 198.51.100.7
[gateway]
id = 'alices-gateway'
mixnet_contract_address = 'n1secretaccount'
validator_rest_urls = ['http://validator.example']
[mixnet_endpoint]
listening_address = '198.51.100.7:1789'
[limits]
client_idle = '17days 3h'
data_bytes = '7 GiB'
max_mix_connections = 99
[egress]
ports = ['1024-65535', 443]
[alice]
secret = 'x'
[node]
alices_key = 1
hostname = 'gateway.example'
moniker = ''
public_ips = ['2001:db8::7']
";
        let shown = masked(text);
        for part in ["alice", "198.51", "n1secret", "validator.example", "gateway.example", "2001:db8", "secret"] {
            assert!(!shown.contains(part), "{part}: {shown}");
        }
        for part in [
            "client_idle = '17days 3h'",
            "'7 GiB'",
            "= 99",
            "'1024-65535', 443",
            "id = <set>",
            "moniker = ''",
            "and 2 keys",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(
            masked("= broken by alice").starts_with("it is no TOML") && !masked("= broken by alice").contains("alice")
        );
    }

    #[test]
    fn words_of_the_operator_are_masked_whatever_they_look_like() {
        let texts = [
            ("gateway", "id"),
            ("gateway", "validator_rest_urls"),
            ("clients_endpoint", "trusted_proxies"),
            ("node", "hostname"),
            ("node", "security_contact"),
            ("node", "details"),
            ("node", "public_ips"),
            ("node", "announce_as"),
        ];
        for value in
            ["'0791234567'", "'1h'", "'10s'", "'7 GiB'", "'1024-2048'", "791234567", "true", "['0791234567', 7]"]
        {
            for (section, key) in texts {
                assert_eq!(masked(&format!("[{section}]\n{key} = {value}\n")), format!("[{section}]\n{key} = <set>\n"));
            }
        }
    }

    #[test]
    fn words_in_the_place_of_numbers_are_masked() {
        for value in ["'0791234567 alice'", "'1alice'", "'alice'", "{ alice = 1 }", "['alice']"] {
            for (section, key) in [("limits", "inbox_bytes"), ("limits", "message_age"), ("egress", "ports")] {
                let shown = masked(&format!("[{section}]\n{key} = {value}\n"));
                assert!(shown.contains(key) && !shown.contains("alice"), "{shown}");
            }
        }
    }

    #[test]
    fn every_key_that_a_file_may_have_is_known() {
        let text = "\
[gateway]
validator_rest_url = 'http://a:1'
[clients_endpoint]
trusted_proxies = ['192.0.2.7']
[logging]
[debug]
initial_connection_timeout = 1700
packet_forwarding_initial_backoff = '7s'
presence_sending_delay = 3000
";
        let shown = masked(text);
        for line in [
            "validator_rest_url = <set>",
            "trusted_proxies = <set>",
            "[logging]",
            "initial_connection_timeout = 1700",
            "packet_forwarding_initial_backoff = '7s'",
            "presence_sending_delay = <set>",
        ] {
            assert!(shown.contains(&format!("{line}\n")), "{line}: {shown}");
        }
        assert!(!shown.contains("does not know"), "{shown}");
        let template = masked(TEMPLATE);
        assert!(!template.contains("does not know") && !template.contains(SET), "{template}");
    }

    #[test]
    fn addresses_and_names_are_no_measures() {
        for text in ["10s", "1h 30m", "512 MiB", "512MiB", "10 GB", "1024-2048"] {
            assert!(is_measure_text(text), "{text}");
        }
        for text in [
            "",
            "198.51.100.7",
            "::1",
            "2001:db8::1",
            "alice",
            "1alice9",
            "1alice",
            "a 7",
            "7-a",
            "0791234567",
            "5KJvsngHeMpm884wtkJNzQGaCErckhHJ",
        ] {
            assert!(!is_measure_text(text), "{text}");
        }
    }
}
