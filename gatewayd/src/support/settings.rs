//! The configuration as a maintainer may see it.
//!
//! *Promises*: a value is shown only if it is a number, a truth value, a time, a size or a range of ports, or the default of its key. Of every
//! other value only that it is set. A key or section that the gateway does not know is not named. Comments are left out.

use toml_edit::{DocumentMut, Item, TableLike, Value};

use crate::config;

/// In the place of a value.
const SET: &str = "<set>";

/// The settings in the text of a configuration, masked.
pub(super) fn masked(text: &str) -> String {
    let (Ok(document), Ok(template)) = (text.parse::<DocumentMut>(), config::TEMPLATE.parse::<DocumentMut>()) else {
        return "it is no TOML".to_owned();
    };
    let mut shown = String::new();
    let mut unknown = 0_u32;
    for (name, section) in document.iter() {
        let known = template.get(name).and_then(Item::as_table_like);
        let (Some(known), Some(section)) = (known, section.as_table_like()) else {
            unknown += 1;
            continue;
        };
        shown.push_str(&format!("[{name}]\n"));
        unknown += show_section(section, known, &mut shown);
    }
    if unknown > 0 {
        shown.push_str(&format!("and {unknown} keys or sections that this version does not know\n"));
    }
    shown
}

/// Shows the known keys of a section. Returns how many are not known.
fn show_section(section: &dyn TableLike, known: &dyn TableLike, shown: &mut String) -> u32 {
    let mut unknown = 0;
    for (key, item) in section.iter() {
        let (Some(default), Some(value)) = (known.get(key).and_then(Item::as_value), item.as_value()) else {
            unknown += 1;
            continue;
        };
        let text = if plain(default) == plain(value) { plain(value) } else { mask(value) };
        shown.push_str(&format!("{key} = {text}\n"));
    }
    unknown
}

fn plain(value: &Value) -> String {
    let mut value = value.clone();
    value.decor_mut().clear();
    value.to_string()
}

fn mask(value: &Value) -> String {
    match value {
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => plain(value),
        Value::String(text) if is_harmless(text.value()) => plain(value),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(mask).collect();
            format!("[{}]", values.join(", "))
        }
        Value::String(_) | Value::Datetime(_) | Value::InlineTable(_) => SET.to_owned(),
    }
}

/// Whether a text is a time or a size (`2days 3h`, `10 GiB`), a range of ports (`1024-65535`), or empty.
fn is_harmless(text: &str) -> bool {
    let is_number = |text: &str| (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_quantity = |word: &str| {
        let unit = word.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let number = word.strip_suffix(unit).unwrap_or_default();
        is_number(number) && unit.len() <= 7 && unit.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    let is_range = || text.split_once('-').is_some_and(|(first, last)| is_number(first) && is_number(last));
    let words = || text.split(' ').all(|word| is_quantity(word) || ["B", "KiB", "MiB", "GiB", "TiB"].contains(&word));
    text.is_empty() || is_range() || words()
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
public_ips = ['2001:db8::7']
";
        let shown = masked(text);
        for part in ["alice", "198.51", "n1secret", "validator.example", "gateway.example", "2001:db8", "secret"] {
            assert!(!shown.contains(part), "{part}: {shown}");
        }
        for part in ["client_idle = '17days 3h'", "'7 GiB'", "= 99", "'1024-65535', 443", "id = <set>", "and 2 keys"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert_eq!(masked("= broken"), "it is no TOML");
    }

    #[test]
    fn addresses_and_names_are_no_quantities() {
        for text in ["", "10s", "1h 30m", "512 MiB", "1024-2048", "7"] {
            assert!(is_harmless(text), "{text}");
        }
        for text in
            ["198.51.100.7", "::1", "2001:db8::1", "alice", "1alice9", "a 7", "7-a", "5KJvsngHeMpm884wtkJNzQGaCErckhHJ"]
        {
            assert!(!is_harmless(text), "{text}");
        }
    }
}
