//! What the supervisor and `validator-query` say to each other: one query, one answer, in bincode, then the end of the file.
//!
//! *Trusts*: the supervisor trusts no more than the form of an answer, because `validator-query` has read hostile bytes.

use bincode::{
    Decode, Encode,
    config::{Configuration, Limit},
};

use super::jail::Account;

/// The longest query in bytes. A pipe takes this much at once, so that writing a query never waits.
pub const MAX_QUERY: usize = 4096;

/// The longest answer in bytes.
pub const MAX_ANSWER: usize = 64 * 1024;

/// The longest identity shown, in characters. A real one has at most 44.
const MAX_IDENTITY: usize = 64;

/// The longest text of [`ValidatorAnswer::Unreachable`] shown, in characters.
pub const MAX_REASONS: usize = 1024;

/// The validators to ask, and what to ask them about.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ValidatorQuery {
    /// The account to change to before the first validator is asked.
    pub account: Option<Account>,
    /// Addresses of validators, `http://` or `https://`.
    pub validators: Vec<String>,
    /// The contract that lists the gateways.
    pub contract: String,
    /// What we announce to mix nodes, `host:port`.
    pub mix_host: String,
    /// What we announce to clients, a websocket URL.
    pub clients_host: String,
    /// Our identity in base58.
    pub identity: String,
}

/// What the validators that answered say.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ValidatorAnswer {
    /// Nobody announces our addresses.
    NoConflict,
    /// More than half of those that answered say that a gateway of this identity does, and nobody lists ours.
    Conflict {
        /// Its identity, as it claims.
        identity: String,
    },
    /// Our identity is listed.
    SameIdentity {
        /// Another identity that is listed with our address, as it claims.
        also: Option<String>,
    },
    /// No validator answered.
    Unreachable {
        /// Why not, one reason per validator.
        reasons: String,
    },
    /// Some of those that answered say that a gateway of another identity announces our address, and not enough of them agree.
    Disputed {
        /// The identity that most of them name, as it claims.
        identity: String,
        /// How many name it.
        named_by: u32,
        /// How many answered.
        answered: u32,
    },
}

/// Not a message, too long, or followed by more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed or too long")]
pub struct Malformed;

const fn limited<const N: usize>() -> Configuration<bincode::config::LittleEndian, bincode::config::Varint, Limit<N>> {
    bincode::config::standard().with_limit::<N>()
}

fn encode<M: Encode, const N: usize>(message: &M) -> Result<Vec<u8>, Malformed> {
    let bytes = bincode::encode_to_vec(message, limited::<N>()).map_err(|_| Malformed)?;
    if bytes.len() > N { Err(Malformed) } else { Ok(bytes) }
}

fn decode<M: Decode<()>, const N: usize>(bytes: &[u8]) -> Result<M, Malformed> {
    match bincode::decode_from_slice(bytes, limited::<N>()) {
        Ok((message, read)) if read == bytes.len() => Ok(message),
        _ => Err(Malformed),
    }
}

impl ValidatorQuery {
    /// At most [`MAX_QUERY`] bytes.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        encode::<_, MAX_QUERY>(self)
    }

    /// Reads a query.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        decode::<_, MAX_QUERY>(bytes)
    }
}

impl ValidatorAnswer {
    /// At most [`MAX_ANSWER`] bytes.
    pub fn encode(&self) -> Result<Vec<u8>, Malformed> {
        encode::<_, MAX_ANSWER>(self)
    }

    /// Reads an answer. Its texts come out short and printable, whatever was sent.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        decode::<_, MAX_ANSWER>(bytes).map(Self::printable)
    }

    /// With its texts cut to a few printable characters.
    pub fn printable(self) -> Self {
        match self {
            Self::Conflict { identity } => Self::Conflict { identity: printable(&identity, MAX_IDENTITY) },
            Self::Unreachable { reasons } => Self::Unreachable { reasons: printable(&reasons, MAX_REASONS) },
            Self::Disputed { identity, named_by, answered } => {
                Self::Disputed { identity: printable(&identity, MAX_IDENTITY), named_by, answered }
            }
            Self::SameIdentity { also } => {
                Self::SameIdentity { also: also.map(|identity| printable(&identity, MAX_IDENTITY)) }
            }
            Self::NoConflict => Self::NoConflict,
        }
    }
}

/// At most `limit` characters of `text`, which a stranger wrote. Everything but printable ASCII becomes `?`.
pub fn printable(text: &str, limit: usize) -> String {
    text.chars()
        .take(limit)
        .map(|letter| match letter {
            ' '..='~' => letter,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn query() -> ValidatorQuery {
        ValidatorQuery {
            account: Some(Account { uid: 7, gid: 8 }),
            validators: vec!["http://a".into(), "http://b".into()],
            contract: "c".into(),
            mix_host: "1.2.3.4:1".into(),
            clients_host: "ws://x".into(),
            identity: "i".into(),
        }
    }

    #[test]
    fn the_bytes_are_these() {
        assert_eq!(
            query().encode().unwrap(),
            b"\x01\x07\x08\x02\x08http://a\x08http://b\x01c\x091.2.3.4:1\x06ws://x\x01i"
        );
        assert_eq!(ValidatorAnswer::NoConflict.encode().unwrap(), [0]);
        assert_eq!(ValidatorAnswer::Conflict { identity: "id".into() }.encode().unwrap(), b"\x01\x02id");
        assert_eq!(ValidatorAnswer::SameIdentity { also: None }.encode().unwrap(), [2, 0]);
        assert_eq!(ValidatorAnswer::SameIdentity { also: Some("id".into()) }.encode().unwrap(), b"\x02\x01\x02id");
        let disputed = ValidatorAnswer::Disputed { identity: "id".into(), named_by: 1, answered: 3 };
        assert_eq!(disputed.encode().unwrap(), b"\x04\x02id\x01\x03");
        assert_eq!(ValidatorAnswer::Unreachable { reasons: "no".into() }.encode().unwrap(), b"\x03\x02no");
    }

    #[test]
    fn trailing_bytes_and_long_messages_are_refused() {
        assert_eq!(ValidatorAnswer::decode(&[0, 0]), Err(Malformed));
        assert_eq!(ValidatorAnswer::decode(&[]), Err(Malformed));
        let mut long = query();
        long.identity = "i".repeat(MAX_QUERY);
        assert_eq!(long.encode(), Err(Malformed));
        // A length of four billion with nothing behind it.
        assert_eq!(ValidatorAnswer::decode(&[1, 0xfc, 0xff, 0xff, 0xff, 0xff]), Err(Malformed));
    }

    #[test]
    fn a_query_has_at_most_4096_bytes() {
        let mut longest = query();
        // The length of the identity takes two bytes more.
        longest.identity = "i".repeat(4_096 - query().encode().unwrap().len() - 1);
        assert_eq!(longest.encode().map(|bytes| bytes.len()), Ok(4_096));
        longest.identity.push('i');
        assert_eq!(longest.encode(), Err(Malformed));
    }

    #[test]
    fn an_answer_has_at_most_64_kib() {
        // bincode counts the kind as four bytes and the length as eight.
        let reasons = "x".repeat(65_536 - 12);
        let bytes = ValidatorAnswer::Unreachable { reasons }.encode().unwrap();
        let shown = ValidatorAnswer::Unreachable { reasons: "x".repeat(MAX_REASONS) };
        assert_eq!(ValidatorAnswer::decode(&bytes), Ok(shown));
        let longer = ValidatorAnswer::Unreachable { reasons: "x".repeat(65_536) };
        assert_eq!(longer.encode(), Err(Malformed));
    }

    #[test]
    fn a_hostile_answer_comes_out_short_and_printable() {
        let hostile = ValidatorAnswer::Conflict { identity: "\u{1b}]0;x\u{7}".repeat(99) };
        let Ok(ValidatorAnswer::Conflict { identity }) = ValidatorAnswer::decode(&hostile.encode().unwrap()) else {
            panic!("still a conflict");
        };
        assert_eq!(identity.len(), MAX_IDENTITY);
        assert!(!identity.contains(char::is_control));
    }

    #[test]
    fn only_printable_ascii_comes_through() {
        assert_eq!(printable("a b\n\u{1b}[31m\u{202e}ü~", 99), "a b??[31m??~");
        assert_eq!(printable("abcdef", 3), "abc");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = ValidatorQuery::decode(&bytes);
            let _ = ValidatorAnswer::decode(&bytes);
        }

        #[test]
        fn queries_round_trip(
            validators in prop::collection::vec("\\PC{0,20}", 0..4),
            texts in prop::array::uniform4("\\PC{0,20}"),
        ) {
            let [contract, mix_host, clients_host, identity] = texts;
            let query = ValidatorQuery { account: None, validators, contract, mix_host, clients_host, identity };
            prop_assert_eq!(ValidatorQuery::decode(&query.encode().unwrap()).unwrap(), query);
        }
    }
}
