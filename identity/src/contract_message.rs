//! The text that a wallet asks the operator of a node to sign before it bonds the node.
//!
//! The text is base58 of compact JSON:
//! `{"nonce":N,"algorithm":"ed25519","message_type":"nym-node-bonding","content":{"sender":"n1…","funds":[{"denom":"unym","amount":"…"}],`
//! `"data":{"nym_node":{"host":"…","custom_http_port":null,"identity_key":"…"},"cost_params":{"profit_margin_percent":"0.2",`
//! `"interval_operating_cost":{"denom":"unym","amount":"…"}}}}}`. The signature covers the decoded bytes as they are.
//!
//! *Trusts* nothing: the text went through a wallet, a clipboard and a terminal. *Promises*: what is signed was shown. A member that this
//! version does not know is refused, as the operator would sign something that nobody has explained.

use client_wire::handshake::Signature;
use serde::Deserialize;

use crate::{
    Identity, MAX_TEXT,
    terminal::{shortened, whole_word},
};

/// The only message that this version explains, and so the only one that it signs.
pub const BONDING: &str = "nym-node-bonding";

/// The longest host that the contract takes, in bytes.
const MAX_HOST: usize = 255;

/// Why a text is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too long for any known message.
    #[error(
        "the text has {0} characters, and no bonding message has more than {MAX_TEXT}: copy the whole text from the wallet, and nothing else"
    )]
    TooLong(usize),
    /// Some characters are missing or foreign.
    #[error("the text is not base58: copy the whole text from the wallet once more, without spaces or line breaks")]
    NotBase58,
    /// It decodes to something else.
    #[error(
        "the text is base58, but not of a contract message: copy the whole text from the wallet once more; to sign any other text use --text"
    )]
    NotJson,
    /// A contract message, but one of another purpose.
    #[error(
        "the text asks for a signature of the kind `{0}`, and only `{BONDING}` is signed here: bond the gateway as a Nym node in the wallet"
    )]
    OtherMessage(String),
    /// Another kind of signature.
    #[error(
        "the text asks for a signature by the algorithm `{0}`, and the identity key makes ed25519 signatures only: update the wallet or gatewayd"
    )]
    OtherAlgorithm(String),
    /// Something in it has no explanation.
    #[error(
        "the text is a `{BONDING}` message, but not of the form that this version can explain ({0}): update gatewayd, or copy the text once more"
    )]
    OtherForm(String),
    /// It bonds another node.
    #[error(
        "the text bonds the node {theirs}, and this gateway is {own}: give the wallet the identity key that `gatewayd run` prints"
    )]
    OtherNode {
        /// The identity in the text.
        theirs: String,
        /// Our own.
        own: String,
    },
    /// An address that no chain takes.
    #[error(
        "the host in the text has {0} bytes, and the contract takes at most {MAX_HOST}: correct the host in the wallet"
    )]
    LongHost(usize),
}

/// A bonding message: what its signature would say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bonding {
    signed: String,
    /// The account that bonds, and that will own the node.
    pub sender: String,
    /// What it pledges, as amount and denomination.
    pub pledge: Vec<Coin>,
    /// Where the node's self-description is read.
    pub host: String,
    /// The port of it, if it is none of the usual ones.
    pub custom_http_port: Option<u16>,
    /// The operator's share of rewards, a decimal fraction: `0.2` is 20 %.
    pub profit_margin: String,
    /// The operator's cost for each interval (a month).
    pub operating_cost: Coin,
    /// The number by which the contract tells this request from earlier ones of the account.
    pub nonce: u32,
}

/// An amount of some denomination.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coin {
    /// The unit: `unym` is a millionth of a NYM.
    pub denom: String,
    /// A whole number of units.
    pub amount: String,
}

#[derive(Deserialize)]
struct Envelope {
    algorithm: String,
    message_type: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    nonce: u32,
    #[serde(rename = "algorithm")]
    _algorithm: String,
    #[serde(rename = "message_type")]
    _message_type: String,
    content: Content,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    sender: String,
    funds: Vec<Coin>,
    data: Data,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    nym_node: Node,
    cost_params: Costs,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    host: String,
    custom_http_port: Option<u16>,
    identity_key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Costs {
    profit_margin_percent: String,
    interval_operating_cost: Coin,
}

impl Bonding {
    /// Reads the text of a wallet. `identity` is the gateway's own public key.
    ///
    /// # Errors
    /// [`Refused`], whose words are for the operator.
    pub fn read(text: &str, identity: &[u8; 32]) -> Result<Self, Refused> {
        let text = text.trim();
        if text.len() > MAX_TEXT {
            return Err(Refused::TooLong(text.chars().count()));
        }
        let bytes = bs58::decode(text).into_vec().map_err(|_| Refused::NotBase58)?;
        let signed = String::from_utf8(bytes).map_err(|_| Refused::NotJson)?;
        let Envelope { algorithm, message_type } = serde_json::from_str(&signed).map_err(|_| Refused::NotJson)?;
        if message_type != BONDING {
            return Err(Refused::OtherMessage(shortened(&message_type)));
        }
        if algorithm != "ed25519" {
            return Err(Refused::OtherAlgorithm(shortened(&algorithm)));
        }
        let message: Message =
            serde_json::from_str(&signed).map_err(|error| Refused::OtherForm(shortened(&error.to_string())))?;
        let Content { sender, funds, data: Data { nym_node, cost_params } } = message.content;
        let own = bs58::encode(identity).into_string();
        if nym_node.identity_key != own {
            return Err(Refused::OtherNode { theirs: shortened(&nym_node.identity_key), own });
        }
        if nym_node.host.len() > MAX_HOST {
            return Err(Refused::LongHost(nym_node.host.len()));
        }
        Ok(Self {
            signed,
            sender,
            pledge: funds,
            host: nym_node.host,
            custom_http_port: nym_node.custom_http_port,
            profit_margin: cost_params.profit_margin_percent,
            operating_cost: cost_params.interval_operating_cost,
            nonce: message.nonce,
        })
    }

    /// What is signed: the decoded bytes, which are UTF-8.
    pub fn signed(&self) -> &str {
        &self.signed
    }

    /// Signs the decoded bytes.
    pub fn sign(&self, identity: &Identity) -> Signature {
        identity.sign(self.signed.as_bytes())
    }

    /// What the signature says, one line for each thing, with all of each value.
    pub fn in_words(&self) -> String {
        let pledge: Vec<String> = self.pledge.iter().map(Coin::in_words).collect();
        let pledge = if pledge.is_empty() { "nothing".to_owned() } else { pledge.join(", ") };
        let port = self.custom_http_port.map_or_else(|| "8080, 443 or 80".to_owned(), |port| port.to_string());
        format!(
            "This signature lets the account\n  {}\nbond this gateway as a Nym node, and own it:\n  \
             pledge           {pledge}\n  host             {}\n  HTTP port        {port}\n  \
             profit margin    {}\n  operating cost   {} each interval\n  nonce            {}\n",
            whole_word(&self.sender),
            whole_word(&self.host),
            margin_in_words(&self.profit_margin),
            self.operating_cost.in_words(),
            self.nonce,
        )
    }
}

impl Coin {
    fn in_words(&self) -> String {
        let plain = format!("{} {}", whole_word(&self.amount), whole_word(&self.denom));
        let digits = &self.amount;
        if self.denom != "unym" || digits.is_empty() || digits.len() > 30 || !digits.bytes().all(|b| b.is_ascii_digit())
        {
            return plain;
        }
        let padded = format!("{digits:0>7}");
        let (whole, millionths) = padded.split_at(padded.len() - 6);
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        match millionths.trim_end_matches('0') {
            "" => format!("{whole} NYM ({plain})"),
            rest => format!("{whole}.{rest} NYM ({plain})"),
        }
    }
}

/// `0.2` as `20 % (0.2)`; what is no such fraction as it stands.
fn margin_in_words(fraction: &str) -> String {
    match fraction.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => {
            let percent = format!("{:.2}", value * 100.0);
            let percent = percent.trim_end_matches('0').trim_end_matches('.');
            format!("{percent} % ({})", whole_word(fraction))
        }
        _ => whole_word(fraction),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::terminal::MAX_GROWTH;

    const IDENTITY: [u8; 32] = [7; 32];

    fn message() -> String {
        let own = bs58::encode(IDENTITY).into_string();
        format!(
            concat!(
                r#"{{"nonce":3,"algorithm":"ed25519","message_type":"nym-node-bonding","content":{{"sender":"n1abc","funds":"#,
                r#"[{{"denom":"unym","amount":"100000000"}}],"data":{{"nym_node":{{"host":"192.0.2.7","custom_http_port":null,"#,
                r#""identity_key":"{}"}},"cost_params":{{"profit_margin_percent":"0.2","interval_operating_cost":"#,
                r#"{{"denom":"unym","amount":"40500000"}}}}}}}}}}"#
            ),
            own
        )
    }

    fn text(json: &str) -> String {
        bs58::encode(json).into_string()
    }

    fn refusal(json: &str) -> Refused {
        Bonding::read(&text(json), &IDENTITY).unwrap_err()
    }

    #[test]
    fn a_bonding_message_is_read_and_explained() {
        // As it is copied from a terminal.
        let bonding = Bonding::read(&format!("  {}\n", text(&message())), &IDENTITY).unwrap();
        assert_eq!(bonding.signed, message(), "the decoded bytes as they are");
        assert_eq!(
            bonding.in_words(),
            "This signature lets the account\n  n1abc\nbond this gateway as a Nym node, and own it:\n  \
             pledge           100 NYM (100000000 unym)\n  host             192.0.2.7\n  HTTP port        8080, 443 or 80\n  \
             profit margin    20 % (0.2)\n  operating cost   40.5 NYM (40500000 unym) each interval\n  nonce            3\n"
        );
    }

    #[test]
    fn a_text_that_is_damaged_is_refused() {
        let whole = text(&message());
        assert_eq!(Bonding::read(&format!("{}0", &whole), &IDENTITY), Err(Refused::NotBase58));
        assert_eq!(Bonding::read(&whole[..whole.len() / 2], &IDENTITY), Err(Refused::NotJson));
        assert_eq!(Bonding::read("", &IDENTITY), Err(Refused::NotJson));
        assert_eq!(Bonding::read(&"1".repeat(MAX_TEXT + 1), &IDENTITY), Err(Refused::TooLong(MAX_TEXT + 1)));
    }

    #[test]
    fn another_purpose_node_or_form_is_refused() {
        let other = message().replace(BONDING, "gateway-bonding");
        assert_eq!(refusal(&other), Refused::OtherMessage("gateway-bonding".into()));
        let other = message().replace("\"ed25519\"", "\"secp256k1\"");
        assert_eq!(refusal(&other), Refused::OtherAlgorithm("secp256k1".into()));
        let stranger = bs58::encode([8; 32]).into_string();
        let own = bs58::encode(IDENTITY).into_string();
        let other = message().replace(&own, &stranger);
        assert_eq!(refusal(&other), Refused::OtherNode { theirs: stranger, own });
        let other = message().replace("192.0.2.7", &"h".repeat(256));
        assert_eq!(refusal(&other), Refused::LongHost(256));
        // What nobody explains is not signed, wherever it stands.
        for (old, new) in [
            ("\"nonce\":3", "\"nonce\":3,\"also\":1"),
            ("\"sender\"", "\"proxy\":\"n1x\",\"sender\""),
            ("\"host\"", "\"upgrade\":true,\"host\""),
            ("\"profit_margin_percent\":\"0.2\",", ""),
        ] {
            let other = message().replace(old, new);
            assert!(matches!(refusal(&other), Refused::OtherForm(_)), "{other}");
        }
    }

    /// A name that stands twice could be shown with one value and be read by the contract with the other.
    #[test]
    fn a_member_that_stands_twice_is_refused() {
        let other = message().replace("\"sender\":\"n1abc\"", "\"sender\":\"n1abc\",\"sender\":\"n1thief\"");
        assert!(matches!(refusal(&other), Refused::OtherForm(_)));
        let other = message().replace("\"nonce\":3", &format!("\"message_type\":\"{BONDING}\",\"nonce\":3"));
        assert_eq!(refusal(&other), Refused::NotJson);
    }

    #[test]
    fn nothing_that_a_terminal_obeys_is_shown() {
        let other = message().replace("n1abc", "n1\\u001b[2Kabc\\u202eevil");
        let words = Bonding::read(&text(&other), &IDENTITY).unwrap().in_words();
        assert!(words.contains(r"n1\u{1b}[2Kabc\u{202e}evil"), "{words}");
    }

    /// Someone who is shown the beginning of a value, or lines that a value imitates, agrees to something else.
    #[test]
    fn all_of_each_value_is_shown_and_stays_on_its_line() {
        let long = "9".repeat(301);
        for (old, value) in [("n1abc", "n1"), ("100000000", ""), ("unym", "ibc/"), ("0.2", "0."), ("40500000", "")] {
            let value = format!("{value}{long}1 end");
            let other = message().replacen(&format!("\"{old}\""), &format!("\"{value}\""), 1);
            let words = Bonding::read(&text(&other), &IDENTITY).unwrap().in_words();
            assert!(words.contains(&value.replace(' ', "\\u{20}")), "{words}");
        }
    }

    #[test]
    fn the_longest_message_has_bounded_words() {
        let room = MAX_TEXT * 7 / 10 - message().len();
        let other = message().replace("n1abc", &"\u{7f}".repeat(room));
        let words = Bonding::read(&text(&other), &IDENTITY).unwrap().in_words();
        assert!(words.len() <= MAX_GROWTH * MAX_TEXT, "{}", words.len());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,300}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Bonding::read(&text, &IDENTITY);
            let _ = Bonding::read(&bs58::encode(bytes).into_string(), &IDENTITY);
        }

        #[test]
        fn any_amount_has_words(amount in ".{0,40}", fraction in ".{0,20}") {
            let coin = Coin { denom: "unym".into(), amount };
            prop_assert!(!coin.in_words().contains('\n'));
            prop_assert!(!margin_in_words(&fraction).contains('\n'));
        }
    }
}
