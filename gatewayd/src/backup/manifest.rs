//! What an archive holds: a text with a line for each file, which ends with a hash of itself.

use std::fmt::Write as _;

use crate::paths::GatewayId;

/// The first line. The number changes with the meaning of the files.
const FIRST: &str = "gatewayd backup 1";
/// More than an archive has.
const MOST_FILES: usize = 256;
/// Bytes of a manifest at the most.
pub(super) const LONGEST: u64 = 64 * 1024;

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its name: a path below the gateway's folder.
    pub(super) name: String,
    /// Its length in bytes.
    pub(super) bytes: u64,
    /// Its BLAKE3 hash.
    pub(super) hash: blake3::Hash,
}

/// What an archive holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Of which gateway.
    pub(super) id: String,
    /// When it was begun, in seconds since 1970.
    pub(super) made: u64,
    /// The files, in order.
    pub(super) files: Vec<Listed>,
}

impl Manifest {
    pub(super) fn encode(&self) -> String {
        let mut text = format!("{FIRST}\ngateway {}\nmade {}\n", self.id, self.made);
        for Listed { name, bytes, hash } in &self.files {
            // A text takes whatever is written to it.
            let _ = writeln!(text, "{} {bytes} {name}", hash.to_hex());
        }
        let all = blake3::hash(text.as_bytes()).to_hex();
        let _ = writeln!(text, "all {all}");
        text
    }

    /// The manifest in a text that is whole, or what is wrong with it.
    pub(super) fn decode(text: &str) -> Result<Self, &'static str> {
        const MALFORMED: &str = "its manifest is malformed";
        if text.lines().next() != Some(FIRST) {
            return Err("it is no backup of gatewayd, or one of a later version");
        }
        let (body, last) = text.trim_end_matches('\n').rsplit_once('\n').ok_or(MALFORMED)?;
        let all = last.strip_prefix("all ").and_then(|all| blake3::Hash::from_hex(all).ok()).ok_or(MALFORMED)?;
        if blake3::hash(format!("{body}\n").as_bytes()) != all {
            return Err("its manifest is damaged");
        }
        let mut lines = body.lines().skip(1);
        let mut field = |name: &str| lines.next().and_then(|line| line.strip_prefix(name)).ok_or(MALFORMED);
        let id = field("gateway ")?.parse::<GatewayId>().map_err(|_| MALFORMED)?.to_string();
        let made = field("made ")?.parse().map_err(|_| MALFORMED)?;
        let files: Vec<_> = lines.map(Listed::decode).collect::<Option<_>>().ok_or(MALFORMED)?;
        if files.len() > MOST_FILES {
            return Err(MALFORMED);
        }
        Ok(Self { id, made, files })
    }
}

impl Listed {
    fn decode(line: &str) -> Option<Self> {
        let mut fields = line.splitn(3, ' ');
        let hash = blake3::Hash::from_hex(fields.next()?).ok()?;
        let bytes = fields.next()?.parse().ok()?;
        Some(Self { name: fields.next()?.to_owned(), bytes, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn manifest() -> Manifest {
        let file = |name: &str| Listed { name: name.to_owned(), bytes: 7, hash: blake3::hash(name.as_bytes()) };
        Manifest { id: "demo".into(), made: 1_800_000_000, files: vec![file("data/a"), file("config/b")] }
    }

    #[test]
    fn a_manifest_names_a_gateway_as_gateways_are_named() {
        let text = Manifest { id: "\x1b[31mx".into(), ..manifest() }.encode();
        assert_eq!(Manifest::decode(&text), Err("its manifest is malformed"));
    }

    #[test]
    fn a_manifest_round_trips_and_a_changed_one_is_refused() {
        let text = manifest().encode();
        assert_eq!(Manifest::decode(&text), Ok(manifest()));
        for changed in [text.replace("demo", "deno"), text.replace(" 7 ", " 8 "), text.replace("made 18", "made 28")] {
            assert_eq!(Manifest::decode(&changed), Err("its manifest is damaged"));
        }
        let later = text.replace("backup 1", "backup 2");
        assert!(Manifest::decode(&later).unwrap_err().contains("later version"));
        assert!(Manifest::decode(text.lines().next().unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_manifest_or_refused(text: String) {
            if let Ok(manifest) = Manifest::decode(&text) {
                prop_assert_eq!(manifest.encode(), text);
            }
        }
    }
}
