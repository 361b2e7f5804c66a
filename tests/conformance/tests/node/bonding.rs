//! What the wallet needs of the gateway before it bonds it: its address, its key, and a signature.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use conformance::{deadline::bounded, gateway::Gateway};
use cosmwasm_std::{Addr, Coin, coin};
use nym_contracts_common::{
    Percent,
    signing::{ContractMessageContent, SignableMessage},
};
use nym_crypto::asymmetric::ed25519;
use nym_mixnet_contract_common::{
    NodeCostParams, NymNode, NymNodeBondingPayload, construct_nym_node_bonding_sign_payload,
};
use serde_json::Value;

use super::{ACCOUNT, GOOD, IPV4};

/// What the contract asks for at least.
const PLEDGE: u128 = 100_000_000;
const UNIT: &str = "unym";

/// What the wallet shows for this node, and what the signature is for.
fn payload(node: NymNode) -> Result<SignableMessage<ContractMessageContent<NymNodeBondingPayload>>> {
    let costs = NodeCostParams {
        profit_margin_percent: Percent::from_percentage_value(20)?,
        interval_operating_cost: coin(40_000_000, UNIT),
    };
    let pledge: Coin = coin(PLEDGE, UNIT);
    Ok(construct_nym_node_bonding_sign_payload(3, Addr::unchecked(ACCOUNT), pledge, node, costs))
}

/// The node as the wallet knows it, from what `gatewayd bonding-information` prints for it.
async fn told_to_the_wallet(gateway: &Gateway) -> Result<NymNode> {
    let told = stdout(gateway.command("bonding-information", &["--output", "json"]).await?)?;
    let told: Value = serde_json::from_str(&told)?;
    let identity: [u8; 32] = serde_json::from_value(told["identity_key"].clone())?;
    let node = NymNode {
        host: told["host"].as_str().context("no host")?.to_owned(),
        custom_http_port: gateway.http.map(|http| http.port()),
        identity_key: bs58::encode(identity).into_string(),
    };
    node.naive_ensure_valid_pubkey()?;
    Ok(node)
}

fn stdout(output: Output) -> Result<String> {
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_wallet_asks_to_sign_is_signed() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start_described(IPV4, &GOOD).await?;
        let node = told_to_the_wallet(&gateway).await?;
        ensure!(node.host == "127.0.0.1" && node.identity_key == gateway.identity.to_base58_string(), "{node:?}");
        let payload = payload(node)?;
        let shown = payload.to_base58_string()?;

        let arguments = ["--contract-msg", &shown, "--yes", "--output"];
        let json = stdout(gateway.command("sign", &[&arguments[..], &["json"]].concat()).await?)?;
        let json: Value = serde_json::from_str(&json)?;
        ensure!(json["encoded_message"] == *shown, "{json}");
        let pasted = json["encoded_signature"].as_str().context("no signature")?;
        let signature = ed25519::Signature::from_base58_string(pasted)?;
        gateway.identity.verify(payload.to_plaintext()?, &signature)?;

        let text = stdout(gateway.command("sign", &[&arguments[..], &["text"]].concat()).await?)?;
        ensure!(text.contains(&payload.to_json_string()?) && text.trim_end().ends_with(pasted), "{text}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_bonds_another_node_is_not_signed() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start_described(IPV4, &GOOD).await?;
        let other = Gateway::start_described(IPV4, &GOOD).await?;
        let shown = payload(told_to_the_wallet(&other).await?)?.to_base58_string()?;
        let refused = gateway.command("sign", &["--contract-msg", &shown, "--yes"]).await?;
        ensure!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
        Ok(())
    })
    .await
}
