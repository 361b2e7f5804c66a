//! What `gatewayd sign` and `signer` say to each other: one request, one answer, then the end of the file.
//!
//! A text is signed in two steps, by two processes. The first one has no key: it reads the text and says in words what a signature of it
//! would mean. The second one gets the key once the operator has agreed.

use bincode::{Decode, Encode};

use crate::jail::JailSpec;

/// The longest text in bytes. A request has room for it, and an answer has room for all of it with each byte as `\u{…}`.
pub const MAX_TEXT: usize = 8 * 1024;

/// The longest answer in bytes.
pub const MAX_ANSWER: usize = 64 * 1024;

/// What `signer` is to do. With [`Step::Sign`] comes one descriptor, the file of the private identity key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignRequest {
    /// The jail to close first.
    pub jail: JailSpec,
    /// The gateway's public identity key.
    pub identity: [u8; 32],
    /// The text.
    pub text: SignText,
    /// How far to go.
    pub step: Step,
}

/// A text to sign.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SignText {
    /// Any text, signed as it is.
    Plain(String),
    /// What the wallet shows before it bonds a node: base58 of JSON, which is what is signed.
    ContractMessage(String),
}

/// How far to go with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Step {
    /// Say what a signature would mean.
    Explain,
    /// Sign.
    Sign,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SignAnswer {
    /// The text is not signed.
    Refused {
        /// Why, and what to do.
        why: String,
    },
    /// What a signature would mean.
    Explained {
        /// Lines for the operator.
        words: String,
    },
    /// It is signed.
    Signed {
        /// The bytes that are signed, which are text.
        message: String,
        /// By which key.
        identity: [u8; 32],
        /// The Ed25519 signature.
        signature: [u8; 64],
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{self, golden::pin};

    #[test]
    fn bytes_are_pinned() {
        pin(Step::Explain, "00");
        pin(SignText::ContractMessage("x".into()), "010178");
        pin(SignAnswer::Refused { why: "w".into() }, "000177");
        pin(SignAnswer::Explained { words: "w".into() }, "010177");
        let signed = SignAnswer::Signed { message: "m".into(), identity: [1; 32], signature: [2; 64] };
        assert_eq!(codec::decode_one(&codec::encode_one(&signed).unwrap()), Ok(signed));
    }

    #[test]
    fn the_longest_text_has_room_however_it_is_shown() {
        let text = "\u{7f}".repeat(MAX_TEXT);
        assert_eq!(text.len(), 8_192);
        // Words around the text take a few lines.
        let words = text.escape_unicode().to_string() + &" ".repeat(4_096);
        let answer = codec::encode_one(&SignAnswer::Explained { words }).unwrap();
        assert!(answer.len() <= MAX_ANSWER, "{}", answer.len());
    }
}
