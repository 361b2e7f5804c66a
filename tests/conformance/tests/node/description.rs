//! The published reader takes every document of a running gateway.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use conformance::{
    deadline::bounded,
    directory::{self, Found, if_any},
    gateway::Gateway,
};
use nym_http_api_client::ApiClient as _;
use nym_node_requests::{
    api::{
        Client as Reader,
        client::NymNodeApiClientExt as _,
        v1::{
            gateway::models::Gateway as AboutGateway, metrics::models::LegacyMixingStats,
            node::models::NodeDescription, node_load::models::Load,
        },
    },
    routes::api::v1::{gateway_absolute, metrics::legacy_mixing_absolute},
};

use super::{ACCOUNT, GOOD, IPV4, IPV6};

/// For people.
const WORDS: [&str; 10] = [
    "--moniker",
    "Zürich \"7\"",
    "--website",
    "https://gateway.example/?a=1&b=<2>",
    "--security-contact",
    "security@gateway.example",
    "--details",
    "one line\\of words",
    "--location",
    "CH",
];

#[tokio::test(flavor = "multi_thread")]
async fn over_ipv4_the_reader_takes_every_document() -> Result<()> {
    bounded(every_document_is_taken(IPV4, "127.0.0.1")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn over_ipv6_the_reader_takes_every_document() -> Result<()> {
    bounded(every_document_is_taken(IPV6, "[::1]")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn by_name_the_reader_takes_every_document() -> Result<()> {
    bounded(every_document_is_taken(IPV4, "localhost")).await
}

async fn every_document_is_taken(ip: IpAddr, host: &str) -> Result<()> {
    let name = ["--hostname", "localhost"];
    let named: &[&str] = if host == "localhost" { &name } else { &[] };
    let gateway = Gateway::start_described(ip, &[&GOOD[..], &WORDS, named].concat()).await?;
    let found = directory::find(host, &gateway).await?;
    ensure_signed_as_nodes_of_today_sign(&found, &gateway)?;
    ensure!(found.host.hostname.as_deref() == named.last().copied(), "{:?}", found.host);
    ensure_about_the_gateway(&found.reader, &gateway).await?;
    ensure_about_the_operator(&found.reader).await?;
    ensure_figures(&found.reader).await?;
    ensure_no_exit(&found.reader).await
}

/// Older layouts are verified as well. This is the newest one.
fn ensure_signed_as_nodes_of_today_sign(found: &Found, gateway: &Gateway) -> Result<()> {
    let host = &found.host;
    ensure!(host.verify(&gateway.identity), "the signature is of an older layout: {host:?}");
    ensure!(host.ip_address == [gateway.clients.ip()], "{host:?}");
    let keys = &host.keys;
    ensure!(keys.ed25519_identity == gateway.identity, "{keys:?}");
    // The rotation of a node that does not rotate.
    let primary = &keys.primary_x25519_sphinx_key;
    ensure!(primary.public_key == gateway.sphinx && primary.rotation_id == u32::MAX, "{keys:?}");
    ensure!(keys.pre_announced_x25519_sphinx_key.is_none() && keys.x25519_versioned_noise.is_none(), "{keys:?}");
    Ok(())
}

async fn ensure_about_the_gateway(reader: &Reader, gateway: &Gateway) -> Result<()> {
    let build = reader.get_build_information().await?;
    ensure!(build.binary_name == "nym-node" && build.build_version == "1.31.0", "{build:?}");

    let roles = reader.get_roles().await?;
    ensure!(roles.can_operate_entry_gateway() && !roles.can_operate_mixnode(), "{roles:?}");
    ensure!(!roles.network_requester_enabled && !roles.ip_packet_router_enabled, "{roles:?}");

    let websockets = reader.get_mixnet_websockets().await?;
    ensure!(websockets.ws_port == gateway.clients.port() && websockets.wss_port.is_none(), "{websockets:?}");
    let about: AboutGateway = reader.get_json_from(gateway_absolute()).await?;
    let interfaces = &about.client_interfaces;
    ensure!(!about.enforces_zk_nyms && interfaces.wireguard.is_none(), "{about:?}");
    ensure!(interfaces.mixnet_websockets.is_some_and(|same| same.ws_port == websockets.ws_port), "{about:?}");

    let old = reader.get_auxiliary_details().await?;
    ensure!(old.announce_ports.mix_port == Some(gateway.mix.port()), "{old:?}");
    ensure!(old.announce_ports.verloc_port.is_none() && old.accepted_operator_terms_and_conditions, "{old:?}");
    ensure!(old.location.as_ref().is_some_and(|country| country.alpha2 == "CH"), "{old:?}");
    let new = reader.get_auxiliary_details_v2().await?;
    ensure!(new.address == ACCOUNT && new.location == old.location, "{new:?}");
    ensure!(new.announce_ports.mix_port == old.announce_ports.mix_port, "{new:?}");
    ensure!(new.accepted_operator_terms_and_conditions, "{new:?}");
    Ok(())
}

async fn ensure_about_the_operator(reader: &Reader) -> Result<()> {
    let [_, moniker, _, website, _, security_contact, _, details, ..] = WORDS;
    // Older readers ask at the second path.
    let read = [reader.get_description().await?, reader.get_json_from("/description").await?];
    let is_right = |about: &NodeDescription| {
        about.moniker == moniker
            && about.website == website
            && about.security_contact == security_contact
            && about.details == details
    };
    ensure!(read.iter().all(is_right), "{read:?}");
    Ok(())
}

async fn ensure_figures(reader: &Reader) -> Result<()> {
    // The gateway does not know how busy its network is.
    let load = reader.get_node_load().await?;
    ensure!(load.network == Load::Unknown && load.total == load.machine, "{load:?}");
    for path in [legacy_mixing_absolute().as_str(), "/stats"] {
        let mixing: LegacyMixingStats = reader.get_json_from(path).await?;
        ensure!(mixing.update_time >= mixing.previous_update_time, "{mixing:?}");
    }
    Ok(())
}

/// A reader that finds a part of an exit there, and another part not, describes the node not at all.
async fn ensure_no_exit(reader: &Reader) -> Result<()> {
    ensure!(if_any(reader.get_network_requester().await)?.is_none());
    ensure!(if_any(reader.get_exit_policy().await)?.is_none());
    ensure!(if_any(reader.get_ip_packet_router().await)?.is_none());
    ensure!(if_any(reader.get_authenticator().await)?.is_none());
    ensure!(if_any(reader.get_wireguard().await)?.is_none());
    ensure!(if_any(reader.get_lewes_protocol().await)?.is_none());
    ensure!(if_any(reader.get_sessions_metrics().await)?.is_none());
    Ok(())
}
