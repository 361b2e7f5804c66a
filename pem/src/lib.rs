//! Key files: one 32-byte key in PEM armour, byte for byte as nym-gateway 0.10.1 writes it.
//!
//! ```text
//! -----BEGIN X25519 PRIVATE KEY-----\r\n
//! <44 characters: standard base64 of the 32 raw bytes>\r\n
//! -----END X25519 PRIVATE KEY-----\r\n
//! ```
//!
//! *Trusts* nothing: the bytes come from a file an operator may have edited. *Holds* a key only in memory that is wiped.
//! *Promises*: no input panics, and no error repeats a byte of the file.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::{Zeroize as _, Zeroizing};

/// Length of every key in bytes.
pub const KEY_LEN: usize = 32;

/// Longest file that [`decode`] reads, in bytes. Real files have 114 to 118.
pub const MAX_FILE_LEN: usize = 1024;

const BASE64_LEN: usize = 44;

/// The kind of key in a file. The armour must name the same kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyTag {
    /// The 32-byte seed of the gateway's identity.
    Ed25519Private,
    /// The gateway's public identity key.
    Ed25519Public,
    /// The gateway's private Sphinx key (clamped only when used).
    X25519Private,
    /// The gateway's public Sphinx key.
    X25519Public,
}

impl KeyTag {
    /// The words in the armour.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519Private => "ED25519 PRIVATE KEY",
            Self::Ed25519Public => "ED25519 PUBLIC KEY",
            Self::X25519Private => "X25519 PRIVATE KEY",
            Self::X25519Public => "X25519 PUBLIC KEY",
        }
    }
}

impl fmt::Display for KeyTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a key file could not be read. Names only the outer form of the file, never its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// Longer than [`MAX_FILE_LEN`].
    #[error("it is longer than {MAX_FILE_LEN} bytes, which no key file is")]
    TooLong,
    /// Not a BEGIN line, one line of base64 and an END line.
    #[error("it is not a PEM file (a BEGIN line, one line of base64, an END line)")]
    NotPem,
    /// The armour names another kind of key.
    #[error("its tag is not `{expected}`: it holds another kind of key")]
    WrongTag {
        /// The tag that was asked for.
        expected: KeyTag,
    },
    /// The middle line is not the base64 of 32 bytes.
    #[error("its middle line is not the base64 form of exactly 32 bytes")]
    NotAKey,
}

/// The text of a key file: 114 to 118 bytes of ASCII with CRLF line ends.
pub fn encode(tag: KeyTag, key: &[u8; KEY_LEN]) -> Zeroizing<String> {
    // The capacity suffices for every tag, so the text is never moved and leaves no copy behind.
    let mut text = Zeroizing::new(String::with_capacity(128));
    text.push_str("-----BEGIN ");
    text.push_str(tag.as_str());
    text.push_str("-----\r\n");
    STANDARD.encode_string(key, &mut text);
    text.push_str("\r\n-----END ");
    text.push_str(tag.as_str());
    text.push_str("-----\r\n");
    text
}

/// The key in a file whose armour must name `tag`. Like other readers of PEM, this one accepts white space at the ends of lines (CRLF,
/// LF, and what editors and mail programs make of them), empty lines around the armour, and a byte order mark in front.
pub fn decode(tag: KeyTag, file: &[u8]) -> Result<Zeroizing<[u8; KEY_LEN]>, PemError> {
    if file.len() > MAX_FILE_LEN {
        return Err(PemError::TooLong);
    }
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let mut lines = file.trim_ascii().split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
    let (Some(begin), Some(body), Some(end), None) = (lines.next(), lines.next(), lines.next(), lines.next()) else {
        return Err(PemError::NotPem);
    };
    let begin = label(begin, b"-----BEGIN ").ok_or(PemError::NotPem)?;
    let end = label(end, b"-----END ").ok_or(PemError::NotPem)?;
    if begin != end {
        return Err(PemError::NotPem);
    }
    if begin != tag.as_str().as_bytes() {
        return Err(PemError::WrongTag { expected: tag });
    }
    decode_body(body).ok_or(PemError::NotAKey)
}

fn label<'a>(line: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(prefix)?.strip_suffix(b"-----")
}

fn decode_body(body: &[u8]) -> Option<Zeroizing<[u8; KEY_LEN]>> {
    if body.len() != BASE64_LEN {
        return None;
    }
    // One byte to spare, since 44 characters may decode to 33 bytes.
    let mut raw = Zeroizing::new([0; KEY_LEN + 1]);
    let decoded = STANDARD.decode_slice(body, raw.as_mut_slice());
    let (Ok(KEY_LEN), Some(bytes)) = (decoded, raw.first_chunk::<KEY_LEN>()) else {
        raw.zeroize();
        return None;
    };
    let mut key = Zeroizing::new([0; KEY_LEN]);
    key.copy_from_slice(bytes);
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TAGS: [KeyTag; 4] =
        [KeyTag::Ed25519Private, KeyTag::Ed25519Public, KeyTag::X25519Private, KeyTag::X25519Public];

    #[test]
    fn files_are_those_of_0_10_1_byte_for_byte() {
        assert_eq!(
            encode(KeyTag::X25519Public, &[0; 32]).as_str(),
            "-----BEGIN X25519 PUBLIC KEY-----\r\n\
             AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\
             -----END X25519 PUBLIC KEY-----\r\n"
        );
        let sizes = TAGS.map(|tag| encode(tag, &[7; 32]).len());
        assert_eq!(sizes, [118, 116, 116, 114]);
    }

    #[test]
    fn the_text_is_built_without_growing() {
        for tag in TAGS {
            assert_eq!(encode(tag, &[0xff; 32]).capacity(), 128);
        }
    }

    #[test]
    fn line_ends_of_any_kind_are_accepted() {
        let file = encode(KeyTag::Ed25519Private, &[9; 32]);
        let lf = file.replace("\r\n", "\n");
        let twice_converted = file.replace('\n', "\r\n");
        let spaces = lf.replace('\n', "  \t\n");
        let marked = format!("\u{feff}{}", file.as_str());
        for text in [file.as_str(), &lf, lf.trim_end(), &format!("\n{lf}\n\n"), &twice_converted, &spaces, &marked] {
            assert_eq!(*decode(KeyTag::Ed25519Private, text.as_bytes()).unwrap(), [9; 32]);
        }
    }

    #[test]
    fn each_fault_has_its_own_error() {
        let tag = KeyTag::X25519Private;
        let good = encode(tag, &[1; 32]);
        let cases = [
            (String::new(), PemError::NotPem),
            ("x".repeat(MAX_FILE_LEN + 1), PemError::TooLong),
            (good.replace("BEGIN", "BEGUN"), PemError::NotPem),
            (good.replace("-----END X25519", "-----END ED25519"), PemError::NotPem),
            (good.replace("X25519", "ED25519"), PemError::WrongTag { expected: tag }),
            (good.replace("PRIVATE", "PUBLIC"), PemError::WrongTag { expected: tag }),
            (good.replace('=', ""), PemError::NotAKey),
            (good.replace('=', "A"), PemError::NotAKey),
            (good.replace("AQEB", "AQ!B"), PemError::NotAKey),
            (format!("{}{}", good.as_str(), good.as_str()), PemError::NotPem),
        ];
        for (text, error) in cases {
            assert_eq!(decode(tag, text.as_bytes()).unwrap_err(), error, "{text:?}");
        }
    }

    fn any_tag() -> impl Strategy<Value = KeyTag> {
        prop::sample::select(&TAGS)
    }

    proptest! {
        #[test]
        fn round_trips(tag in any_tag(), key in any::<[u8; 32]>()) {
            prop_assert_eq!(*decode(tag, encode(tag, &key).as_bytes()).unwrap(), key);
        }

        #[test]
        fn the_tag_decides(written in any_tag(), read in any_tag(), key in any::<[u8; 32]>()) {
            let result = decode(read, encode(written, &key).as_bytes());
            prop_assert_eq!(result.is_ok(), written == read);
        }

        #[test]
        fn no_bytes_panic(tag in any_tag(), bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            let _ = decode(tag, &bytes);
        }

        #[test]
        fn no_damaged_file_panics(
            tag in any_tag(),
            key in any::<[u8; 32]>(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut file = encode(tag, &key).as_bytes().to_vec();
            let at = at.index(file.len());
            file[at] = byte;
            let _ = decode(tag, &file);
        }
    }
}
