//! `gatewayd sign`: what it signs for an operator and a wallet, and what it never signs.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use harness::{
    deadline::bounded,
    home::{Home, ID, Outcome},
};
use pem::KeyTag;

const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What a wallet has the operator sign, for the gateway of this identity.
fn bonding(identity: &[u8; 32]) -> String {
    let identity = bs58::encode(identity).into_string();
    serde_json::json!({
        "nonce": 0, "algorithm": "ed25519", "message_type": "nym-node-bonding",
        "content": {
            "sender": "n1cvwt7dgk5f7tl0ssrpaxmyvm0q3gjl9kvnvnzz",
            "funds": [{ "denom": "unym", "amount": "100000000" }],
            "data": {
                "nym_node": { "host": "192.0.2.7", "custom_http_port": null, "identity_key": identity },
                "cost_params": {
                    "profit_margin_percent": "0.2",
                    "interval_operating_cost": { "denom": "unym", "amount": "40000000" },
                },
            },
        },
    })
    .to_string()
}

async fn sign(home: &Home, arguments: &[&str]) -> Result<Outcome> {
    home.gatewayd("sign", arguments).await
}

fn ensure_signed(home: &Home, message: &str, signature: &str) -> Result<()> {
    let key = VerifyingKey::from_bytes(&home.public_key(KeyTag::Ed25519Public)?)?;
    let signature = Signature::from_slice(&bs58::decode(signature.trim()).into_vec()?)?;
    key.verify(message.as_bytes(), &signature).context("the signature does not verify")
}

fn ensure_refused(outcome: &Outcome, why: &str) -> Result<()> {
    ensure!(outcome.code == Some(1) && outcome.stdout.is_empty(), "{outcome:?}");
    ensure!(outcome.stderr.contains(why), "{why} is missing: {outcome:?}");
    Ok(())
}

#[tokio::test]
async fn a_contract_message_is_explained_and_signed() -> Result<()> {
    bounded(async {
        let home = Home::init(IP).await?;
        let message = bonding(&home.public_key(KeyTag::Ed25519Public)?);
        let text = bs58::encode(&message).into_string();
        let outcome = sign(&home, &["--contract-msg", &format!(" {text}\n"), "--yes"]).await?;
        ensure!(outcome.code == Some(0), "{outcome:?}");
        for part in ["n1cvwt7", "100 NYM", "192.0.2.7", "20 %", "40 NYM"] {
            ensure!(outcome.stderr.contains(part), "{part} is not shown: {outcome:?}");
        }
        let expected = format!("the base58-encoded signature on: '{message}' is:\n");
        let signature = outcome.stdout.strip_prefix(&expected).with_context(|| format!("{outcome:?}"))?;
        ensure_signed(&home, &message, signature)?;

        let outcome = sign(&home, &["--contract-msg", &text, "--yes", "--output", "json"]).await?;
        let answer: serde_json::Value = serde_json::from_str(&outcome.stdout)?;
        ensure!(answer["encoded_message"] == text.as_str(), "{answer}");
        ensure_signed(&home, &message, answer["encoded_signature"].as_str().context("no signature")?)
    })
    .await
}

#[tokio::test]
async fn a_text_is_signed_as_it_is() -> Result<()> {
    bounded(async {
        let home = Home::init(IP).await?;
        let outcome = sign(&home, &["--text", "I run this gateway ü", "--yes"]).await?;
        let (_, signature) = outcome.stdout.split_once(" is:\n").with_context(|| format!("{outcome:?}"))?;
        ensure_signed(&home, "I run this gateway ü", signature)
    })
    .await
}

/// The end of a long text can say something else than its beginning.
#[tokio::test]
async fn a_text_that_is_signed_is_shown_whole() -> Result<()> {
    bounded(async {
        let home = Home::init(IP).await?;
        let text = format!("{}\u{1b}[2J and whatever follows", "I run this gateway. ".repeat(300));
        let outcome = sign(&home, &["--text", &text, "--yes"]).await?;
        ensure!(outcome.stderr.contains(&text.replace('\u{1b}', "\\u{1b}")), "{outcome:?}");
        let (_, signature) = outcome.stdout.split_once(" is:\n").with_context(|| format!("{outcome:?}"))?;
        ensure_signed(&home, &text, signature)?;

        let own = bonding(&home.public_key(KeyTag::Ed25519Public)?);
        let host = format!("{}.example", "h".repeat(240));
        let denom = format!("ibc/{}and-more", "F".repeat(400));
        let message = own.replace("192.0.2.7", &host).replacen("unym", &denom, 1);
        let outcome = sign(&home, &["--contract-msg", &bs58::encode(&message).into_string(), "--yes"]).await?;
        ensure!(outcome.code == Some(0), "{outcome:?}");
        ensure!(outcome.stderr.contains(&host) && outcome.stderr.contains(&denom), "{outcome:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_longest_text_is_signed_and_a_longer_one_refused() -> Result<()> {
    bounded(async {
        let home = Home::init(IP).await?;
        // Of all characters this one takes the most room when it is shown.
        let longest = "\u{7f}".repeat(8 * 1024);
        let outcome = sign(&home, &["--text", &longest, "--yes"]).await?;
        ensure!(outcome.stderr.contains(&"\\u{7f}".repeat(8 * 1024)), "not shown whole");
        let (_, signature) = outcome.stdout.split_once(" is:\n").with_context(|| format!("{outcome:?}"))?;
        ensure_signed(&home, &longest, signature)?;
        for length in [8 * 1024 + 1, 100 * 1024] {
            let longer = "x".repeat(length);
            ensure_refused(&sign(&home, &["--text", &longer, "--yes"]).await?, "sign a hash of it")?;
            ensure_refused(&sign(&home, &["--contract-msg", &longer, "--yes"]).await?, "copy the whole text")?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_a_yes_nothing_is_signed() -> Result<()> {
    bounded(async {
        let home = Home::init(IP).await?;
        let outcome = sign(&home, &["--text", "I run this gateway"]).await?;
        ensure_refused(&outcome, "--yes")?;
        ensure!(outcome.stderr.contains("I run this gateway"), "shown all the same: {outcome:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_text_that_means_something_else_is_refused() -> Result<()> {
    bounded(async {
        let home = Home::init(IP).await?;
        let own = bonding(&home.public_key(KeyTag::Ed25519Public)?);
        let stranger = bs58::encode(bonding(&[9; 32])).into_string();
        let other = bs58::encode(own.replace("nym-node-bonding", "gateway-bonding")).into_string();
        let half = bs58::encode(&own).into_string();
        for (arguments, why) in [
            (["--contract-msg", stranger.as_str()], "identity key"),
            (["--contract-msg", &other], "gateway-bonding"),
            (["--contract-msg", half.split_at(half.len() / 2).0], "copy the whole text"),
            (["--contract-msg", "not base58 0OIl"], "not base58"),
            (["--text", &own], "--contract-msg"),
            (["--text", ""], "--text"),
        ] {
            let outcome = sign(&home, &[arguments[0], arguments[1], "--yes"]).await?;
            ensure_refused(&outcome, why)?;
        }
        Ok(())
    })
    .await
}

/// The network would take a signature by another key than the announced one for a forgery, and nobody would know why.
#[tokio::test]
async fn a_key_that_is_not_the_announced_one_signs_nothing() -> Result<()> {
    bounded(async {
        let home = Home::init(IP).await?;
        let other = Home::init(IP).await?;
        let name = "private_identity.pem";
        std::fs::copy(other.data().join(name), home.data().join(name))?;
        let outcome = sign(&home, &["--text", "I run this gateway", "--yes"]).await?;
        ensure_refused(&outcome, "backup")?;
        ensure!(outcome.stderr.contains("I run this gateway"), "{ID}: it is explained before a key is touched");
        Ok(())
    })
    .await
}
