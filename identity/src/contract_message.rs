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
mod tests;
