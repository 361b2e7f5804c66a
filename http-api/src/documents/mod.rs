//! The documents that change with the configuration only. Each is written once, at the start.
//!
//! The names are those that the published readers of the network decode (`nym-node-requests` 2.0.0, `api/v1` and `api/v2`; the
//! build information is of `nym-bin-common` 2.0.0). A reader takes the fields in any order.

mod build;
mod page;

use bytes::Bytes;
use ipc::http_api::Description;
use serde_json::{Value, json};

pub(crate) use build::Build;

/// The documents, as JSON; the page is HTML.
#[derive(Debug)]
pub(crate) struct Documents {
    pub(crate) build_information: Bytes,
    pub(crate) roles: Bytes,
    pub(crate) websockets: Bytes,
    pub(crate) gateway: Bytes,
    pub(crate) auxiliary_v1: Bytes,
    /// Without an account there is none, because its reader requires one.
    pub(crate) auxiliary_v2: Option<Bytes>,
    pub(crate) description: Bytes,
    pub(crate) page: Bytes,
}

impl Documents {
    pub(crate) fn of(description: &Description, build: &Build) -> Self {
        let auxiliary_v2 = |account| {
            let mut details = auxiliary(description);
            if let Some(fields) = details.as_object_mut() {
                fields.insert("address".into(), Value::from(account));
            }
            bytes(&details)
        };
        Self {
            build_information: bytes(&build.document(&description.program)),
            roles: bytes(&roles()),
            websockets: bytes(&websockets(description)),
            gateway: bytes(&gateway(description)),
            auxiliary_v1: bytes(&auxiliary(description)),
            auxiliary_v2: description.account.as_deref().map(auxiliary_v2),
            description: bytes(&for_people(description)),
            page: page::of(description).into(),
        }
    }
}

pub(crate) fn bytes(document: &Value) -> Bytes {
    document.to_string().into()
}

fn roles() -> Value {
    json!({
        "mixnode_enabled": false,
        "gateway_enabled": true,
        "network_requester_enabled": false,
        "ip_packet_router_enabled": false,
    })
}

fn websockets(description: &Description) -> Value {
    json!({ "ws_port": description.ws_port, "wss_port": description.wss_port })
}

fn gateway(description: &Description) -> Value {
    json!({
        "enforces_zk_nyms": false,
        "client_interfaces": { "wireguard": null, "mixnet_websockets": websockets(description) },
    })
}

fn auxiliary(description: &Description) -> Value {
    json!({
        "location": description.location,
        "announce_ports": { "verloc_port": null, "mix_port": description.mix_port },
        "accepted_operator_terms_and_conditions": description.accepted_terms,
    })
}

fn for_people(description: &Description) -> Value {
    json!({
        "moniker": description.moniker,
        "website": description.website,
        "security_contact": description.security_contact,
        "details": description.details,
    })
}
