//! The stream in which `store` gives its part of a backup to `gatewayd backup`, on a socket that it is lent.
//!
//! *The reader trusts store* with what the parts hold, and with nothing else: it takes a part only under a plain name in one of three
//! folders, and a stream that ends before [`Piece::Whole`] is none. Memory is bounded by one piece.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | kind of the piece |
//! | 4 | length of what follows, big-endian, [`LONGEST`] at the most |
//! | | name of a part, bytes of it, or why there is no backup |

use std::io::{self, Read, Write};

/// Longest piece in bytes.
pub const LONGEST: usize = 64 * 1024;
/// Longest name of a part in bytes.
const LONGEST_NAME: usize = 64;

/// Where a part belongs in the gateway's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartFolder {
    /// That of the ledger.
    Ledger,
    /// That of the inboxes.
    Inboxes,
    /// That of the marks of packets seen.
    Replay,
}

impl PartFolder {
    const ALL: [(Self, u8); 3] = [(Self::Ledger, b'l'), (Self::Inboxes, b'i'), (Self::Replay, b'r')];
}

/// A piece of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A part begins.
    Part {
        /// Where it belongs.
        folder: PartFolder,
        /// The name of its file.
        name: String,
    },
    /// Bytes of the part.
    Bytes(Vec<u8>),
    /// All parts are complete. Nothing follows.
    Whole,
    /// There is no backup. Nothing follows.
    Failed(String),
}

const PART: u8 = 1;
const BYTES: u8 = 2;
const WHOLE: u8 = 3;
const FAILED: u8 = 4;

/// Whether a name is one plain component of a path: small letters, digits, and `.`, `-` and `_` behind the first.
pub fn is_plain(name: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.starts_with(['.', '-']) && name.bytes().all(is_fit)
}

/// Begins a part.
///
/// # Errors
/// If it cannot be written, or the name is not plain.
pub fn begin_part(out: &mut impl Write, folder: PartFolder, name: &str) -> io::Result<()> {
    if !is_plain(name) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a part of a backup has no plain name"));
    }
    let (_, letter) = PartFolder::ALL.into_iter().find(|(one, _)| *one == folder).unwrap_or(PartFolder::ALL[0]);
    let mut payload = vec![letter];
    payload.extend_from_slice(name.as_bytes());
    write(out, PART, &payload)
}

/// Writes bytes of the part that was begun last.
///
/// # Errors
/// If they cannot be written.
pub fn write_bytes(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    bytes.chunks(LONGEST).try_for_each(|piece| write(out, BYTES, piece))
}

/// Ends the stream.
///
/// # Errors
/// If that cannot be written.
pub fn end(out: &mut impl Write) -> io::Result<()> {
    write(out, WHOLE, &[])
}

/// Ends the stream without a backup.
///
/// # Errors
/// If that cannot be written.
pub fn fail(out: &mut impl Write, why: &str) -> io::Result<()> {
    let why: String = why.chars().take(600).collect();
    write(out, FAILED, why.as_bytes())
}

fn write(out: &mut impl Write, kind: u8, payload: &[u8]) -> io::Result<()> {
    let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
    // In one write, because each wakes the reader.
    let mut bytes = Vec::with_capacity(5 + payload.len());
    bytes.push(kind);
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(payload);
    out.write_all(&bytes)
}

/// Reads the next piece.
///
/// # Errors
/// If the stream ends, cannot be read, or holds something else.
pub fn read(input: &mut impl Read) -> io::Result<Piece> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "a piece of a backup is malformed");
    let (mut kind, mut len) = ([0], [0; 4]);
    input.read_exact(&mut kind)?;
    input.read_exact(&mut len)?;
    let len = usize::try_from(u32::from_be_bytes(len)).ok().filter(|len| *len <= LONGEST).ok_or_else(malformed)?;
    let mut payload = vec![0; len];
    input.read_exact(&mut payload)?;
    let [kind] = kind;
    match kind {
        PART => {
            let (letter, name) = payload.split_first().ok_or_else(malformed)?;
            let folder = PartFolder::ALL.into_iter().find(|(_, one)| one == letter).ok_or_else(malformed)?.0;
            let name = str::from_utf8(name).ok().filter(|name| is_plain(name)).ok_or_else(malformed)?;
            Ok(Piece::Part { folder, name: name.to_owned() })
        }
        BYTES => Ok(Piece::Bytes(payload)),
        WHOLE if payload.is_empty() => Ok(Piece::Whole),
        FAILED => Ok(Piece::Failed(String::from_utf8_lossy(&payload).into_owned())),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pieces_come_as_they_were_written() {
        let mut stream = Vec::new();
        let long = vec![7; LONGEST + 1];
        begin_part(&mut stream, PartFolder::Replay, "generation-01").unwrap();
        write_bytes(&mut stream, &long).unwrap();
        fail(&mut stream, "why").unwrap();
        end(&mut stream).unwrap();
        let mut input = stream.as_slice();
        let part = Piece::Part { folder: PartFolder::Replay, name: "generation-01".into() };
        let pieces =
            [part, Piece::Bytes(vec![7; LONGEST]), Piece::Bytes(vec![7]), Piece::Failed("why".into()), Piece::Whole];
        for piece in pieces {
            assert_eq!(read(&mut input).unwrap(), piece);
        }
        assert_eq!(read(&mut input).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in ["", ".", "..", "../a", "a/b", "/a", "-a", "A", "a\0", &"a".repeat(65)] {
            assert!(begin_part(&mut Vec::new(), PartFolder::Ledger, name).is_err(), "{name:?}");
            let mut stream = Vec::new();
            write(&mut stream, PART, format!("l{name}").as_bytes()).unwrap();
            assert!(read(&mut stream.as_slice()).is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_pieces_or_refused(bytes: Vec<u8>) {
            let mut input = bytes.as_slice();
            while let Ok(piece) = read(&mut input) {
                if let Piece::Part { name, .. } = piece {
                    prop_assert!(is_plain(&name));
                }
            }
        }
    }
}
