//! What the directory makes of the description: a score, and a place at which clients find the gateway.

use std::{slice, time::SystemTime};

use anyhow::{Context, Result, ensure};
use conformance::{
    client::Client,
    deadline::bounded,
    directory::{describe, route_to, skim},
    gateway::Gateway,
    mail::NO_ROTATION,
    score::score,
};
use nym_api_requests::models::described::v3::NymNodeDescriptionV3;
use nym_topology::{CachedEpochRewardedSet, NymRouteProvider, NymTopology, NymTopologyMetadata};
use url::Url;

use super::{ACCOUNT, GOOD, IPV4, ROTATION};

/// The releases of nym-node in the order in which they came.
const RELEASES: [&str; 7] = ["1.28.0", "1.29.0", "1.30.0", "1.31.0", "1.32.0", "1.33.0", "1.34.0"];

/// From this percentage on, clients choose a gateway.
const CHOSEN: u8 = 50;

/// The directory's formula for a gateway that is so far behind: a minor release counts 10, a major one 100.
fn predicted(behind: u32) -> f64 {
    0.995_f64.powf(f64::from(behind).powf(1.65))
}

/// Whether the score is `expected` while `newest` is the newest release. Returns whether clients choose the gateway.
fn ensure_score(described: &NymNodeDescriptionV3, newest: &str, behind: u32, expected: f64) -> Result<bool> {
    let count = RELEASES.iter().position(|release| *release == newest).context("no such release")? + 1;
    let found = score(described, &RELEASES[..count])?;
    let build = &described.description.build_information;
    eprintln!("{} {} beside nym-node {newest}: {found:?}", build.binary_name, build.build_version);
    ensure!(found.versions_behind == Some(behind), "beside {newest}: {found:?}");
    ensure!((found.score - expected).abs() < 1e-12, "beside {newest}: {found:?}, not {expected}");
    Ok(skim(described, NO_ROTATION, found.score)?.performance.round_to_integer() >= CHOSEN)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_release_scores_by_its_distance() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start_described(IPV4, &GOOD).await?;
        let described = describe("127.0.0.1", &gateway).await?;
        for (newest, behind, score, chosen) in [
            // Two steps ahead is taken for a lie.
            ("1.29.0", 100, 0.0, false),
            // The directory may not know of a release yet.
            ("1.30.0", 0, 1.0, true),
            ("1.31.0", 0, 1.0, true),
            ("1.32.0", 10, 0.799, true),
            ("1.33.0", 20, 0.495, false),
            ("1.34.0", 30, 0.25, false),
        ] {
            // What the operator is told, and the formula behind it.
            ensure!((predicted(behind) - score).abs() < 0.004, "{behind} behind: {}", predicted(behind));
            ensure!(ensure_score(&described, newest, behind, predicted(behind))? == chosen, "beside {newest}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn under_its_own_name_the_gateway_is_not_chosen() -> Result<()> {
    bounded(async {
        let flags = ["--account", ACCOUNT, "--accept-operator-terms-and-conditions"];
        let gateway = Gateway::start_described(IPV4, &flags).await?;
        let described = describe("127.0.0.1", &gateway).await?;
        ensure!(described.description.build_information.binary_name == "gatewayd", "{described:?}");
        // A major release and all minor ones of the list before the newest.
        ensure!(!ensure_score(&described, "1.28.0", 100, predicted(100))?);
        ensure!(!ensure_score(&described, "1.31.0", 130, predicted(130))?);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_account_a_fifth_of_the_score_is_lost() -> Result<()> {
    bounded(async {
        let flags = ["--announce-as", "nym-node 1.31.0", "--accept-operator-terms-and-conditions"];
        let gateway = Gateway::start_described(IPV4, &flags).await?;
        let described = describe("127.0.0.1", &gateway).await?;
        ensure!(ensure_score(&described, "1.31.0", 0, 0.8)?);
        ensure!(ensure_score(&described, "1.32.0", 10, 0.8 * predicted(10))?);
        ensure!(!ensure_score(&described, "1.33.0", 20, 0.8 * predicted(20))?);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_accepted_terms_the_score_is_zero() -> Result<()> {
    bounded(async {
        let flags = ["--announce-as", "nym-node 1.31.0", "--account", ACCOUNT];
        let gateway = Gateway::start_described(IPV4, &flags).await?;
        ensure!(!ensure_score(&describe("127.0.0.1", &gateway).await?, "1.31.0", 0, 0.0)?);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_find_the_gateway_at_its_address() -> Result<()> {
    bounded(async {
        // Clients write an IPv6 address into a URL without its brackets, and so it must not be the first one.
        let gateway = Gateway::start_described(IPV4, &[&GOOD[..], &["--public-ips", "::1,127.0.0.1"]].concat()).await?;
        ensure_found(&gateway, "127.0.0.1", &format!("ws://127.0.0.1:{}", gateway.clients.port())).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_find_the_gateway_at_its_name() -> Result<()> {
    bounded(async {
        let gateway = Gateway::start_described(IPV4, &[&GOOD[..], &["--hostname", "localhost"]].concat()).await?;
        ensure_found(&gateway, "localhost", &format!("ws://localhost:{}", gateway.clients.port())).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_find_the_proxy_for_tls_first() -> Result<()> {
    bounded(async {
        let proxy = ["--hostname", "localhost", "--announce-wss-port", "443"];
        let gateway = Gateway::start_described(IPV4, &[&GOOD[..], &proxy].concat()).await?;
        let skimmed = skim(&describe("localhost", &gateway).await?, NO_ROTATION, 1.0)?;
        let node = route_to(&skimmed)?;
        ensure!(node.ws_entry_address(false).as_deref() == Some("wss://localhost:443"), "{node:?}");
        let plain = format!("ws://localhost:{}", gateway.clients.port());
        ensure!(node.ws_entry_address_no_tls(false) == Some(plain), "{node:?}");
        Ok(())
    })
    .await
}

/// Whether a client that knows nothing of the gateway but what the directory tells finds it at `url`, and has use of it.
async fn ensure_found(gateway: &Gateway, host: &str, url: &str) -> Result<()> {
    let described = describe(host, gateway).await?;
    // A gateway that does not rotate its key has the same one in all rotations.
    for rotation in [0, 1, NO_ROTATION] {
        let key = skim(&described, rotation, 1.0)?.x25519_sphinx_pubkey;
        ensure!(key == gateway.sphinx, "in rotation {rotation}: {key:?}");
    }
    let skimmed = skim(&described, ROTATION, 1.0)?;
    ensure!(skimmed.ed25519_identity_pubkey == gateway.identity, "{skimmed:?}");
    let roles = skimmed.supported_roles;
    ensure!(roles.entry && !roles.mixnode && !roles.can_operate_exit_gateway(), "{skimmed:?}");

    let metadata = NymTopologyMetadata::new(ROTATION, 1, SystemTime::now());
    let network = NymTopology::new(metadata, CachedEpochRewardedSet::default(), vec![])
        .with_skimmed_nodes(slice::from_ref(&skimmed));
    ensure!(network.entry_capable_nodes().count() == 1, "{network:?}");
    let route = NymRouteProvider::from(network).empty_route_to_egress(gateway.identity)?;
    ensure!(route.len() == 1, "a route of {} hops", route.len());

    let node = route_to(&skimmed)?;
    ensure!(node.mix_host == gateway.mix, "{node:?}");
    let taken = node.ws_entry_address(false);
    ensure!(taken.as_deref() == Some(url) && Url::parse(url).is_ok(), "{taken:?}");
    Client::registered(node).await?.prove_working().await
}
