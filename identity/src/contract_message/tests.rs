//! Messages that a wallet makes, and messages that it should not.

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
