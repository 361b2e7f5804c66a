//! Test vectors: bytes made by nym-gateway 0.10.1, and by a gateway and clients of today.

use serde_json::Value;

/// A file of vectors made by today's software.
pub(super) fn file(name: &str) -> Value {
    let path = format!("{}/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The bytes of a string of hexadecimal digits.
pub(super) fn hex_of(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// Like [`hex_of`], for a known length.
pub(super) fn bytes_of<const N: usize>(value: &Value) -> [u8; N] {
    hex_of(value).try_into().unwrap()
}

/// The value at a JSON pointer of `session_keys.json`, decoded from hex.
pub(super) fn hex(pointer: &str) -> Vec<u8> {
    hex::decode(text(pointer)).unwrap()
}

/// Like [`hex`], for a known length.
pub(super) fn bytes<const N: usize>(pointer: &str) -> [u8; N] {
    hex(pointer).try_into().unwrap()
}

/// The string at a JSON pointer of `session_keys.json`.
pub(super) fn text(pointer: &str) -> String {
    let all: Value = serde_json::from_str(include_str!("../vectors/session_keys.json")).unwrap();
    all.pointer(pointer).unwrap().as_str().unwrap().to_owned()
}

/// Each dialogue with the real gateway: its name, then who spoke (`->` is the client) and what. Frames that are not
/// text, or were cut when recorded, are left out.
pub(super) fn dialogues() -> Vec<(String, Vec<(String, String)>)> {
    let all: serde_json::Map<String, Value> =
        serde_json::from_str(include_str!("../vectors/control_frames.json")).unwrap();
    let whole_text = |frame: &Value| {
        let (speaker, text) = (frame[0].as_str()?, frame[1].as_str()?);
        let is_json = text.starts_with('{') && text.ends_with('}');
        let is_whole = match speaker {
            "->" => is_json || !text.starts_with('{'),
            "<-" => is_json,
            _ => false,
        };
        is_whole.then(|| (speaker.to_owned(), text.to_owned()))
    };
    all.into_iter()
        .filter_map(|(name, frames)| Some((name, frames.as_array()?.iter().filter_map(whole_text).collect())))
        .collect()
}
