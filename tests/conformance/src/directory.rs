//! The network's directory, as far as it is published: it reads what a gateway says of itself, and makes of it what clients are told.
//!
//! The directory of the real network (nym-api) is published in parts. The reader is `nym-node-requests`, and what is made of the
//! documents is `nym-api-requests`. The order of the questions is the directory's.

use anyhow::{Context, Result, bail, ensure};
use nym_api_requests::{
    models::described::v3::{DescribedNodeTypeV3, NymNodeDataV3, NymNodeDescriptionV3},
    nym_nodes::{NodeRole, SkimmedNodeV1},
};
use nym_contracts_common::NaiveFloat as _;
use nym_http_api_client::{HttpClientError, UserAgent};
use nym_mixnet_contract_common::{NodeId, reward_params::Performance};
use nym_node_requests::api::{
    Client as Reader, SignedHostInformation, client::NymNodeApiClientExt as _, helpers::NymNodeApiClientRetriever,
};
use nym_topology::RoutingNode;

use crate::{deadline, gateway::Gateway};

/// The number that the mixnet contract would have given to the gateway.
const NODE_ID: NodeId = 7;

/// A gateway that the directory has found: it is healthy, has the identity that was bonded, and its signature is good.
pub struct Found {
    /// Reads the other documents.
    pub reader: Reader,
    /// What the gateway has signed.
    pub host: SignedHostInformation,
}

/// Finds the gateway at its port of `host`, which is an address or a name, as it is bonded.
///
/// # Errors
/// If the published code refuses anything of it.
pub async fn find(host: &str, gateway: &Gateway) -> Result<Found> {
    let port = gateway.http.context("the gateway does not describe itself")?.port();
    deadline::soon("the gateway to be healthy", healthy(&format!("http://{host}:{port}"))).await??;
    let found = NymNodeApiClientRetriever::new(user_agent())
        .with_custom_port(Some(port))
        .with_expected_identity(Some(gateway.identity.to_base58_string()))
        .with_verify_host_information()
        .get_client(host, NODE_ID)
        .await?;
    ensure!(found.client.current_url().inner_url().port() == Some(port), "read {} instead", found.client.current_url());
    Ok(Found { reader: found.client, host: found.host_information.context("the host information was not read")? })
}

/// Waits until the gateway says that it is. Before its description is signed, it says that it is not ready.
async fn healthy(url: &str) -> Result<()> {
    let reader = Reader::builder(url)?.no_hickory_dns().with_user_agent(user_agent()).build()?;
    loop {
        match reader.get_health().await {
            Ok(health) => {
                ensure!(health.status.is_up(), "{health:?}");
                return Ok(());
            }
            Err(error) if error.status_code().is_some_and(|status| status.as_u16() == 503) => {}
            Err(error) => bail!(error),
        }
    }
}

fn user_agent() -> UserAgent {
    let [application, version, platform, git_commit] = ["conformance", "2.0.0", "linux", "unknown"].map(str::to_owned);
    UserAgent { application, version, platform, git_commit }
}

/// The document, or nothing if the gateway says that it has none.
///
/// # Errors
/// If it says anything else.
pub fn if_any<T>(answer: Result<T, HttpClientError>) -> Result<Option<T>> {
    match answer {
        Ok(document) => Ok(Some(document)),
        Err(HttpClientError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads all that the directory reads, and puts it together.
///
/// # Errors
/// If the gateway would not be described: the published code refuses a document, or one is missing that the directory requires.
pub async fn describe(host: &str, gateway: &Gateway) -> Result<NymNodeDescriptionV3> {
    let Found { reader, host } = find(host, gateway).await?;
    let build_information = reader.get_build_information().await?;
    let declared_role = reader.get_roles().await?.into();
    // Of a gateway that names no account, the directory takes the older document.
    let auxiliary_details = match if_any(reader.get_auxiliary_details_v2().await)? {
        Some(details) => details.into(),
        None => reader.get_auxiliary_details().await?.into(),
    };
    let mixnet_websockets = reader.get_mixnet_websockets().await?.into();
    ensure!(if_any(reader.get_network_requester().await)?.is_none(), "the gateway says that it is an exit");
    Ok(NymNodeDescriptionV3 {
        node_id: NODE_ID,
        contract_node_type: DescribedNodeTypeV3::NymNode,
        description: NymNodeDataV3 {
            last_polled: Default::default(),
            host_information: host.data.into(),
            declared_role,
            auxiliary_details,
            build_information,
            network_requester: None,
            ip_packet_router: if_any(reader.get_ip_packet_router().await)?.map(Into::into),
            authenticator: if_any(reader.get_authenticator().await)?.map(Into::into),
            wireguard: if_any(reader.get_wireguard().await)?.map(Into::into),
            mixnet_websockets,
            lewes_protocol: if_any(reader.get_lewes_protocol().await)?.map(Into::into),
        },
    })
}

/// What clients are told of a gateway with this score while this rotation of Sphinx keys is on: as JSON, read again.
///
/// # Errors
/// If the published code refuses the score, or what it has written itself.
pub fn skim(described: &NymNodeDescriptionV3, rotation: u32, score: f64) -> Result<SkimmedNodeV1> {
    let performance = Performance::naive_try_from_f64(score)?;
    let skimmed = described.to_skimmed_node(rotation, NodeRole::EntryGateway, performance);
    Ok(serde_json::from_str(&serde_json::to_string(&skimmed)?)?)
}

/// What a client makes of what it is told.
///
/// # Errors
/// If the published code refuses it.
pub fn route_to(skimmed: &SkimmedNodeV1) -> Result<RoutingNode> {
    Ok(RoutingNode::try_from(skimmed)?)
}
